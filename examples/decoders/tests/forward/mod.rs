//! Decoders as plain programs, token by token: what their papers and first implementations say, and nothing of
//! Tachylite but the bytes of weights. Everything is computed in one type, f64 or f32: the first says what is
//! right, the second what an ordinary implementation on a processor makes of it.
#![allow(dead_code, reason = "not every test uses all of it")]

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use decoders::Config;
use tachylite::Tensor;
use tachylite::plan::prepare::Store;

mod real;
mod rwkv7;
mod transformer;

pub use real::{InEight, Real};

/// The sum of a row of terms.
pub fn sum<R: Real>(terms: impl Iterator<Item = R>) -> R {
    let mut parts = [R::of(0.0); 8];
    for (i, term) in terms.enumerate() {
        parts[i % R::PARTS] = parts[i % R::PARTS] + term;
    }
    together(parts)
}

fn together<R: Real>([a, b, c, d, e, f, g, h]: [R; 8]) -> R {
    ((a + b) + (c + d)) + ((e + f) + (g + h))
}

/// Σ wᵢ·xᵢ, in eight parts.
fn dot<R: Real>(w: &[f32], x: &[R]) -> R {
    let mut parts = [R::of(0.0); 8];
    let ((ws, w_rest), (xs, x_rest)) = (w.as_chunks::<8>(), x.as_chunks::<8>());
    for (w, x) in ws.iter().zip(xs) {
        for i in 0..8 {
            parts[i] = parts[i] + R::weight(w[i]) * x[i];
        }
    }
    for (i, (w, x)) in w_rest.iter().zip(x_rest).enumerate() {
        parts[i] = parts[i] + R::weight(*w) * *x;
    }
    together(parts)
}

/// The same of four rows, each one term after the other: side by side, because each waits for itself alone.
fn four<R: Real>(rows: &[f32], x: &[R]) -> [R; 4] {
    let (n, mut sums) = (x.len(), [R::of(0.0); 4]);
    let (a, rest) = rows.split_at(n);
    let (b, rest) = rest.split_at(n);
    let (c, d) = rest.split_at(n);
    for ((((x, a), b), c), d) in x.iter().zip(a).zip(b).zip(c).zip(d) {
        sums[0] = sums[0] + R::weight(*a) * *x;
        sums[1] = sums[1] + R::weight(*b) * *x;
        sums[2] = sums[2] + R::weight(*c) * *x;
        sums[3] = sums[3] + R::weight(*d) * *x;
    }
    sums
}

/// W·x, W being rows of x's length.
pub fn product<R: Real>(w: &[f32], x: &[R]) -> Vec<R> {
    assert!(w.len().is_multiple_of(x.len()));
    if R::PARTS > 1 {
        return w.chunks_exact(x.len()).map(|row| dot(row, x)).collect();
    }
    let fours = w.chunks_exact(4 * x.len());
    let rest = fours.remainder().chunks_exact(x.len());
    let rest = rest.map(|row| sum(row.iter().zip(x).map(|(w, x)| R::weight(*w) * *x)));
    fours.flat_map(|rows| four(rows, x)).chain(rest).collect()
}

pub fn plus<R: Real>(x: &[R], y: &[R]) -> Vec<R> {
    x.iter().zip(y).map(|(x, y)| *x + *y).collect()
}

pub fn sigmoid<R: Real>(x: R) -> R {
    let one = R::of(1.0);
    one / (one + (-x).exp())
}

/// x / √(mean x² + eps) · gain (Zhang and Sennrich 2019).
pub fn rms_norm<R: Real>(x: &[R], gain: &[f32], eps: f32) -> Vec<R> {
    let mean = sum(x.iter().map(|v| *v * *v)) / R::of(x.len() as f64);
    let root = R::of(1.0) / (mean + R::weight(eps)).sqrt();
    x.iter().zip(gain).map(|(v, g)| *v * root * R::weight(*g)).collect()
}

/// (x - mean) / √(var + eps) · gain + shift (Ba et al. 2016).
pub fn layer_norm<R: Real>(x: &[R], gain: &[f32], shift: &[f32], eps: f32) -> Vec<R> {
    let n = R::of(x.len() as f64);
    let mean = sum(x.iter().copied()) / n;
    let var = sum(x.iter().map(|v| (*v - mean) * (*v - mean))) / n;
    let root = R::of(1.0) / (var + R::weight(eps)).sqrt();
    let each = x.iter().zip(gain.iter().zip(shift));
    each.map(|(v, (g, s))| (*v - mean) * root * R::weight(*g) + R::weight(*s)).collect()
}

/// The weights of a model, each read when it is first asked for.
pub struct Numbers<'a> {
    store: &'a dyn Store,
    read: RefCell<BTreeMap<String, Rc<Vec<f32>>>>,
}

impl<'a> Numbers<'a> {
    pub fn new(store: &'a dyn Store) -> Self {
        Self { store, read: RefCell::default() }
    }

    /// All of a tensor, row-major.
    pub fn get(&self, name: &str) -> Rc<Vec<f32>> {
        self.part(name, 0, 1)
    }

    /// One of several equal parts of a tensor.
    pub fn part(&self, name: &str, part: usize, parts: usize) -> Rc<Vec<f32>> {
        let key = format!("{name}/{part}");
        if let Some(read) = self.read.borrow().get(&key) {
            return read.clone();
        }
        let (dtype, shape) = self.store.about(name).unwrap().unwrap_or_else(|| panic!("no weight `{name}`"));
        let elements = shape.iter().product::<usize>() / parts;
        let bytes = (elements / dtype.block() * dtype.block_bytes()) as u64;
        let range = part as u64 * bytes..(part as u64 + 1) * bytes;
        let bytes = self.store.bytes(name, range).unwrap();
        let wide = Tensor::new(dtype, &[elements], bytes.as_ref()).unwrap().to_f64();
        let narrow = |v: &f64| {
            assert_eq!(f64::from(*v as f32), *v, "`{name}` has numbers that f32 has not");
            *v as f32
        };
        let read = Rc::new(wide.iter().map(narrow).collect::<Vec<_>>());
        self.read.borrow_mut().insert(key, read.clone());
        read
    }
}

/// A model that is given a token and says its logits, in arithmetic of one type.
pub trait Forward {
    /// The logits after this token and all before it.
    fn token(&mut self, id: u32) -> Vec<f64>;
    /// How near the choice of experts came to being another, of all tokens; infinite where there are none.
    fn margin(&self) -> f64 {
        f64::INFINITY
    }
}

/// A model before its first token.
pub fn forward<'a, R: Real + 'a>(config: &'a Config, numbers: &'a Numbers<'a>) -> Box<dyn Forward + 'a> {
    match config {
        Config::Transformer(c) => Box::new(transformer::Transformer::<R>::new(c, numbers)),
        Config::Rwkv7(c) => Box::new(rwkv7::Recurrent::<R>::new(c, numbers)),
    }
}
