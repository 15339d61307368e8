//! Graphs of what is said by composition and not by an op of its own: quantising, gathering, other
//! orders of axes, broadcasting in the middle of chains.

use super::{GraphCase, ROWS, no_fill};
use crate::dtype::DType;
use crate::error::Result;
use crate::graph::Graph;
use crate::op::Attr;
use crate::ops::quantize::Rounding;
use crate::rng::Rng;

pub(super) static ALL: &[GraphCase] = &[
    GraphCase { name: "graph.quantize", build: quantize, calls: ROWS, fill: scales },
    GraphCase { name: "graph.dequantize", build: dequantize, calls: ROWS, fill: scales },
    GraphCase {
        name: "graph.quantized_factor",
        build: quantized_factor,
        calls: &[&[("K", 36.0)], &[("K", 64.0)], &[("K", 33.0)], &[("K", 0.0)]],
        fill: scales,
    },
    GraphCase { name: "graph.long_rows", build: long_rows, calls: &[&[]], fill: no_fill },
    GraphCase { name: "graph.gather", build: gather, calls: ROWS, fill: indices },
    GraphCase { name: "graph.axes", build: axes, calls: ROWS, fill: no_fill },
    GraphCase { name: "graph.broadcast", build: broadcast, calls: ROWS, fill: no_fill },
    GraphCase { name: "graph.six_axes", build: six_axes, calls: ROWS, fill: no_fill },
    GraphCase { name: "graph.riders", build: riders, calls: ROWS, fill: indices },
];

/// Scales are positive, and zero points whole.
fn scales(name: &str, shape: &[usize], rng: &mut Rng) -> Option<Vec<f64>> {
    let n = shape.iter().product();
    if name.starts_with("scale") {
        return Some((0..n).map(|_| 2f64.powi(-(rng.below(4) as i32) - 3) * (1.0 + rng.unit())).collect());
    }
    name.starts_with("zero").then(|| (0..n).map(|_| rng.below(7) as f64).collect())
}

/// By tensor, by channel and by groups of 32, with and without zero points, both ways to round.
fn quantize(g: &mut Graph, dtype: DType) -> Result<()> {
    let r = g.dim("R", 33)?;
    let x = g.input("x", dtype, &[r.clone(), 96.into()])?;
    let one = g.weight("scale_tensor", DType::F32, &[1])?;
    let channel = g.weight("scale_channel", DType::F32, &[96])?;
    let group = g.input("scale_group", DType::F32, &[r.clone(), 3.into()])?;
    let zero = g.weight("zero_channel", DType::U8, &[96])?;
    let zero_group = g.input("zero_group", DType::U8, &[r, 3.into()])?;
    let all = [
        (one, None, DType::I8, Rounding::HalfToEven),
        (channel, Some(zero), DType::U8, Rounding::HalfToEven),
        (group, None, DType::I8, Rounding::HalfAway),
        (group, Some(zero_group), DType::U8, Rounding::HalfToEven),
    ];
    for (i, (scale, zero, to, rounding)) in all.into_iter().enumerate() {
        let q = g.quantize(x, scale, zero, to, rounding)?;
        g.output(&format!("q{i}"), q)?;
    }
    Ok(())
}

/// The way back, and a product in between.
fn dequantize(g: &mut Graph, dtype: DType) -> Result<()> {
    let r = g.dim("R", 33)?;
    let q = g.input("q", DType::I8, &[r.clone(), 64.into()])?;
    let u = g.input("u", DType::U8, &[r.clone(), 64.into()])?;
    let one = g.weight("scale_tensor", DType::F32, &[1])?;
    let group = g.input("scale_group", DType::F32, &[r.clone(), 2.into()])?;
    let zero_group = g.input("zero_group", DType::U8, &[r, 2.into()])?;
    let x = g.dequantize(q, one, None, dtype)?;
    let y = g.dequantize(u, group, Some(zero_group), dtype)?;
    let w = g.weight("w", dtype, &[24, 64])?;
    let product = g.matmul(y, w)?;
    for (name, value) in [("x", x), ("y", y), ("product", product)] {
        g.output(name, value)?;
    }
    Ok(())
}

/// A product with whole numbers that are made on the device, as long as the call says: what lies behind a row is
/// whatever was there.
fn quantized_factor(g: &mut Graph, dtype: DType) -> Result<()> {
    let k = g.dim("K", 64)?;
    let x = g.input("x", dtype, &[2.into(), k.clone()])?;
    let w = g.input("w", dtype, &[24.into(), k])?;
    let one = g.weight("scale_tensor", DType::F32, &[1])?;
    let q = g.quantize(w, one, None, DType::I8, Rounding::HalfToEven)?;
    let y = g.matmul_int8(x, q, one, None)?;
    g.output("y", y)
}

/// Products along more than invocations side by side take at once, and no whole number of times.
fn long_rows(g: &mut Graph, dtype: DType) -> Result<()> {
    for (name, w, k) in [
        ("floats", DType::F32, 1102),
        ("whole", DType::Q8_0, 1120),
        ("kept", DType::Q4K, 1280),
        ("six", DType::Q6K, 1280),
    ] {
        let x = g.input(&format!("x_{name}"), dtype, &[1.into(), k.into()])?;
        let w = g.weight(&format!("w_{name}"), w, &[40, k])?;
        let y = g.matmul(x, w)?;
        g.output(name, y)?;
    }
    Ok(())
}

