//! Products whose columns read different slices of one x, in one dispatch: projections of what was mixed
//! differently from the same rows.
//!
//! It is for few rows: all the work is to read the weights once. With many the weights are read again for eight
//! rows each; then products of the slices by themselves are faster.

use super::{Shape as Tile, touch_knobs, walk_knobs, weight_knobs};
use crate::dim::{Dim, Expr};
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::graph::{Graph, ValueId};
use crate::kernel::{Kernel, Site, Work};
use crate::numerics::Approx;
use crate::op::Axis::{B, K, M, N};
use crate::op::{
    Arg, Attr, AttrKind, Axes, Cases, FLOATS, Infer, Inferred, Kind, Op, RefCall, Shape, Sizes, Unary,
};
use crate::ops::elementwise::unary;
use crate::ops::matmul::{BLOCKS_AND_FLOATS, MATMUL};
use crate::ops::past_one_axis;

/// The most slices.
const MOST: usize = 8;
/// Of what every slice but the last has a whole number of columns.
const UNIT: u32 = 32;
/// Where the columns of each slice end, and the function of their sums: 0 none, 1 tanh, 2 sigmoid.
const ENDS: [&str; MOST] = ["end_0", "end_1", "end_2", "end_3", "end_4", "end_5", "end_6", "end_7"];
const ACTS: [&str; MOST] = ["act_0", "act_1", "act_2", "act_3", "act_4", "act_5", "act_6", "act_7"];
const ATTRS: [(&str, AttrKind); 2 * MOST] = {
    let mut all = [("", AttrKind::U32); 2 * MOST];
    let mut i = 0;
    while i < MOST {
        (all[i].0, all[MOST + i].0) = (ENDS[i], ACTS[i]);
        i += 1;
    }
    all
};
/// The functions by their number.
const FUNCTIONS: [Option<Unary>; 3] = [None, Some(Unary::Tanh), Some(Unary::Sigmoid)];

/// y[.., n] = f(Σ_k x[i, .., k] · w[n, k]), where i is the slice whose columns n is among.
pub static MATMUL_SLICES: Op = Op {
    name: "matmul_slices",
    formula: "y[m, n] = f_i(Σ_k x[i, m, k] · w[n, k]), i the number of ends that are at most n, f_i none, tanh or \
              sigmoid",
    kind: Kind::Compute,
    inputs: &[Arg::new("x", &[B, M, K], FLOATS), Arg::new("w", &[N, K], BLOCKS_AND_FLOATS)],
    outputs: &[Arg::new("y", &[M, N], FLOATS)],
    attrs: &ATTRS,
    infer,
    reference,
    flops: |s| 2.0 * s.product(&[M, N, K]),
    kernels: &[&SLICES],
    cases: Cases {
        axes: &[(M, 3), (N, 12), (K, 36)],
        weights: &[DType::F32, DType::F16, DType::Q8_0],
        variants: &["one", "three"],
        applies: |_| true,
        many_workgroups: |_| Some(Sizes::new(&[(M, past_one_axis(8)), (N, 1), (K, 1)])),
        build,
        fill: |_, _, _| None,
    },
};

pub(in crate::ops) static SLICES: Kernel = Kernel {
    name: "matmul_slices.vector",
    blocks: &[(M, 8), (N, 32), (K, 64)],
    knobs: |s| {
        let Tile { rows, columns, lanes, parts } = tile(s);
        let number = |name, n: u64| (name, format!("{n}u"));
        let flat = Tile { rows, columns, lanes, parts }.is_flat(s);
        let own = vec![
            number("ROWS", rows),
            number("COLS", columns),
            number("LANES", lanes),
            number("PARTS", parts),
            ("FLAT", flat.to_string()),
            ("PLANES", "false".into()),
        ];
        let ends =
            ENDS[..MOST - 1].iter().zip(KNOBS).map(|(attr, knob)| number(knob, s.attr_u32(attr).into()));
        let bits = |f: u32| (0..MOST).filter(|i| s.attr_u32(ACTS[*i]) == f).map(|i| 1 << i).sum();
        let acts = [number("TANH", bits(1)), number("SIGMOID", bits(2))];
        let own = [own, ends.chain(acts).collect(), touch_knobs(s, flat.then_some(lanes * columns))].concat();
        [own, walk_knobs(s, N, columns, rows), weight_knobs(s)].concat()
    },
    workgroups: |s| {
        let Tile { rows, columns, lanes, .. } = tile(s);
        let along = |axis, n| Expr::from(s.dim(axis)).ceil_div(n);
        Expr::Mul(vec![along(M, rows), along(N, lanes * columns)])
    },
    cost: |s| {
        let Tile { rows, columns, lanes, parts } = tile(s);
        let passes = (s.size(M) as f64 / rows as f64).ceil();
        let tiles = (s.size(N) as f64 / (lanes * columns) as f64).ceil();
        Work {
            flops: passes * (2.0 * rows as f64 + super::unpacking(s)) * s.sizes.product(&[N, K]),
            bytes: s.bytes("w") * passes + s.bytes("x") + s.bytes("y"),
            invocations: passes * tiles * (lanes * parts) as f64,
        }
    },
    ..VECTOR_TEXT
};

