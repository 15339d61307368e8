//! Combinations of what attention can do that nobody chose: drawn by a seed, each so small that its reference
//! takes a fraction of a second.

use super::{ATTENTION, Attention, Reach, cases, lanes, rows};
use crate::check::Inputs;
use crate::dtype::DType;
use crate::error::Result;
use crate::formats::CacheForm;
use crate::graph::{Graph, ValueId};
use crate::kernel::Kernel;
use crate::rng::Rng;

/// Widths of heads: of models, and one that is no multiple of a kernel's tile.
const WIDTHS: [u64; 10] = [16, 40, 64, 80, 96, 112, 128, 192, 256, 576];
/// Query heads for each head of keys and values.
const GROUPS: [u64; 5] = [1, 2, 3, 4, 8];
/// The most products of numbers in all scores and results together.
const MOST: u64 = 4_000_000;
/// So many where a reference may be asked for many times, until no number is too large.
const MOST_OF_LARGE: u64 = 200_000;

/// One combination: all of it is drawn by its seed and number.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Combination {
    pub(crate) seed: u64,
    pub(crate) number: u64,
    pub(crate) kernel: &'static Kernel,
    pub(crate) x: DType,
    pub(crate) inputs: Inputs,
    sizes: Sizes,
    form: Form,
    causal: bool,
    reach: Reach,
    left: Option<u32>,
    right: Option<u32>,
    softcap: bool,
    slopes: bool,
    sinks: bool,
    lengths: bool,
    lse: bool,
    mask: Option<Mask>,
}

/// Batch, queries, keys, heads of keys, query heads for each, width of keys and of values.
#[derive(Debug, Clone, Copy)]
struct Sizes {
    b: u64,
    s: u64,
    t: u64,
    g: u64,
    each: u64,
    d: u64,
    c: u64,
}

/// How keys and values lie: as activations or in rows of a quantised cache; whole, or in pages of so many keys.
#[derive(Debug, Clone, Copy)]
struct Form {
    k: Option<CacheForm>,
    v: Option<CacheForm>,
    page: Option<u64>,
}

impl Form {
    /// Of the keys that there are a whole number of pages is left.
    fn draw(rng: &mut Rng, sizes: &mut Sizes) -> Self {
        let form = |rng: &mut Rng| (rng.below(3) == 0).then(|| CacheForm::ALL[rng.below(3) as usize]);
        let (k, v) = (form(rng), form(rng));
        let page = (rng.below(4) == 0).then(|| [3, 16, 64][rng.below(3) as usize].min(sizes.t));
        sizes.t -= page.map_or(0, |page| sizes.t % page);
        Self { k, v, page }
    }
}

/// A mask's type, and along which of B, H, S and T it is as long as they are; else 1, and expanded.
#[derive(Debug, Clone, Copy)]
struct Mask {
    dtype: DType,
    whole: [bool; 4],
}

impl Sizes {
    /// Drawn, and made smaller until the work is bounded: a long row of keys keeps few queries and heads.
    fn draw(rng: &mut Rng, most: u64) -> Self {
        let one_of = |list: &[u64], rng: &mut Rng| list[rng.below(list.len() as u64) as usize];
        let d = one_of(&WIDTHS, rng);
        let c = if rng.below(4) == 0 { one_of(&WIDTHS, rng) } else { d };
        // As many from 1 to 2 as from 2048 to 4096.
        let t = (4096f64.powf(rng.unit()).round() as u64).clamp(1, 4096);
        let mut sizes = Self {
            b: 1 + rng.below(3),
            s: if rng.below(3) == 0 { 1 } else { 1 + rng.below(40) },
            t,
            g: 1 + rng.below(3),
            each: one_of(&GROUPS, rng),
            d,
            c,
        };
        while sizes.work() > most {
            let larger = [&mut sizes.b, &mut sizes.s, &mut sizes.g, &mut sizes.each, &mut sizes.t];
            if let Some(size) = larger.into_iter().find(|size| **size > 1) {
                *size = size.div_ceil(2);
            }
        }
        sizes
    }

    fn work(&self) -> u64 {
        self.b * self.s * self.t * self.g * self.each * (self.d + self.c)
    }
}

