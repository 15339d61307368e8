//! What cases are fed with: numbers of each kind, the same on every machine for the same seed.

use super::{Case, Drawn, Inputs, Subject};
use crate::cpu;
use crate::dim::Call;
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::formats;
use crate::graph::{Graph, Source, Value};
use crate::numerics::Approx;
use crate::ops::attention::ATTENTION;
use crate::plan::prepare::Weights;
use crate::rng::Rng;
use crate::tensor::Tensor;

/// A case's numbers, and what the references make of them.
#[derive(Debug, Clone)]
pub struct Prepared {
    /// Inputs and weights, by name.
    pub tensors: Weights,
    /// Every value of the graph with the error it allows, given these inputs.
    pub values: Vec<Option<Approx>>,
}

/// Large numbers start here and come down in steps of 16 until nothing overflows.
const LARGEST_F32: f64 = 1e12;
const LARGEST_F16: f64 = 1e4;

impl Case {
    /// The numbers for one run of its graph, and the answer.
    ///
    /// # Errors
    /// Those of the references; [`Error::Argument`] if the op does not say how to fill an input
    /// that cannot be any numbers.
    pub fn prepare(&self, graph: &Graph, call: &Call, seed: u64) -> Result<Prepared> {
        let mut limit = LARGEST_F32;
        loop {
            let prepared = self.with_limit(graph, call, seed, limit)?;
            let large = matches!(self.inputs, Inputs::Large | Inputs::InTurn);
            if !large || limit < 1.0 || !overflows(graph, &prepared.values) {
                return Ok(prepared);
            }
            limit = limit.min(LARGEST_F16 * 16.0) / 16.0;
        }
    }

    fn with_limit(&self, graph: &Graph, call: &Call, seed: u64, limit: f64) -> Result<Prepared> {
        let mut tensors = Weights::new();
        let given = graph.values().iter().filter(|v| !matches!(v.source, Source::Node { .. }));
        for (i, value) in given.enumerate() {
            let numbers = Numbers { kind: self.inputs, part: self.part(i, value), limit, seed };
            let shape = cpu::shape(value, call);
            let mut rng = numbers.rng(&value.name);
            let filled = if self.aliased && value.source == Source::Input && value.dtype != DType::U32 {
                self.filled_around(&value.name, &shape, &mut rng)
            } else {
                self.filled(&value.name, &shape, &mut rng)
            };
            let tensor = match filled {
                Some(values) => Tensor::from_f64(value.dtype, &shape, &values)?,
                None => numbers.tensor(value, &shape)?,
            };
            tensors.insert(value.name.clone(), tensor);
        }
        let mut values = cpu::load(graph, &tensors, call)?;
        let nodes: Vec<_> = (0..graph.nodes().len()).collect();
        cpu::evaluate_nodes(graph, &nodes, &mut values, call, self.policy().numerics)?;
        Ok(Prepared { tensors, values })
    }

    pub(super) fn filled(&self, name: &str, size: &[usize], rng: &mut Rng) -> Option<Vec<f64>> {
        match &self.subject {
            Subject::Kernel { op, shape, .. } => (op.cases.fill)(name, shape, rng),
            Subject::Graph { graph, .. } => (graph.fill)(name, size, rng),
            Subject::Drawn(Drawn(drawn)) => drawn.fill(name, size, rng),
        }
    }

    /// What a tensor is to the others when they are to cancel.
    fn part(&self, place: usize, value: &Value) -> Part {
        let op = match self.subject {
            Subject::Kernel { op, .. } => op,
            Subject::Drawn(_) => &ATTENTION,
            Subject::Graph { .. } => return if place == 0 { Part::First } else { Part::Other },
        };
        let arg = op.inputs.iter().position(|a| a.name == value.name);
        match arg {
            Some(0) => Part::First,
            Some(i) if op.inputs[i].axes == op.inputs[0].axes => Part::AgainstFirst,
            _ => Part::Other,
        }
    }
}

