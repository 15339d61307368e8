//! What any kernel must do for an op at a shape, at least: from that follows which of a device's speeds
//! binds it, and how near it comes.

use crate::dim::Call;
use crate::dtype::DType;
use crate::formats;
use crate::graph::{Graph, Source};
use crate::op::{Axis, Op, Shape, Sizes};
use crate::plan::Numerics;

/// Memory that is written is copied, for this purpose, from this part of all bytes on.
const COPIES: f64 = 0.25;
/// Operations for each byte, up to which memory takes longer on most devices: a vector of f32 takes half of one.
const FEW_FLOPS: f64 = 8.0;
/// Bytes of a load of four f32.
const GROUP: f64 = 16.0;

/// What must be done at least, of everything that a probe measures.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Demand {
    /// Operations: a multiplication with an addition is two.
    pub flops: f64,
    /// Bytes of inputs and weights, each read once.
    pub read: f64,
    /// Bytes of outputs, each written once.
    pub written: f64,
    /// Exponentials.
    pub exps: f64,
    /// int8 numbers that become f32.
    pub unpacked_i8: f64,
    /// Codes of up to four bits that become f32.
    pub unpacked_u4: f64,
    /// Codes in two planes of bits that do.
    pub unpacked_u6: f64,
    /// f16 numbers that become f32.
    pub unpacked_f16: f64,
    /// Which function is computed.
    pub numerics: Numerics,
}

impl Demand {
    /// What a case asks for. `graph` is its graph, and of one op, with what is fused into it.
    pub fn of(op: &'static Op, shape: &Shape, numerics: Numerics, graph: &Graph) -> Self {
        let sizes = sizes(shape, graph);
        let bytes = |id: usize| {
            let value = &graph.values()[id];
            let n: f64 = crate::cpu::shape(value, &Call::default()).iter().map(|n| *n as f64).product();
            n / value.dtype.block() as f64 * value.dtype.block_bytes() as f64
        };
        let given = graph.values().iter().enumerate();
        let given = given.filter(|(_, v)| !matches!(v.source, Source::Node { .. })).map(|(i, _)| i);
        let written = graph.outputs().iter().map(|id| bytes(id.index())).sum();
        let mut read: f64 = given.map(bytes).sum();
        if op.name == "embed" {
            // As many rows as there are indices, and not the tables.
            read = written * graph.values().iter().filter(|v| v.name.starts_with("table")).count() as f64;
        }
        let mut seen = seen(op, shape);
        if op.name == "matmul_experts" {
            // Of the weights those of experts that tokens go to, if each goes to any with the same chance.
            let weights =
                ["w", "up"].map(|n| graph.values().iter().position(|v| v.name == n).map_or(0.0, bytes));
            read -= weights.iter().sum::<f64>() * (1.0 - visited(&sizes));
            // The products that gate, and those that are gated.
            seen *= if weights[1] > 0.0 { 2.0 } else { 1.0 };
        }
        let weights = sizes.product(&[Axis::B, Axis::N, Axis::K]);
        let packed = formats::of(shape.w).and_then(formats::Format::packed);
        let planes = packed.filter(|p| p.planes.iter().all(|plane| plane.bits < 8));
        let planes = planes.map_or(0, |p| p.planes.len());
        let product = op.name == "matmul" && numerics == Numerics::F32;
        let exps = match op.name {
            "softmax" | "log_softmax" => sizes.product(&[Axis::R, Axis::C]),
            "attention" => sizes.product(&[Axis::B, Axis::H, Axis::S, Axis::T]) * seen,
            _ => 0.0,
        };
        Self {
            flops: (op.flops)(&sizes) * seen,
            read,
            written,
            exps,
            unpacked_i8: if product && !shape.w.is_float() && planes == 0 { weights } else { 0.0 },
            unpacked_u4: if product && planes == 1 { weights } else { 0.0 },
            unpacked_u6: if product && planes > 1 { weights } else { 0.0 },
            unpacked_f16: if product && shape.w == DType::F16 { weights } else { 0.0 },
            numerics,
        }
    }

    /// Bytes that are read and written.
    pub fn bytes(&self) -> f64 {
        self.read + self.written
    }

    /// Whether memory is likely to be what takes longest where no cache holds the data, whatever the device.
    pub fn is_mostly_memory(&self) -> bool {
        self.flops <= FEW_FLOPS * self.bytes()
    }

    /// How much of what each probe measures is asked for. `cached` says whether the data may be in a cache.
    pub fn asked(&self, cached: bool) -> Vec<(&'static str, f64)> {
        let memory = match (self.written > COPIES * self.bytes(), cached) {
            (false, false) => "probe.read",
            (false, true) => "probe.read_cached",
            (true, false) => "probe.copy",
            (true, true) => "probe.copy_cached",
        };
        let arithmetic = match self.numerics {
            Numerics::F32 => "probe.fma",
            Numerics::Int8Activations => "probe.dp4a",
            Numerics::F16Staged => "probe.matrix",
        };
        let all = [
            (arithmetic, self.flops),
            (memory, self.bytes()),
            ("probe.load", self.read / GROUP),
            ("probe.exp", self.exps),
            ("probe.unpack_i8", self.unpacked_i8),
            ("probe.unpack_u4", self.unpacked_u4),
            ("probe.unpack_u6", self.unpacked_u6),
            ("probe.fetch_i8", self.unpacked_i8),
            ("probe.fetch_u4", self.unpacked_u4),
            ("probe.fetch_u6", self.unpacked_u6),
            ("probe.unpack_f16", self.unpacked_f16),
        ];
        all.into_iter().filter(|(_, n)| *n > 0.0).collect()
    }

