//! Rows appended to a cache where it lies: keys and values of new tokens, or whatever a call leaves for the next.

use crate::dim::{Dim, Expr};
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::graph::{Graph, ValueId};
use crate::kernel::{Kernel, Work};
use crate::numerics::Approx;
use crate::op::Axis::{B, C, D, G, S, T};
use crate::op::{
    Arg, Attr, AttrKind, Axes, Cases, FLOATS, INDEX, Infer, Inferred, Kind, Op, RefCall, Shape, Sizes,
};
use crate::ops::past_one_axis;

/// Rows of k, and of v, written into caches from a position on; all else stays as it is.
pub static APPEND: Op = Op {
    name: "append",
    formula: "k_cache[b, at, g, d] = k[b, s, g, d] with at = starts[b] + start + s, modulo T if ring is 1; \
              likewise v_cache of v. Rows that would lie past the end are not written, in a ring all but the \
              last T",
    kind: Kind::Compute,
    inputs: &[
        Arg::new("k", &[B, S, G, D], FLOATS),
        Arg::optional("v", &[B, S, G, C], FLOATS),
        Arg::optional("starts", &[B], INDEX),
        Arg::new("k_cache", &[B, T, G, D], FLOATS),
        Arg::optional("v_cache", &[B, T, G, C], FLOATS),
    ],
    outputs: &[Arg::new("k_cache", &[B, T, G, D], FLOATS), Arg::optional("v_cache", &[B, T, G, C], FLOATS)],
    attrs: &[("start", AttrKind::Whole), ("ring", AttrKind::U32)],
    infer,
    reference,
    flops: |_| 0.0,
    kernels: &[&ROWS],
    cases: Cases {
        axes: &[(B, 2), (S, 3), (T, 6), (D, 20)],
        weights: &[DType::F32],
        variants: &["both", "alone", "starts", "ring", "other_type"],
        applies: |_| true,
        many_workgroups: |_| Some(Sizes::new(&[(B, past_one_axis(64) / 2 + 1), (S, 1), (T, 1), (D, 1)])),
        build,
        fill: |name, shape, rng| {
            let past = shape.sizes.get(T) as u64 + 2;
            (name == "starts").then(|| (0..shape.sizes.get(B)).map(|_| rng.below(past) as f64).collect())
        },
    },
};

static ROWS: Kernel = Kernel {
    name: "append.rows",
    file: "append.wgsl",
    source: include_str!("../../shaders/append.wgsl"),
    blocks: &[(S, 4), (D, 64)],
    knobs: |s| vec![("RING", (s.attr_u32("ring") == 1).to_string())],
    workgroups: |s| {
        let width = |axis, name| if s.arg(name).is_some() { s.size(axis).div_ceil(4) as u64 } else { 0 };
        let groups = Dim::from(width(D, "k") + width(C, "v"));
        Expr::Mul([B, S, G].map(|a| s.dim(a).into()).into_iter().chain([groups.into()]).collect())
            .ceil_div(64)
    },
    cost: |s| Work {
        flops: 0.0,
        bytes: 2.0 * (s.bytes("k") + s.bytes("v")),
        invocations: (s.bytes("k") + s.bytes("v")) / 16.0,
    },
    ..Kernel::PLAIN
};

fn infer(i: &Infer<'_>) -> Result<Inferred> {
    let (k, cache) = (i.rank(0, 4)?.to_vec(), i.rank(3, 4)?.to_vec());
    let given = |arg: usize| i.inputs.get(arg).is_some_and(Option::is_some);
    i.same(B, (0, &k[0]), (3, &cache[0]))?;
    i.same(G, (0, &k[2]), (3, &cache[2]))?;
    i.same(D, (0, &k[3]), (3, &cache[3]))?;
    if given(1) != given(4) {
        return Err(Error::Argument("append: `v` and `v_cache` are given both or neither".into()));
    }
    let mut outputs = vec![(cache.clone(), i.operand(3)?.dtype)];
    let mut width = Dim::from(0);
    if given(1) {
        let (v, v_cache) = (i.rank(1, 4)?.to_vec(), i.rank(4, 4)?.to_vec());
        for (at, axis) in [B, S, G].into_iter().enumerate() {
            i.same(axis, (0, &k[at]), (1, &v[at]))?;
        }
        for (at, axis) in [B, T, G].into_iter().enumerate() {
            i.same(axis, (3, &cache[at]), (4, &v_cache[at]))?;
        }
        i.same(C, (1, &v[3]), (4, &v_cache[3]))?;
        width = v[3].clone();
        outputs.push((v_cache, i.operand(4)?.dtype));
    }
    if given(2) {
        i.same(B, (0, &k[0]), (2, &i.rank(2, 1)?[0]))?;
    }
    if [&k[2], &k[3], &width].iter().any(|d| d.constant().is_none()) {
        return Err(Error::Shape("append: G, D and C must be fixed, not dims of the call".into()));
    }
    if let Some(ring) = i.attr_u32("ring").filter(|r| *r > 1) {
        return Err(Error::Argument(format!("append: `ring` is {ring}, but it must be 0 or 1")));
    }
    let sizes = [(B, &k[0]), (S, &k[1]), (T, &cache[1]), (G, &k[2]), (D, &k[3]), (C, &width)];
    let axes = Axes::new(&sizes.map(|(a, d)| (a, d.clone())));
    Ok(Inferred { axes, folds: i.folds(&outputs), outputs })
}

