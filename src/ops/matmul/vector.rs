//! Few rows: reading the weights is all the work there is, so every weight is read once for several rows, and
//! in runs as long as can be.

use super::int8::{packed, weight_knobs};
use super::unpacking;
use crate::dim::{Dim, Expr};
use crate::dtype::DType;
use crate::kernel::{Kernel, Site, WIDE, WIDE_X, Work};
use crate::op::Attr;
use crate::op::Axis::{self, B, K, M, N};
use crate::plan::prepare::PANEL;
use crate::plan::{Determinism, Numerics};
use crate::profile::DeviceKind;

pub(super) mod slices;

/// The most columns of an invocation, and the most products of a weight's group of four with a row's that
/// are written out where weights are small: more take longer to compile than they save.
const MOST_COLUMNS: u64 = 16;
const MOST_PRODUCTS: u64 = 64;
const MOST_TURNS: u64 = 4;
/// Workgroups that a processor with a few cores shares out evenly, and fewer, each with more to do.
const WORKGROUPS: u64 = 16;
const SHARED_OUT: u64 = 8;
/// Bytes that a processor may have to read from memory again and again. There a workgroup reads whole panels:
/// half of each takes as long, since memory comes by pages.
const STREAMED: f64 = (1 << 19) as f64;

pub(super) static VECTOR: Kernel = Kernel {
    name: "matmul.vector",
    file: "matmul_vector.wgsl",
    source: include_str!("../../../shaders/matmul_vector.wgsl"),
    // Past the last are columns enough for FLAT, whole words of codes, and a panel of eight columns.
    blocks: &[(M, 8), (N, 32), (N, PANEL), (N, 2055), (K, 64)],
    knobs: |s| {
        let shape = Shape::of(s);
        let number = |name, n: u64| (name, format!("{n}u"));
        let own = vec![
            number("ROWS", shape.rows),
            number("COLS", shape.columns),
            number("LANES", shape.lanes),
            number("PARTS", shape.parts),
            ("FLAT", shape.is_flat(s).to_string()),
        ];
        let own = [own, touch_knobs(s, shape.is_flat(s).then_some(shape.lanes * shape.columns))].concat();
        [own, walk_knobs(s, N, shape.columns, shape.rows), weight_knobs(s), besides(s)].concat()
    },
    workgroups: |s| {
        let shape = Shape::of(s);
        let strips = Expr::from(columns(s)).ceil_div(shape.lanes * shape.columns);
        Expr::Mul(vec![s.dim(B).into(), Expr::from(s.dim(M)).ceil_div(shape.rows), strips])
    },
    cost: |s| {
        let shape = Shape::of(s);
        let passes = (s.size(M) as f64 / shape.rows as f64).ceil();
        let tiles_n = (s.size(N) as f64 / (shape.lanes * shape.columns) as f64).ceil();
        Work {
            flops: passes * (2.0 * shape.rows as f64 + unpacking(s)) * s.sizes.product(&[B, N, K]),
            bytes: s.bytes("w") * passes + s.bytes("x") + s.bytes("y"),
            invocations: s.sizes.product(&[B]) * passes * tiles_n * (shape.lanes * shape.parts) as f64,
        }
    },
    numerics: Numerics::F32,
    batch_invariant: true,
    ..Kernel::PLAIN
};

/// The columns of y: half of the weights', if one half gates the other.
fn columns(s: &Site<'_>) -> Dim {
    if s.attr_u32("gates") > 0 { Dim::from(s.size(N) / 2) } else { s.dim(N) }
}

/// What is done besides, as `plan/few_rows.rs` asks for it.
fn besides(s: &Site<'_>) -> Vec<(&'static str, String)> {
    let act = s.attr_u32("gates").checked_sub(1).map(|act| ("ACT", format!("{act}u")));
    let eps = s.attrs.iter().find_map(|(name, a)| match a {
        Attr::F32(eps) if *name == "eps" => Some(("EPS", format!("{eps:e}"))),
        _ => None,
    });
    [act, eps].into_iter().flatten().collect()
}