impl Combination {
    /// The combination of this number.
    pub(crate) fn draw(seed: u64, number: u64) -> Self {
        let mut rng = Rng::new(Rng::hash(&format!("attention/{seed}.{number}")));
        let inputs = match rng.below(8) {
            0 => Inputs::Large,
            1 => Inputs::Exact,
            2 => Inputs::Cancelling,
            _ => Inputs::Random,
        };
        let kernel = rng.next_u64();
        let x = if rng.below(2) == 0 { DType::F32 } else { DType::F16 };
        let mut sizes = Sizes::draw(&mut rng, if inputs == Inputs::Large { MOST_OF_LARGE } else { MOST });
        let form = Form::draw(&mut rng, &mut sizes);
        // Not every lane keeps rows that are as wide as they come.
        let keeps = |k: &&&Kernel| {
            lanes::keeps(sizes.d as usize, sizes.c as usize) || ![&lanes::LANES, &rows::ROWS].contains(*k)
        };
        let kernels: Vec<_> = ATTENTION.kernels.iter().filter(keeps).collect();
        let kernel = *kernels[(kernel % kernels.len() as u64) as usize];
        let mut once_in = |n: u64| rng.below(n) == 0;
        let (causal, slopes, softcap, sinks) = (once_in(2), once_in(4), once_in(4), once_in(4));
        let (lengths, lse, hides) = (once_in(3), once_in(3), once_in(3));
        let window = [once_in(3), once_in(4)];
        let mut side = |given: bool| given.then(|| rng.below(2 + sizes.t / 2) as u32);
        let (left, right) = (side(window[0]), side(window[1] && !causal));
        let reach = match rng.below(3) {
            0 => Reach::Keys,
            1 => Reach::Queries,
            _ => Reach::Lengths,
        };
        let mask = hides.then(|| Mask {
            dtype: if rng.below(2) == 0 { DType::F32 } else { DType::F16 },
            whole: [0; 4].map(|_| rng.below(2) == 0),
        });
        Self {
            seed,
            number,
            kernel,
            x,
            inputs,
            sizes,
            form,
            causal,
            reach,
            left,
            right,
            softcap,
            slopes,
            sinks,
            // Where the last query stands by lengths, there must be some, and where keys lie in pages.
            lengths: lengths || reach == Reach::Lengths || form.page.is_some(),
            lse,
            mask,
        }
    }

    /// The sizes of its mask.
    fn mask_shape(&self, mask: Mask) -> [usize; 4] {
        let Sizes { b, s, t, g, each, .. } = self.sizes;
        let mut whole = mask.whole.iter();
        [b, g * each, s, t].map(|n| if whole.next() == Some(&true) { n as usize } else { 1 })
    }

    pub(crate) fn build(&self, g: &mut Graph) -> Result<()> {
        let Sizes { b, s, g: kv, each, d, .. } = self.sizes;
        let heads = |g: &mut Graph, name: &str, wanted: bool| -> Result<Option<ValueId>> {
            wanted.then(|| g.input(name, DType::F32, &[(kv * each).into()])).transpose()
        };
        let q = g.input("q", self.x, &[b, s, kv * each, d].map(Into::into))?;
        let (k, v) = (self.rows(g, "k")?, self.rows(g, "v")?);
        let pages = match self.form.page {
            Some(page) => {
                Some(g.input("pages", DType::U32, &[b, 1 + self.sizes.t / page].map(Into::into))?)
            }
            None => None,
        };
        let lengths = self.lengths.then(|| g.input("lengths", DType::U32, &[b.into()])).transpose()?;
        let mask = self.mask.map(|m| g.input("mask", m.dtype, &self.mask_shape(m).map(Into::into)));
        let how = Attention {
            lengths,
            mask: mask.transpose()?,
            slopes: heads(g, "slopes", self.slopes)?,
            sinks: heads(g, "sinks", self.sinks)?,
            causal: self.causal,
            reach: self.reach,
            left: self.left,
            right: self.right,
            softcap: self.softcap.then_some(0.75),
            scale: None,
            k_form: self.form.k,
            v_form: self.form.v,
            v_width: self.form.v.map(|_| self.sizes.c as u32),
            pages,
        };
        if self.lse {
            let (o, lse) = g.attention_lse(q, k, v, how)?;
            g.output("lse", lse)?;
            return g.output("o", o);
        }
        let o = g.attention(q, k, v, how)?;
        g.output("o", o)
    }