    /// The probe that says how long this takes at least: which, and how much is asked of it. `rate` gives
    /// what a probe reaches in a second, if it was measured.
    pub fn binding(&self, cached: bool, rate: impl Fn(&str) -> Option<f64>) -> Option<(&'static str, f64)> {
        let asked = self.asked(cached).into_iter().map(|(name, n)| match name {
            // Without matrices the class's products are multiplications like others.
            "probe.matrix" if rate(name).is_none() => ("probe.fma", n),
            _ => (name, n),
        });
        let seconds = asked.filter_map(|(name, n)| rate(name).map(|rate| (name, n, n / rate)));
        seconds.max_by(|a, b| a.2.total_cmp(&b.2)).map(|(name, n, _)| (name, n))
    }
}

/// The sizes of a case's axes, also of those that its builder fixes.
fn sizes(shape: &Shape, graph: &Graph) -> Sizes {
    let mut sizes = shape.sizes;
    let width = |name: &str, at: usize| {
        let value = graph.values().iter().find(|v| v.name == name)?;
        crate::cpu::shape(value, &Call::default()).get(at).map(|n| *n as u64)
    };
    for (axis, name, at) in [(Axis::H, "q", 2), (Axis::G, "k", 2), (Axis::C, "v", 3)] {
        if let Some(n) = width(name, at) {
            sizes.set(axis, n);
        }
    }
    sizes
}

/// Which part of all experts some token goes to.
fn visited(sizes: &Sizes) -> f64 {
    let [m, u, e] = [Axis::M, Axis::U, Axis::E].map(|a| sizes.get(a) as f64);
    1.0 - (1.0 - (u / e.max(1.0)).min(1.0)).powf(m)
}

/// Which part of its pairs attention looks at: half, and a bit, if it is causal.
fn seen(op: &Op, shape: &Shape) -> f64 {
    if op.name != "attention" || !op.cases.variants[shape.variant].contains("causal") {
        return 1.0;
    }
    let (s, t) = (shape.sizes.get(Axis::S), shape.sizes.get(Axis::T));
    let pairs: usize = (0..s).map(|row| (t + row + 1).saturating_sub(s).min(t)).sum();
    pairs as f64 / (s * t).max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops;

    fn demand(op: &str, variant: &str, sizes: &[(Axis, u64)], w: DType) -> Demand {
        let op = ops::by_name(op).unwrap();
        let variant = op.cases.variants.iter().position(|v| *v == variant).unwrap();
        let shape = Shape { sizes: Sizes::new(sizes), x: DType::F32, w, variant };
        let mut graph = Graph::new();
        (op.cases.build)(&mut graph, &shape).unwrap();
        Demand::of(op, &shape, Numerics::F32, &graph)
    }

    #[test]
    fn what_is_asked_for_is_counted_once() {
        let product = [(Axis::M, 2), (Axis::N, 64), (Axis::K, 32)];
        let d = demand("matmul", "plain", &product, DType::Q8_0);
        assert_eq!((d.flops, d.read, d.written), (8192.0, (64 * 34 + 2 * 32 * 4) as f64, 512.0));
        assert_eq!((d.unpacked_i8, d.unpacked_f16, d.exps), (2048.0, 0.0, 0.0));
        let d = demand("matmul", "plain", &[(Axis::M, 1), (Axis::N, 2), (Axis::K, 256)], DType::Q6K);
        assert_eq!((d.unpacked_i8, d.unpacked_u4, d.unpacked_u6), (0.0, 0.0, 512.0));
        let d = demand("matmul", "plain", &[(Axis::M, 1), (Axis::N, 2), (Axis::K, 256)], DType::Q4K);
        assert_eq!((d.unpacked_u4, d.unpacked_u6), (512.0, 0.0));
        let heads = [(Axis::B, 1), (Axis::S, 4), (Axis::T, 4), (Axis::D, 8)];
        let (full, causal) = (
            demand("attention", "full", &heads, DType::F32),
            demand("attention", "causal", &heads, DType::F32),
        );
        assert_eq!((full.exps, causal.exps), (32.0, 20.0));
        assert_eq!((full.flops, full.read), (2.0 * 32.0 * 16.0, 3.0 * 64.0 * 4.0));
        let table = [(Axis::R, 4), (Axis::V, 100), (Axis::C, 8)];
        assert_eq!(demand("embed", "one", &table, DType::F32).read, 128.0);
        // A token reads two of eight experts.
        let experts = [(Axis::M, 1), (Axis::U, 2), (Axis::E, 8), (Axis::C, 128), (Axis::K, 16)];
        let d = demand("matmul_experts", "gated", &experts, DType::F32);
        assert_eq!(d.read, (2.0 * 2.0 * 128.0 * 16.0 + 16.0 + 2.0) * 4.0);
    }

    #[test]
    fn the_slowest_probe_binds() {
        let product = [(Axis::M, 512), (Axis::N, 512), (Axis::K, 512)];
        let d = demand("matmul", "plain", &product, DType::F32);
        let rates = |name: &str| match name {
            "probe.fma" => Some(1e9),
            "probe.read_cached" | "probe.copy_cached" => Some(1e10),
            _ => None,
        };
        assert_eq!(d.binding(true, rates), Some(("probe.fma", d.flops)));
        let one = demand("matmul", "plain", &[(Axis::M, 1), (Axis::N, 64), (Axis::K, 64)], DType::F32);
        assert_eq!(
            one.binding(true, |n| rates(n).map(|r| if n == "probe.fma" { r * 1e3 } else { r })),
            Some(("probe.read_cached", one.bytes()))
        );
        assert_eq!(one.binding(false, |_| None), None);
        let softmax = demand("softmax", "plain", &[(Axis::R, 8), (Axis::C, 64)], DType::F32);
        assert!(softmax.asked(false).contains(&("probe.copy", 4096.0)));
    }
}