/// A workgroup: the rows and columns of an invocation, and its invocations along N and along K.
struct Shape {
    rows: u64,
    columns: u64,
    lanes: u64,
    parts: u64,
}

impl Shape {
    /// A processor has few threads, each of which walks memory: there an invocation has as many columns as
    /// leave enough workgroups, so that every group of K is a long run of memory, and x, the same for all
    /// invocations, is read once for many columns. A GPU hides its memory's latency behind many invocations.
    fn of(s: &Site<'_>) -> Self {
        let rows = rows(s);
        if s.profile.kind != DeviceKind::Cpu {
            // Sums of two halves take twice the memory.
            let parts = if rows >= 4 && s.attr_u32("gates") > 0 { 8 } else { 16 };
            return Self { rows, columns: if rows < 4 { 1 } else { 2 }, lanes: 16, parts };
        }
        let (lanes, n) = (8, columns(s).max(s.scalars));
        if n >= SHARED_OUT * PANEL && s.bytes("w") >= STREAMED {
            return Self { rows, columns: PANEL / lanes, lanes, parts: 1 };
        }
        let most = MOST_COLUMNS.min(MOST_PRODUCTS / rows);
        let wanted = (n / (lanes * WORKGROUPS)).max(4);
        // The largest power of two that is not more.
        let columns = 1 << wanted.min(most).ilog2();
        Self { rows, columns, lanes, parts: 1 }
    }
}

impl Shape {
    /// Whether the columns of every workgroup lie side by side: in one panel, and that is whole.
    fn is_flat(&self, s: &Site<'_>) -> bool {
        let panels = s.arg("w").is_some_and(|w| w.panels);
        panels && s.size(N) as u64 >= PANEL && PANEL.is_multiple_of(self.lanes * self.columns)
    }
}

/// Cache lines that a workgroup touches before it reads them, if the device wants that: those of a group along K,
/// and of as many scales as lie together. `columns` are its own where they lie side by side.
pub(in crate::ops) fn touch_knobs(s: &Site<'_>, columns: Option<u64>) -> Vec<(&'static str, String)> {
    let wanted = s.profile.kind == DeviceKind::Cpu && s.profile.quirks.iter().any(|q| q.untrained);
    let columns = columns.filter(|_| wanted).unwrap_or(0);
    // Scales that lie together are several rows of a panel's: one run for who reads the whole panel.
    let scales = if columns == PANEL { columns * scale_bytes(s) / LINE_BYTES } else { 0 };
    let knobs = [
        ("LINES", columns * group_bytes(s) / LINE_BYTES),
        ("LINE", LINE_BYTES / group_bytes(s)),
        ("SCALE_LINES", scales),
    ];
    knobs.map(|(name, n)| (name, format!("{n}u"))).into()
}

/// How an invocation of so many rows and columns walks along K: which columns it loads together, how many groups
/// of four it takes in a row, and of how many it reads scales. `axis` is that of the columns.
pub(in crate::ops) fn walk_knobs(
    s: &Site<'_>,
    axis: Axis,
    columns: u64,
    rows: u64,
) -> Vec<(&'static str, String)> {
    let side = side(s, axis, columns);
    let [run, whole, ahead] = scales(s);
    let knobs = [
        ("RUN", run),
        ("TURN", turn(s, run, rows * columns)),
        ("SCALES4", whole),
        ("AHEAD4", ahead),
        ("SIDE", side),
        ("SETS", columns / side),
    ];
    // A GPU's lanes load neighbouring words together anyway.
    let wide = side > 1 && s.profile.kind == DeviceKind::Cpu && s.profile.features.shader_int64;
    let x = wide && s.arg("x").is_some_and(|x| x.dtype == DType::F32);
    let pairs = [wide.then_some(WIDE), x.then_some(WIDE_X)].into_iter().flatten();
    let pairs = pairs.map(|(name, alias)| (name, alias.to_owned()));
    knobs.map(|(name, n)| (name, format!("{n}u"))).into_iter().chain(pairs).collect()
}