/// Whether a result is past its type's largest number, or so uncertain that anything goes.
fn overflows(graph: &Graph, values: &[Option<Approx>]) -> bool {
    let pairs = graph.values().iter().zip(values);
    pairs.filter(|(v, _)| matches!(v.source, Source::Node { .. })).any(|(value, approx)| {
        let max = value.dtype.max_finite();
        // What is exactly -∞ is meant to be: a masked logarithm.
        let inside = |(v, e): (&f64, &f64)| v.abs() + e <= max || *v == f64::NEG_INFINITY && *e == 0.0;
        // Where half of what is not 0 might as well be 0, a kernel that does nothing would pass.
        let vague = |a: &Approx| {
            let pairs = || a.value.iter().zip(&a.error).filter(|(v, _)| **v != 0.0);
            2 * pairs().filter(|(v, e)| **e >= v.abs()).count() > pairs().count()
        };
        approx.as_ref().is_some_and(|a| !a.value.iter().zip(&a.error).all(inside) || vague(a))
    })
}

/// What a tensor is to the others when they are to cancel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    /// Neighbours of opposite sign; every second row barely varies.
    First,
    /// About the negative of the first.
    AgainstFirst,
    /// Neighbours of about the same value, so that products with the first's cancel.
    Other,
}

/// How the numbers of one tensor are drawn.
struct Numbers {
    kind: Inputs,
    part: Part,
    limit: f64,
    seed: u64,
}

impl Numbers {
    fn rng(&self, name: &str) -> Rng {
        Rng::new(self.seed ^ Rng::hash(name))
    }

    fn tensor(&self, value: &Value, shape: &[usize]) -> Result<Tensor> {
        let len = shape.iter().product();
        let width = shape.last().copied().unwrap_or(1).max(1);
        let mut rng = self.rng(&value.name);
        match value.dtype {
            DType::F32 | DType::F16 | DType::Bf16 => {
                let mut first = self.rng("first");
                let values = self.floats(value.dtype, len, width, &mut rng, &mut first);
                Tensor::from_f64(value.dtype, shape, &values)
            }
            DType::I8 => Tensor::new(DType::I8, shape, self.quants(len, &mut rng)),
            DType::U8 => {
                // The same bytes, moved up to start at 0, or at the least of the small integers.
                let up = if matches!(self.kind, Inputs::Exact | Inputs::InTurn) { 3 } else { 128 };
                let quants = self.quants(len, &mut rng).into_iter().map(|q| q.wrapping_add(up));
                Tensor::new(DType::U8, shape, quants.collect::<Vec<_>>())
            }
            DType::I32 => {
                let whole = |_| match self.kind {
                    Inputs::Exact | Inputs::InTurn => small_integer(&mut rng),
                    _ => (2f64.powi(31) * rng.signed()).floor(),
                };
                Tensor::from_f64(DType::I32, shape, &(0..len).map(whole).collect::<Vec<_>>())
            }
            DType::U4 => {
                let codes: Vec<u8> =
                    self.quants(len, &mut rng).into_iter().map(|q| q.wrapping_add(8) & 15).collect();
                let pairs: Vec<u8> = codes.chunks(2).map(|pair| pair[0] | pair[1] << 4).collect();
                Tensor::new(DType::U4, shape, pairs)
            }
            dtype if dtype.is_blocks() => Tensor::new(dtype, shape, self.blocks(dtype, len, &mut rng)),
            DType::U32 => Err(Error::Argument(format!(
                "check: `{}` is u32, and its op does not say how to fill it",
                value.name
            ))),
            dtype => Err(Error::Argument(format!("check: `{}` is {dtype}, which no case has", value.name))),
        }
    }

    /// `first` draws what the first tensor and those against it have in common.
    fn floats(&self, dtype: DType, len: usize, width: usize, rng: &mut Rng, first: &mut Rng) -> Vec<f64> {
        let limit = if dtype == DType::F16 { self.limit.min(LARGEST_F16) } else { self.limit };
        match self.kind {
            Inputs::Random => (0..len).map(|_| rng.signed()).collect(),
            Inputs::Exact => (0..len).map(|_| small_integer(rng)).collect(),
            Inputs::Large => (0..len).map(|_| limit * rng.signed()).collect(),
            Inputs::Cancelling => self.cancelling(dtype, len, width, rng, first),
            Inputs::InTurn => {
                let kinds = Inputs::ALL.map(|kind| Self { kind, ..*self });
                let shared = Self { kind: Inputs::Exact, ..*self };
                let kind = |row| if len / width < kinds.len() { &shared } else { &kinds[row % kinds.len()] };
                (0..len / width).flat_map(|row| kind(row).floats(dtype, width, width, rng, first)).collect()
            }
        }
    }