fn indices(name: &str, shape: &[usize], rng: &mut Rng) -> Option<Vec<f64>> {
    let n = shape.iter().product();
    // Some past the end of both axes.
    name.starts_with("idx").then(|| (0..n).map(|_| rng.below(14) as f64).collect())
}

fn gather(g: &mut Graph, dtype: DType) -> Result<()> {
    let r = g.dim("R", 33)?;
    let table = g.input("table", dtype, &[12.into(), 3.into(), 9.into()])?;
    let idx = g.input("idx", DType::U32, &[r, 2.into()])?;
    for axis in 0..3 {
        let y = g.gather(table, idx, axis)?;
        g.output(&format!("y{axis}"), y)?;
    }
    Ok(())
}

/// Axes in other orders, joined, padded and cut, as kernels read them and as outputs.
fn axes(g: &mut Graph, dtype: DType) -> Result<()> {
    let r = g.dim("R", 33)?;
    let x = g.input("x", dtype, &[r.clone(), 3.into(), 8.into()])?;
    let heads = g.transpose(x, &[1, 0, 2])?;
    let a = g.silu(heads)?;
    let turned = g.transpose(x, &[2, 0, 1])?;
    let b = g.tanh(turned)?;
    let b = g.transpose(b, &[2, 1, 0])?;
    let sum = g.add(a, b)?;
    let joined = g.concat(&[sum, heads, a], 2)?;
    let padded = g.pad(joined, 2, 1, 2, -1.5)?;
    let padded = g.pad(padded, 0, 2, 0, 0.5)?;
    let y = g.scale(padded, Attr::F32(0.5))?;
    for (name, value) in [("heads", heads), ("turned", turned), ("sum", sum), ("y", y)] {
        g.output(name, value)?;
    }
    Ok(())
}

/// Rows, columns and more, broadcast within chains and before them.
fn broadcast(g: &mut Graph, dtype: DType) -> Result<()> {
    let r = g.dim("R", 33)?;
    let x = g.input("x", dtype, &[r.clone(), 3.into(), 8.into()])?;
    let w = g.weight("w", dtype, &[8, 8])?;
    let row = g.weight("row", DType::F32, &[1, 8])?;
    let column = g.input("column", dtype, &[r.clone(), 3.into(), 1.into()])?;
    let middle = g.input("middle", dtype, &[r.clone(), 1.into(), 8.into()])?;
    let first = g.input("first", dtype, &[3, 1].map(Into::into))?;
    let y = g.matmul(x, w)?;
    let y = g.add(y, row)?;
    let y = g.mul(y, column)?;
    let y = g.sub(middle, y)?;
    let y = g.maximum(y, first)?;
    let outer = g.add(column, row)?;
    let above = g.greater(x, column)?;
    let chosen = g.select(above, outer, middle)?;
    for (name, value) in [("y", y), ("outer", outer), ("chosen", chosen)] {
        g.output(name, value)?;
    }
    Ok(())
}

/// As many axes as a copy can walk, no two of one size, the other way round.
fn six_axes(g: &mut Graph, dtype: DType) -> Result<()> {
    let r = g.dim("R", 33)?;
    let x = g.input("x", dtype, &[r, 2.into(), 3.into(), 5.into(), 4.into(), 7.into()])?;
    let turned = g.transpose(x, &[5, 4, 3, 2, 1, 0])?;
    let crossed = g.transpose(x, &[3, 0, 5, 1, 4, 2])?;
    g.output("turned", turned)?;
    g.output("crossed", crossed)
}

/// Elementwise work behind ops that have it ride along, where their own cases have none; and products over
/// widths that leave two and three of four.
fn riders(g: &mut Graph, dtype: DType) -> Result<()> {
    let r = g.dim("R", 33)?;
    let x = g.input("x", dtype, &[r.clone(), 12.into()])?;
    let other = g.input("other", dtype, &[r.clone(), 8.into()])?;
    let table = g.weight("table", dtype, &[12, 9])?;
    let idx = g.input("idx", DType::U32, &[r])?;
    let (w, b) = (g.weight("w", DType::F32, &[12])?, g.weight("b", DType::F32, &[12])?);
    let holds = g.greater(x, b)?;
    let (two, three) = (g.slice(x, 1, 0, 10)?, g.slice(other, 1, 0, 7)?);
    let (w_two, w_three) = (g.weight("w_two", dtype, &[9, 10])?, g.weight("w_three", dtype, &[6, 7])?);
    let all = [
        ("joined", g.concat(&[x, other], 1)?),
        ("padded", g.pad(x, 1, 1, 3, 0.5)?),
        ("rows", g.embed(&[(idx, table)])?),
        ("unit", g.l2_normalize(x, 1e-12)?),
        ("rms", g.rms_norm(x, w, 1e-5)?),
        ("norm", g.layer_norm(x, w, b, 1e-5)?),
        ("chosen", g.select(holds, x, w)?),
        ("sum", g.sum(x, &[1], true)?),
        ("column", g.sum(x, &[0], true)?),
        ("soft", g.softmax(x, 1)?),
        ("two", g.matmul(two, w_two)?),
        ("three", g.matmul(three, w_three)?),
    ];
    for (name, value) in all {
        let y = g.offset(value, Attr::F32(-0.25))?;
        g.output(name, y)?;
    }
    Ok(())
}
