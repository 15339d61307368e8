//! What a candidate must get right before its time counts: random inputs at the size that is measured,
//! and the references' answer.
//!
//! A reference of 4096³ takes minutes. So rows repeat: inputs are drawn for a few rows, a prime number
//! of them, and row i of what the device is given is row i modulo that. Every row of every result
//! is judged, against the references of the few. A prime, so that rows exchanged between tiles show.

use crate::dim::Call;
use crate::error::{Error, Result};
use crate::graph::{Graph, Source};
use crate::judge::judge;
use crate::kernel::Kernel;
use crate::numerics::Approx;
use crate::op::{Axis, Shape};
use crate::plan::prepare::Weights;
use crate::tensor::Tensor;
use crate::tune::Task;

/// Elements of the iteration space that references may go through: half a second of one core.
const AFFORDABLE: f64 = (1u64 << 26) as f64;
/// Numbers of rows that are drawn, best first.
const PERIODS: [u64; 6] = [251, 127, 61, 31, 13, 5];
/// Axes whose elements do not meet in any op that has them.
const ROWS: [Axis; 3] = [Axis::M, Axis::R, Axis::B];

/// A task's graph with inputs, and the answer.
#[derive(Debug)]
pub struct Trial {
    /// The graph of the case.
    pub graph: Graph,
    /// The call, which has no dims.
    pub call: Call,
    /// Inputs and weights, by name.
    pub tensors: Weights,
    /// For every output its name, and for few rows what it must be.
    want: Vec<(String, Approx)>,
}

impl Task {
    /// Inputs and answer; the same every time, and for every kernel of one class of numerics.
    ///
    /// # Errors
    /// Those of building the case and of the references.
    pub fn trial(&self, kernel: &'static Kernel) -> Result<Trial> {
        let whole = self.case(kernel);
        let few = self.few(&whole.build()?.0, kernel)?;
        let few = crate::check::Case {
            subject: crate::check::Subject::Kernel { op: self.op, kernel, shape: few },
            ..whole.clone()
        };
        let (small, small_call) = few.build()?;
        let prepared = few.prepare(&small, &small_call, whole.seed())?;
        let (graph, call) = whole.build()?;
        let mut tensors = Weights::new();
        for value in graph.values().iter().filter(|v| !matches!(v.source, Source::Node { .. })) {
            let drawn = &prepared.tensors[&value.name];
            tensors.insert(value.name.clone(), repeated(drawn, &crate::cpu::shape(value, &call))?);
        }
        let answer = |id: &crate::ValueId| {
            let missing = || Error::Argument(format!("tune: `{whole}` has an output without a value"));
            prepared.values[id.index()].clone().ok_or_else(missing)
        };
        let want: Vec<Approx> = small.outputs().iter().map(answer).collect::<Result<_>>()?;
        let want = graph.output_names().iter().cloned().zip(want).collect();
        Ok(Trial { graph, call, tensors, want })
    }

    /// The shape with as few rows as the references can afford.
    fn few(&self, whole: &Graph, kernel: &'static Kernel) -> Result<Shape> {
        let Self { op, shape, .. } = self;
        let axes = op.cases.axes.iter().map(|(axis, _)| *axis);
        let Some(axis) = axes.filter(|a| ROWS.contains(a)).max_by_key(|a| shape.sizes.get(*a)) else {
            return Ok(*shape);
        };
        let size = shape.sizes.get(axis) as u64;
        let all = shape.sizes.product(&Axis::ALL);
        let affordable = |rows: &u64| *rows as f64 * all / size.max(1) as f64 <= AFFORDABLE;
        if affordable(&size) {
            return Ok(*shape);
        }
        let rows = PERIODS.into_iter().find(affordable).unwrap_or(PERIODS[PERIODS.len() - 1]);
        let mut few = *shape;
        few.sizes.set(axis, rows.min(size));
        // An op that has no rows in its outputs adds them up.
        let case = crate::check::Case {
            subject: crate::check::Subject::Kernel { op, kernel, shape: few },
            ..self.case(kernel)
        };
        let small = case.build()?.0;
        let mut outputs = whole.outputs().iter().zip(small.outputs());
        let has_rows = outputs.all(|(a, b)| whole.value(*a).shape != small.value(*b).shape);
        Ok(if has_rows { few } else { *shape })
    }
}

impl Trial {
    /// What is wrong with the outputs of a run, in a sentence without its end, if something is.
    pub fn judge(&self, outputs: &[Tensor]) -> Option<String> {
        self.worst(outputs).err()
    }

    /// The largest error of an element of a run's outputs, as a fraction of its allowance.
    ///
    /// # Errors
    /// What is wrong, in a sentence without its end.
    pub fn worst(&self, outputs: &[Tensor]) -> std::result::Result<f64, String> {
        if outputs.len() != self.want.len() {
            return Err(format!("it made {} outputs of {}", outputs.len(), self.want.len()));
        }
        let mut each = outputs.iter().zip(&self.want).map(|(got, (name, want))| worst(got, name, want));
        each.try_fold(0f64, |most, one| Ok(most.max(one?)))
    }
}