// Nothing is computed: what is written has the error that it had.
fn reference(c: &RefCall<'_>) -> Vec<Approx> {
    let mut out = vec![written(c, c.input(0), c.input(3))];
    if let (Some(v), Some(cache)) = (c.inputs[1], c.inputs[4]) {
        out.push(written(c, v, cache));
    }
    out
}

fn written(c: &RefCall<'_>, x: &Approx, cache: &Approx) -> Approx {
    let [b, s, t] = [B, S, T].map(|a| c.sizes.get(a));
    let row = x.shape[2] * x.shape[3];
    let mut out = cache.clone();
    for (batch, query) in (0..b).flat_map(|batch| (0..s).map(move |query| (batch, query))) {
        let start = c.attr("start") as usize + c.inputs[2].map_or(0, |starts| starts.value[batch] as usize);
        let at = match start + query {
            _ if c.attr("ring") == 1.0 && query + t < s => continue,
            at if c.attr("ring") == 1.0 && t > 0 => at % t,
            at if at < t => at,
            _ => continue,
        };
        let (from, to) = ((batch * s + query) * row, (batch * t + at) * row);
        out.value[to..to + row].copy_from_slice(&x.value[from..from + row]);
        out.error[to..to + row].copy_from_slice(&x.error[from..from + row]);
    }
    out
}

fn build(g: &mut Graph, shape: &Shape) -> Result<()> {
    let [b, s, t, d] = [B, S, T, D].map(|a| Dim::from(shape.sizes.get(a)));
    let (heads, c) = (Dim::from(2), Dim::from(shape.sizes.get(D) + 7));
    let other = if shape.x == DType::F32 { DType::F16 } else { DType::F32 };
    let stored = if shape.variant == 4 { other } else { shape.x };
    let k = g.input("k", shape.x, &[b.clone(), s.clone(), heads.clone(), d.clone()])?;
    let k_cache = g.state("k_cache", stored, &[b.clone(), t.clone(), heads.clone(), d])?;
    let starts = (shape.variant == 2).then(|| g.input("starts", DType::U32, std::slice::from_ref(&b)));
    // In the ring the last rows of a call lie at its beginning.
    let start = if shape.variant == 3 { t.constant().unwrap_or(0).saturating_sub(1) } else { 1 };
    let at = At { start: start.into(), starts: starts.transpose()?, ring: shape.variant == 3 };
    if shape.variant == 1 {
        return g.append(k_cache, k, at).map(drop);
    }
    let v = g.input("v", shape.x, &[b.clone(), s, heads.clone(), c.clone()])?;
    let v_cache = g.state("v_cache", stored, &[b, t, heads, c])?;
    g.append_both((k_cache, v_cache), (k, v), at).map(drop)
}

/// Where rows are appended.
#[derive(Debug, Clone)]
pub struct At {
    /// The position of the first row: a dim of the call, or a constant.
    pub start: Dim,
    /// u32 `[B]`: what each sequence's positions begin with besides; 0 unless given.
    pub starts: Option<ValueId>,
    /// Whether positions count modulo the cache's T: what a window has left is overwritten.
    pub ring: bool,
}

impl Default for At {
    fn default() -> Self {
        Self { start: Dim::from(0), starts: None, ring: false }
    }
}

impl Graph {
    /// Writes `x [B, S, G, D]` into the state `cache [B, T, G, D]` from a position on: the rows `at.start` to
    /// `at.start + S`. Those that would lie past the end are not written. What it returns is the cache from
    /// then on.
    ///
    /// # Errors
    /// [`Error::Shape`] where sizes differ, [`Error::Argument`] if `cache` is no [`state`](Self::state).
    pub fn append(&mut self, cache: ValueId, x: ValueId, at: At) -> Result<ValueId> {
        let attrs = at.attrs()?;
        self.apply_one(&APPEND, &[Some(x), None, at.starts, Some(cache), None], &attrs)
    }

    /// [`append`](Self::append) for two caches at once, in one dispatch: keys and values `[B, S, G, D]` and
    /// `[B, S, G, C]` into `[B, T, G, D]` and `[B, T, G, C]`.
    ///
    /// # Errors
    /// As [`append`](Self::append).
    pub fn append_both(
        &mut self,
        caches: (ValueId, ValueId),
        (k, v): (ValueId, ValueId),
        at: At,
    ) -> Result<(ValueId, ValueId)> {
        let attrs = at.attrs()?;
        let inputs = [Some(k), Some(v), at.starts, Some(caches.0), Some(caches.1)];
        let both = self.apply(&APPEND, &inputs, &attrs)?;
        Ok((both[0], both[1]))
    }
}

impl At {
    fn attrs(&self) -> Result<[(&'static str, Attr); 2]> {
        let start = self.start.attr().ok_or_else(|| {
            Error::Argument("append: `start` must be a dim of the call, or a constant of 32 bits".into())
        })?;
        Ok([("start", start), ("ring", Attr::U32(self.ring.into()))])
    }
}