    /// Keys, or values.
    fn rows(&self, g: &mut Graph, name: &str) -> Result<ValueId> {
        let [first, second] = self.leading();
        let (form, width) = self.form_of(name);
        let (dtype, last) =
            form.map_or((self.x, width), |form| (DType::U8, form.row_bytes(width as usize) as u64));
        g.input(name, dtype, &[first, second, self.sizes.g, last].map(Into::into))
    }

    fn form_of(&self, name: &str) -> (Option<CacheForm>, u64) {
        if name == "k" { (self.form.k, self.sizes.d) } else { (self.form.v, self.sizes.c) }
    }

    /// The first two sizes of keys and values: those of sequences, or of pages, of which there is one to spare.
    fn leading(&self) -> [u64; 2] {
        let Sizes { b, t, .. } = self.sizes;
        self.form.page.map_or([b, t], |page| [b * (t / page) + 1, page])
    }

    /// Values of what cannot be any numbers.
    pub(crate) fn fill(&self, name: &str, size: &[usize], rng: &mut Rng) -> Option<Vec<f64>> {
        let count = size.iter().product::<usize>();
        match name {
            "lengths" => Some((0..count).map(|_| rng.below(self.sizes.t + 1) as f64).collect()),
            // Of pages some are none.
            "pages" => Some((0..count).map(|_| rng.below(self.leading()[0] + 2) as f64).collect()),
            "k" | "v" => {
                let (form, width) = self.form_of(name);
                Some(cases::encoded(form?, size[..3].iter().product(), width as usize, rng))
            }
            // What a key gains for its place stays within what others gain for what they are.
            "slopes" => Some((0..count).map(|_| rng.signed() * 8.0 / self.sizes.t as f64).collect()),
            "mask" => {
                let low =
                    if self.mask.is_some_and(|m| m.dtype == DType::F16) { -60000.0 } else { f32::MIN.into() };
                let width = size.last().copied().unwrap_or(1);
                Some(cases::mask(count / width.max(1), width, low, rng))
            }
            _ => None,
        }
    }
}

impl std::fmt::Display for Combination {
    /// The seed and the number, which are all that it is made of, and then what they made of it.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Sizes { b, s, t, g, each, d, c } = self.sizes;
        write!(f, "drawn={}.{}/B={b},S={s},T={t},H={},G={g},D={d},C={c}", self.seed, self.number, g * each)?;
        for (name, form) in [("k", self.form.k), ("v", self.form.v)] {
            write!(f, "{}", form.map_or(String::new(), |form| format!(",{name}_{}", form.name())))?;
        }
        write!(f, "{}", self.form.page.map_or(String::new(), |page| format!(",page={page}")))?;
        let side = |name: &str, n: Option<u32>| n.map_or(String::new(), |n| format!(",{name}={n}"));
        f.write_str(&[side("left", self.left), side("right", self.right)].concat())?;
        let stands = self.causal || self.slopes || self.left.is_some() || self.right.is_some();
        for (name, is) in [
            ("causal", self.causal),
            ("from_start", stands && self.reach == Reach::Queries),
            ("from_lengths", stands && self.reach == Reach::Lengths),
            ("lengths", self.lengths),
            ("softcap", self.softcap),
            ("slopes", self.slopes),
            ("sinks", self.sinks),
            ("lse", self.lse),
        ] {
            if is {
                write!(f, ",{name}")?;
            }
        }
        if let Some(mask) = self.mask {
            let letters = ["B", "H", "S", "T"].into_iter().zip(mask.whole);
            let whole: String = letters.filter(|(_, whole)| *whole).map(|(letter, _)| letter).collect();
            write!(f, ",mask_{}{}{whole}", mask.dtype, if whole.is_empty() { "" } else { "_" })?;
        }
        Ok(())
    }
}
