//! Rows appended to a cache where it lies: keys and values of new tokens, or whatever a call leaves for the next.

use crate::dim::{Dim, Expr};
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::formats::CacheForm;
use crate::graph::{Graph, ValueId};
use crate::kernel::{Kernel, Site, Work};
use crate::numerics::Approx;
use crate::op::Axis::{B, C, D, G, N, S, T};
use crate::op::{
    Arg, Attr, AttrKind, Axes, Cases, FLOATS, INDEX, Infer, Inferred, Kind, Op, RefCall, Shape, Sizes,
};
use crate::ops::past_one_axis;
use crate::ops::teams::{BLOCK, LANES, Teams};

pub(crate) mod cases;
mod codes;
pub(crate) mod places;

use places::Places;

/// Rows of k, and of v, written into caches from a position on; all else stays as it is.
pub static APPEND: Op = Op {
    name: "append",
    formula: "k_cache[b, at, g, d] = k[b, s, g, d] with at = starts[b] + start + s, modulo T if ring is 1; \
              likewise v_cache of v. Rows that would lie past the end are not written, in a ring all but the \
              last T. With pages, which caches are [V, T, ..] of, k_cache[pages[b, 1 + at / T], at % T, g, d], \
              where at = pages[b, 0] + start + s, and (N - 1)·T stands for T",
    kind: Kind::Compute,
    inputs: &[
        Arg::new("k", &[B, S, G, D], FLOATS),
        Arg::optional("v", &[B, S, G, C], FLOATS),
        Arg::optional("starts", &[B], INDEX),
        Arg::optional("pages", &[B, N], INDEX),
        Arg::new("k_cache", &[B, T, G, D], CACHES),
        Arg::optional("v_cache", &[B, T, G, C], CACHES),
    ],
    outputs: &[Arg::new("k_cache", &[B, T, G, D], CACHES), Arg::optional("v_cache", &[B, T, G, C], CACHES)],
    attrs: &[("start", AttrKind::Whole), ("ring", AttrKind::U32), ("form", AttrKind::U32)],
    infer,
    reference,
    flops: |_| 0.0,
    kernels: &[&ROWS],
    cases: Cases {
        axes: &[(B, 2), (S, 3), (T, 6), (D, 20)],
        weights: &[DType::F32],
        variants: VARIANTS,
        applies: |_| true,
        many_workgroups: |_| {
            Some(Sizes::new(&[(B, past_one_axis(BLOCK / LANES.0) / 4 + 1), (S, 1), (T, 1), (D, 1)]))
        },
        build,
        fill: cases::fill,
    },
};

const VARIANTS: &[&str] = &["both", "alone", "starts", "ring", "other_type", "pages", "int8", "q8_0", "q4_0"];

static ROWS: Kernel = Kernel {
    name: "append.rows",
    file: "append.wgsl",
    source: include_str!("../../shaders/append.wgsl"),
    blocks: &[(S, 4), (D, 4 * LANES.1)],
    knobs: |s| knobs(s, lanes(s)),
    workgroups: |s| {
        let heads = s.dim(G).times(&Dim::from(1 + u64::from(s.arg("v").is_some())));
        let rows = s.dim(B).times(&s.dim(S)).times(&heads);
        Expr::from(rows).ceil_div(BLOCK / lanes(s))
    },
    cost: |s| Work {
        flops: 0.0,
        bytes: s.bytes("k") + s.bytes("v") + written(s),
        invocations: (s.bytes("k") + s.bytes("v")) / 16.0,
    },
    ..Kernel::PLAIN
};

/// Types of caches.
pub(crate) const CACHES: &[DType] = &[DType::F32, DType::F16, DType::U8];

/// Invocations of a team, which has a row.
fn lanes(s: &Site<'_>) -> u64 {
    Teams::new(s.size(D).max(s.size(C)), 1, 1).lanes
}

/// What the texts of ops that append are told, besides what is their own: how many lanes a team has.
pub(crate) fn knobs(s: &Site<'_>, lanes: u64) -> Vec<(&'static str, String)> {
    let whole = |n: u64| format!("{n}u");
    let ring = (s.attr_u32("ring") == 1).to_string();
    let mut knobs = vec![("RING", ring), ("LANES", whole(lanes)), ("TEAMS", whole(BLOCK / lanes))];
    let form = s.attr_u32("form");
    if form > 0 {
        let widest = s.size(D).max(s.size(C)).max(1) as u64;
        let (width, blocks) = (widest.div_ceil(4), widest.div_ceil(32));
        knobs.extend(
            [("FORM", form.into()), ("WIDTH", width), ("BLOCKS", blocks)].map(|(k, n)| (k, whole(n))),
        );
    }
    knobs
}

/// The bytes that a call leaves in caches.
pub(crate) fn written(s: &Site<'_>) -> f64 {
    let row = |cache: &str| {
        s.arg(cache).map_or(0.0, |cache| {
            let elements = cache.shape.last().map_or(0, |d| d.max(s.scalars));
            elements as f64 * cache.dtype.block_bytes() as f64
        })
    };
    s.sizes.product(&[B, S, G]) * (row("k_cache") + row("v_cache"))
}

fn infer(i: &Infer<'_>) -> Result<Inferred> {
    let given = |arg: usize| i.inputs.get(arg).is_some_and(Option::is_some);
    if given(1) != given(5) {
        return Err(Error::Argument("append: `v` and `v_cache` are given both or neither".into()));
    }
    let (sizes, outputs) = places::check(i)?;
    Ok(Inferred { axes: Axes::new(&sizes), folds: i.folds(&outputs), outputs })
}