    fn cancelling(&self, dtype: DType, len: usize, width: usize, rng: &mut Rng, first: &mut Rng) -> Vec<f64> {
        let few_bits = 16.0 * dtype.unit_roundoff();
        let near = |v: f64, rng: &mut Rng| v * (1.0 + few_bits * rng.signed());
        let mut values = Vec::with_capacity(len);
        for i in 0..len {
            let (row, column) = (i / width, i % width);
            let drawn = if self.part == Part::Other { &mut *rng } else { &mut *first };
            let fresh = 8.0 * drawn.signed();
            let value = match (self.part, column) {
                (_, 0) => fresh,
                (Part::Other, c) if c % 2 == 1 => near(values[i - 1], drawn),
                (Part::Other, _) => fresh,
                _ if row % 2 == 1 => near(values[i - column], drawn),
                (_, c) if c % 2 == 1 => near(-values[i - 1], drawn),
                _ => fresh,
            };
            values.push(value);
        }
        if self.part == Part::AgainstFirst {
            values.iter_mut().for_each(|v| *v = near(-*v, rng));
        }
        values
    }

    fn quants(&self, len: usize, rng: &mut Rng) -> Vec<u8> {
        let mut out = Vec::with_capacity(len);
        for i in 0..len {
            let q = match self.kind {
                Inputs::Random => rng.below(256) as i8,
                Inputs::Exact | Inputs::InTurn => small_integer(rng) as i8,
                Inputs::Large => [-128, 127][rng.below(2) as usize],
                Inputs::Cancelling if i % 2 == 1 => out[i - 1] as i8,
                Inputs::Cancelling => rng.below(256) as i8,
            };
            out.push(q as u8);
        }
        out
    }

    /// Blocks of any bytes but for the numbers that all of a block is multiplied with, which give it the size that
    /// is wanted.
    fn blocks(&self, dtype: DType, len: usize, rng: &mut Rng) -> Vec<u8> {
        let Some(packed) = formats::of(dtype).and_then(|f| f.packed()) else { return Vec::new() };
        let (block, size) = (dtype.block(), dtype.block_bytes());
        let mut out = vec![0; len / block * size];
        for bytes in out.chunks_exact_mut(size) {
            bytes.fill_with(|| rng.below(256) as u8);
            match self.kind {
                Inputs::Cancelling => {
                    (1..block).step_by(2).for_each(|i| packed.put(bytes, i, packed.code(bytes, i - 1)));
                }
                Inputs::Exact | Inputs::InTurn if dtype == DType::Q8_0 => {
                    (0..block).for_each(|i| packed.put(bytes, i, small_integer(rng) as i8 as u8));
                }
                Inputs::Large if dtype == DType::Q8_0 => {
                    (0..block).for_each(|i| packed.put(bytes, i, [128, 127][rng.below(2) as usize]));
                }
                _ => {}
            }
            packed.set_size(bytes, 1.0, 1.0);
            let mut values = vec![0.0; block];
            packed.unpack(bytes, &mut values);
            let most = values.iter().fold(1.0, |m: f64, v| m.max(v.abs()));
            let sign = rng.signed().signum();
            let scale = match self.kind {
                // Of both signs, and now and then too small to be a normal f16.
                Inputs::Random | Inputs::Cancelling => {
                    sign * (0.5 + rng.unit()) / if rng.below(4) == 0 { 65536.0 } else { most }
                }
                Inputs::Exact | Inputs::InTurn => [0.5, 1.0, 2.0][rng.below(3) as usize],
                Inputs::Large => self.limit.min(LARGEST_F16) * (0.5 + 0.5 * rng.unit()) / most,
            };
            packed.set_size(bytes, scale, scale.abs());
            if dtype == DType::Mxfp4 && self.kind == Inputs::Random && rng.below(8) == 0 {
                bytes[0] = rng.below(2) as u8; // the least two powers are denormal, what they scale need not be
            }
        }
        out
    }
}

fn small_integer(rng: &mut Rng) -> f64 {
    rng.below(7) as f64 - 3.0
}