const VECTOR_TEXT: Kernel = Kernel {
    file: "matmul_vector.wgsl",
    source: include_str!("../../../../shaders/matmul_vector.wgsl"),
    numerics: crate::plan::Numerics::F32,
    batch_invariant: true,
    ..Kernel::PLAIN
};

const KNOBS: [&str; MOST - 1] = ["END_0", "END_1", "END_2", "END_3", "END_4", "END_5", "END_6"];

/// Where the columns of each slice end, and the function of their sums: of all that there may be, of a node's
/// attributes.
pub(crate) fn slices_of(attrs: &[(&'static str, Attr)]) -> [(u64, Option<Unary>); MOST] {
    let number = |name: &str| match attrs.iter().find(|(n, _)| *n == name) {
        Some((_, Attr::U32(n))) => *n,
        _ => 0,
    };
    std::array::from_fn(|i| (number(ENDS[i]).into(), FUNCTIONS[number(ACTS[i]) as usize % FUNCTIONS.len()]))
}

/// As matmul.vector, but no workgroup has columns of two slices.
fn tile(s: &Site<'_>) -> Tile {
    let mut tile = Tile::of(s);
    let n = s.size(N) as u64;
    let ends = ENDS.map(|name| u64::from(s.attr_u32(name)));
    while tile.columns > 1 && ends.iter().any(|e| *e < n && !e.is_multiple_of(tile.lanes * tile.columns)) {
        tile.columns /= 2;
    }
    tile
}

fn infer(i: &Infer<'_>) -> Result<Inferred> {
    let (x, w) = (i.operand(0)?.clone(), i.rank(1, 2)?.to_vec());
    if x.shape.len() < 3 {
        let axes = x.shape.len();
        return Err(Error::Shape(format!("matmul_slices: `x` needs 3 axes [B, M, K], but it has {axes}")));
    }
    let last = x.shape.len() - 1;
    i.same(K, (0, &x.shape[last]), (1, &w[1]))?;
    let (Some(slices), Some(n)) = (x.shape[0].constant(), w[0].constant()) else {
        return Err(Error::Shape("matmul_slices: B and N must be fixed, not dims of the call".into()));
    };
    let attr = |name: &str| i.attr_u32(name).unwrap_or(0);
    let mut before = 0;
    for (at, name) in ENDS.iter().enumerate() {
        let end = attr(name);
        let is_last = u64::from(end) == n;
        if end < before
            || !is_last && !(end - before).is_multiple_of(UNIT)
            || at as u64 + 1 >= slices && !is_last
        {
            return Err(Error::Argument(format!(
                "matmul_slices: the columns of slice {at} are {before} to {end}, but of N = {n} each of B = \
                 {slices} slices has a multiple of {UNIT}, and the last the rest"
            )));
        }
        before = end;
    }
    if slices == 0 || slices > MOST as u64 {
        return Err(Error::Shape(format!(
            "matmul_slices: `x` has B = {slices}, but there are 1 to {MOST} slices"
        )));
    }
    if let Some(f) = ACTS.iter().map(|name| attr(name)).find(|f| *f as usize >= FUNCTIONS.len()) {
        return Err(Error::Argument(format!("matmul_slices: there is no function {f}, only 0 to 2")));
    }
    let shape = [&x.shape[1..last], &w[..1]].concat();
    let rows = Dim::product(&x.shape[1..last]);
    Ok(Inferred {
        axes: Axes::new(&[(B, x.shape[0].clone()), (M, rows), (N, w[0].clone()), (K, w[1].clone())]),
        folds: vec![vec![(B, 1), (M, last - 1), (K, 1)], vec![(N, 1), (K, 1)], vec![(M, last - 1), (N, 1)]],
        outputs: vec![(shape, x.dtype)],
    })
}

// Each slice's product is a matmul's; then the function's own error.
fn reference(c: &RefCall<'_>) -> Vec<Approx> {
    let [m, n, k] = [M, N, K].map(|a| c.sizes.get(a));
    let mut y = Approx::exact(&[m, n], vec![0.0; m * n]);
    let mut from = 0;
    for i in 0..c.sizes.get(B) {
        let to = c.attr(ENDS[i]) as usize;
        let part = |a: &Approx, start: usize, rows: usize| Approx {
            error: a.error[start * k..(start + rows) * k].to_vec(),
            ..Approx::exact(&[rows, k], a.value[start * k..(start + rows) * k].to_vec())
        };
        let (x, w) = (part(c.input(0), i * m, m), part(c.input(1), from, to - from));
        let mut sizes = c.sizes;
        sizes.set(B, 1);
        sizes.set(N, (to - from) as u64);
        let call = RefCall {
            sizes,
            attrs: Vec::new(),
            inputs: vec![Some(&x), Some(&w), None, None],
            dtypes: vec![c.dtypes[0], c.dtypes[1], None, None],
            shape: vec![m, to - from],
            numerics: c.numerics,
        };
        let product = (MATMUL.reference)(&call).swap_remove(0);
        for (row, j) in (0..m).flat_map(|row| (from..to).map(move |j| (row, j))) {
            let sum = product.at(row * (to - from) + j - from);
            (y.value[row * n + j], y.error[row * n + j]) = match FUNCTIONS[c.attr(ACTS[i]) as usize] {
                Some(f) => unary::of(f, sum, [0.0; 2], DType::F32),
                None => sum,
            };
        }
        from = to;
    }
    vec![y]
}

fn build(g: &mut Graph, shape: &Shape) -> Result<()> {
    let [m, n] = [M, N].map(|a| shape.sizes.get(a));
    let k = shape.sizes.get(K).next_multiple_of(shape.w.block());
    let three = [(32, Some(Unary::Sigmoid)), (64, None), (n, Some(Unary::Tanh))];
    let slices = if shape.variant == 0 { &[(n, None)][..] } else { &three };
    let x = g.input("x", shape.x, &[slices.len().into(), m.into(), k.into()])?;
    let w = g.weight("w", shape.w, &[slices.iter().map(|s| s.0).sum(), k])?;
    let y = g.matmul_slices(x, w, slices)?;
    g.output("y", y)
}

impl Graph {
    /// Products with one weight `w [N, K]`, its columns reading different slices of `x [B, .., K]` along its first
    /// axis: the first of `slices` says how many columns read slice 0 and which function is taken of their sums,
    /// none, tanh or sigmoid, and so on; all but the last have a multiple of 32. Returns `[.., N]`, in one
    /// dispatch, which is for few rows. Where a product has fewer columns, rows of zeros fill `w` up.
    ///
    /// # Errors
    /// [`Error::Shape`] where K or the number of slices differ, or there are more than 8; [`Error::Argument`] if
    /// the columns are not N together, or for another function.
    pub fn matmul_slices(
        &mut self,
        x: ValueId,
        w: ValueId,
        slices: &[(usize, Option<Unary>)],
    ) -> Result<ValueId> {
        self.has(x)?;
        let given = self.value(x).shape.first().and_then(Dim::constant).unwrap_or(0);
        if given != slices.len() as u64 || slices.len() > MOST {
            let many = slices.len();
            let text =
                format!("matmul_slices: `x` has B = {given}, but {many} slices of at most {MOST} are named");
            return Err(Error::Shape(text));
        }
        let (mut end, mut attrs) = (0u32, Vec::new());
        for i in 0..MOST {
            let (columns, f) = slices.get(i).copied().unwrap_or((0, None));
            let Some(number) = FUNCTIONS.iter().position(|g| *g == f) else {
                let text =
                    format!("matmul_slices: slice {i} has a function that is neither tanh nor sigmoid");
                return Err(Error::Argument(text));
            };
            end = end.saturating_add(u32::try_from(columns).unwrap_or(u32::MAX));
            attrs.push((ENDS[i], Attr::U32(end)));
            attrs.push((ACTS[i], Attr::U32(number as u32)));
        }
        attrs.sort_by_key(|(name, _)| ATTRS.iter().position(|(own, _)| own == name));
        self.apply_one(&MATMUL_SLICES, &[Some(x), Some(w)], &attrs)
    }
}