// Nothing is computed: what is written has the error that it had.
fn reference(c: &RefCall<'_>) -> Vec<Approx> {
    let places = Places::new(c, (c.inputs[2], c.inputs[3]));
    let mut out = vec![places.written(c.input(0), c.input(4))];
    if let (Some(v), Some(cache)) = (c.inputs[1], c.inputs[5]) {
        out.push(places.written(v, cache));
    }
    out
}

fn build(g: &mut Graph, shape: &Shape) -> Result<()> {
    let [b, s, d] = [B, S, D].map(|a| Dim::from(shape.sizes.get(a)));
    let (heads, c) = (Dim::from(2), Dim::from(shape.sizes.get(D) + 7));
    let other = if shape.x == DType::F32 { DType::F16 } else { DType::F32 };
    let stored = if shape.variant == 4 { other } else { shape.x };
    let k = g.input("k", shape.x, &[b.clone(), s.clone(), heads.clone(), d.clone()])?;
    let at = cases::at(g, shape, VARIANTS[shape.variant])?;
    let k_cache = cases::state(g, "k_cache", (shape, stored), &[heads.clone(), d], &at)?;
    if shape.variant == 1 {
        return g.append(k_cache, k, at).map(drop);
    }
    let v = g.input("v", shape.x, &[b, s, heads.clone(), c.clone()])?;
    let v_cache = cases::state(g, "v_cache", (shape, stored), &[heads, c], &at)?;
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
    /// u32 `[B, 1 + P]`, for caches that are pages, `[V, T, G, D]` of V pages of T rows each: of each sequence
    /// where its positions begin, which stands for `starts`, and behind that its pages in order. The row at a
    /// position is `position % T` of page `position / T`. What is to lie in a page past V is not written.
    pub pages: Option<ValueId>,
    /// How rows are kept, if not as numbers: then caches are u8, and their last axis is
    /// [`CacheForm::row_bytes`] of D, and of C.
    pub form: Option<CacheForm>,
}

impl Default for At {
    fn default() -> Self {
        Self { start: Dim::from(0), starts: None, ring: false, pages: None, form: None }
    }
}

impl Graph {
    /// Writes `k [B, S, G, D]` into the state `k_cache [B, T, G, D]` from a position on: the rows `at.start` to
    /// `at.start + S`. Those that would lie past the end are not written. What it returns is the cache from
    /// then on. A smaller start in the next call rolls back what came behind it.
    ///
    /// One sequence of up to 1024 positions, of which a call brings S more, from `at` on:
    ///
    /// ```
    /// use tachylite::ops::append::At;
    /// use tachylite::ops::attention::{Attention, Reach};
    /// use tachylite::{DType, Dim, Graph};
    ///
    /// # fn main() -> tachylite::Result<()> {
    /// let mut g = Graph::new();
    /// let (s, at) = (g.dim("S", 64)?, g.dim("at", 1023)?);
    /// let rows = |heads: u64| [1.into(), s.clone(), heads.into(), 64.into()];
    /// let q = g.input("q", DType::F32, &rows(32))?;
    /// let (k, v) = (g.input("k", DType::F32, &rows(8))?, g.input("v", DType::F32, &rows(8))?);
    /// let lengths = g.input("lengths", DType::U32, &[1.into()])?; // at + S
    /// let cache: [Dim; 4] = [1, 1024, 8, 64].map(Dim::from);
    /// let (keys, values) = (g.state("keys", DType::F16, &cache)?, g.state("values", DType::F16, &cache)?);
    /// let start = At { start: at, ..At::default() };
    /// let (keys, values) = (g.append(keys, k, start.clone())?, g.append(values, v, start)?);
    /// let seen = Attention {
    ///     lengths: Some(lengths),
    ///     causal: true,
    ///     reach: Reach::Lengths, // the last of the S queries stands at lengths - 1
    ///     ..Attention::default()
    /// };
    /// let o = g.attention(q, keys, values, seen)?;
    /// g.output("o", o)?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// Rows that are kept in a form have the bytes of [`CacheForm::encode`], but where the quotient of an element
    /// and the scale lies so near to the middle of two codes that the device's roundings decide, either may be
    /// there, and of a scale that is rounded either neighbour. k must be finite.
    ///
    /// # Errors
    /// [`Error::Shape`] where sizes differ, [`Error::Argument`] if `k_cache` is no [`state`](Self::state).
    pub fn append(&mut self, k_cache: ValueId, k: ValueId, at: At) -> Result<ValueId> {
        let attrs = at.attrs(APPEND.name)?;
        self.apply_one(&APPEND, &[Some(k), None, at.starts, at.pages, Some(k_cache), None], &attrs)
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
        let attrs = at.attrs(APPEND.name)?;
        let inputs = [Some(k), Some(v), at.starts, at.pages, Some(caches.0), Some(caches.1)];
        let both = self.apply(&APPEND, &inputs, &attrs)?;
        Ok((both[0], both[1]))
    }
}

impl At {
    pub(crate) fn attrs(&self, op: &str) -> Result<[(&'static str, Attr); 3]> {
        let start = self.start.attr().ok_or_else(|| {
            Error::Argument(format!("{op}: `start` must be a dim of the call, or a constant of 32 bits"))
        })?;
        let form = self.form.map_or(0, CacheForm::number);
        Ok([("start", start), ("ring", Attr::U32(self.ring.into())), ("form", Attr::U32(form))])
    }
}