/// A tensor of this shape in which the axis that is longer than the tensor's repeats it.
fn repeated(small: &Tensor, shape: &[usize]) -> Result<Tensor> {
    let Some(axis) = differs(small.shape(), shape) else { return Ok(small.clone()) };
    let (rows, period) = (shape[axis], small.shape()[axis]);
    let bytes = small.to_bytes();
    let outer: usize = shape[..axis].iter().product();
    let row = bytes.len() / (outer * period).max(1);
    let mut all = Vec::with_capacity(outer * rows * row);
    for part in bytes.chunks(row * period) {
        (0..rows).for_each(|r| all.extend(&part[r % period * row..][..row]));
    }
    Tensor::new(small.dtype(), shape, all)
}

fn differs(a: &[usize], b: &[usize]) -> Option<usize> {
    a.iter().zip(b).position(|(a, b)| a != b)
}

fn worst(got: &Tensor, name: &str, want: &Approx) -> std::result::Result<f64, String> {
    let values = got.to_f64();
    let axis = differs(&want.shape, got.shape()).unwrap_or(0);
    let (rows, period) =
        (got.shape().get(axis).copied().unwrap_or(1), want.shape.get(axis).copied().unwrap_or(1));
    let outer: usize = want.shape[..axis].iter().product();
    if outer * period == 0 || want.value.is_empty() {
        return Ok(0.0);
    }
    let mut most = 0f64;
    let row = want.value.len() / (outer * period);
    let part = |from: &[f64], outer: usize, rows: usize| from[outer * period * row..][..rows * row].to_vec();
    for (o, values) in values.chunks(rows * row).enumerate() {
        for (block, values) in values.chunks(period * row).enumerate() {
            let n = values.len() / row;
            let (value, error) = (part(&want.value, o, n), part(&want.error, o, n));
            let verdict = judge(values, &Approx { error, ..Approx::exact(&[n, row], value) }, got.dtype());
            if let Some(bad) = verdict.first_bad {
                let at = o * rows * row + block * period * row + bad.index;
                return Err(format!(
                    "`{name}` is off in {} of {} elements of rows {} to {}: element {at} is {:e} and not {:e} \
                     within {:e}",
                    verdict.bad,
                    verdict.elements,
                    block * period,
                    block * period + n - 1,
                    bad.got,
                    bad.want,
                    bad.allowed
                ));
            }
            most = most.max(verdict.worst);
        }
    }
    Ok(most)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dtype::DType;
    use crate::op::Sizes;
    use crate::ops::matmul::MATMUL;
    use crate::plan::Policy;
    use crate::{Profile, cpu};

    fn task(m: u64, n: u64, k: u64, variant: usize) -> Task {
        let sizes = Sizes::new(&[(Axis::M, m), (Axis::N, n), (Axis::K, k)]);
        let shape = Shape { sizes, x: DType::F32, w: DType::Q8_0, variant };
        Task::new(&MATMUL, shape, &Profile::portable(), &Policy::default()).unwrap().unwrap()
    }

    #[test]
    fn rows_repeat_where_references_are_dear_and_every_one_is_judged() {
        // 13 rows can be afforded
        let trial = task(70, 1024, 4096, 1).trial(MATMUL.kernels[0]).unwrap();
        assert_eq!(trial.want[0].1.shape, [13, 1024]);
        let x = &trial.tensors["x"];
        assert_eq!(x.shape(), [70, 4096]);
        let row = |i: usize| x.slice(0, i, i + 1).unwrap().to_f32();
        assert!(row(69) == row(4) && row(3) != row(4));
        assert_eq!(trial.tensors["residual"].shape(), [70, 1024]);
        // what is right: the few rows as they are, repeated
        let few = Tensor::from_f64(DType::F32, &[13, 1024], &trial.want[0].1.value).unwrap();
        let right = repeated(&few, &[70, 1024]).unwrap();
        assert_eq!(trial.judge(std::slice::from_ref(&right)), None);
        for (place, row) in [(0, 0), (69 * 1024 + 1023, 65)] {
            let mut values = right.to_f64();
            values[place] += 1.0;
            let wrong = Tensor::from_f64(DType::F32, &[70, 1024], &values).unwrap();
            let why = trial.judge(&[wrong]).unwrap();
            let rows = format!("rows {row} to {}: element {place} is ", if row == 0 { 12 } else { 69 });
            assert!(why.starts_with("`y` is off in 1 of ") && why.contains(&rows), "{why}");
        }
        assert!(trial.judge(&[]).is_some());
    }

    #[test]
    fn what_is_cheap_is_drawn_whole_and_batches_repeat_by_rows() {
        let trial = task(9, 8, 64, 0).trial(MATMUL.kernels[0]).unwrap();
        assert_eq!(trial.want[0].1.shape, [9, 8]);
        let right = cpu::evaluate(&trial.graph, &trial.tensors, &trial.call).unwrap();
        assert_eq!(trial.judge(&right), None);
        let small = Tensor::from_f32(&[2, 2, 1], &[1.0, 2.0, 3.0, 4.0]).unwrap();
        let all = repeated(&small, &[2, 3, 1]).unwrap();
        assert_eq!(all.to_f32(), [1.0, 2.0, 1.0, 3.0, 4.0, 3.0]);
        let want = Approx::exact(&[2, 2, 1], small.to_f64());
        assert_eq!(worst(&all, "y", &want), Ok(0.0));
        let other = Tensor::from_f32(&[2, 3, 1], &[1.0, 2.0, 1.0, 3.0, 4.0, 4.0]).unwrap();
        assert!(worst(&other, "y", &want).unwrap_err().contains("rows 2 to 2: element 5 is "));
    }
}