/// Neighbouring columns that an invocation loads together: those that fill words, if they begin with one.
fn side(s: &Site<'_>, axis: Axis, columns: u64) -> u64 {
    let words = s.arg("w").is_some_and(|w| w.panels && (packed(w.dtype).is_some() || w.dtype == DType::Q8_0));
    let whole = s.size(axis).is_multiple_of(SIDE as usize) && columns.is_multiple_of(SIDE);
    if words && whole { SIDE } else { 1 }
}

/// Groups of four that an invocation takes in a row, which share a scale; those whose blocks' scales lie
/// together; and those of which it reads scales at once: of a few threads each walks alone and can keep them.
fn scales(s: &Site<'_>) -> [u64; 3] {
    let Some(w) = s.arg("w") else { return [8; 3] };
    let run = packed(w.dtype).map_or(8, |p| (p.part as u64 / 4).min(8));
    if packed(w.dtype).is_none() || w.dtype.block() < 256 {
        let block = weight_knobs(s).into_iter().find(|(name, _)| *name == "BLOCK4");
        let block = block.and_then(|(_, n)| n.trim_end_matches('u').parse().ok());
        return [run, block.unwrap_or(8), run];
    }
    let (part, whole) = (packed(w.dtype).map_or(8, |p| p.part as u64 / 4), w.dtype.block() as u64 / 4);
    if s.profile.kind == DeviceKind::Cpu { [run, whole, whole] } else { [run, part, run] }
}

/// Groups of four along K that are written out one after the other, of `run`, with so many products each: where
/// processors unpack codes, a loop takes as long as several columns. One, where a call says how long K is.
fn turn(s: &Site<'_>, run: u64, products: u64) -> u64 {
    let codes = s.arg("w").is_some_and(|w| !w.dtype.is_float());
    let whole = s.dim(K).constant().is_some_and(|k| k.is_multiple_of(4 * run));
    if s.profile.kind != DeviceKind::Cpu || !codes || !whole {
        return 1;
    }
    run.min(MOST_TURNS).min((MOST_PRODUCTS / products).max(1))
}

/// Columns of which the codes of four along K, of one bit or more, fill words.
const SIDE: u64 = 8;

/// The bytes of a cache line of every processor that runs WGSL by itself.
const LINE_BYTES: u64 = 64;

/// The bytes of four elements of `w`; of blocks, those of the lower bits of their codes.
fn group_bytes(s: &Site<'_>) -> u64 {
    let Some(w) = s.arg("w") else { return 16 };
    match packed(w.dtype) {
        Some(packed) => packed.planes[0].bits as u64 / 2,
        None if w.dtype == DType::Q8_0 => 4,
        None => 4 * w.dtype.block_bytes() as u64 / w.dtype.block() as u64,
    }
}

/// The bytes of a column's scales that lie together: of blocks of 256 up to four words, behind all of which others
/// have f16 of their own.
fn scale_bytes(s: &Site<'_>) -> u64 {
    let Some(w) = s.arg("w").filter(|w| w.dtype.is_blocks()) else { return 0 };
    let bits = packed(w.dtype).map_or(8, |p| p.planes.iter().map(|plane| plane.bits as u64).sum());
    let bytes = w.dtype.block_bytes() as u64 - bits * w.dtype.block() as u64 / 8;
    if bytes > 4 { (bytes / 4 * 4).min(16) } else { bytes }
}

/// Rows that share a weight: no more than there are, so that a decode step does no idle work; but under
/// `BatchInvariant` one text for any number of rows.
fn rows(s: &Site<'_>) -> u64 {
    match s.size(M) {
        _ if s.policy.determinism == Determinism::BatchInvariant => 4,
        0 | 1 => 1,
        2 => 2,
        3 | 4 => 4,
        _ => 8,
    }
}
