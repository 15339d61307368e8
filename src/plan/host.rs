//! What a host does around a plan's dispatches: parameters, grids, the layout of inputs and
//! outputs, and checks. Plain arithmetic on bytes: it names no GPU API, so that a host of any kind,
//! and an embedder who binds a single kernel, can use it.

use crate::dim::{Call, Dim, ScalarKind, ScalarSpec};
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::plan::{Param, Plan, Port, Role, Step, WeightSpec};
use crate::profile::Limits;
use crate::tensor::Tensor;

/// The grid of `n` workgroups where one axis may have `limit`: `[min(n, limit), ceil(n / x), 1]`;
/// the kernel folds it back and returns past its own total. `None` if `n` is more than `limit²`.
pub fn fold_workgroups(n: u64, limit: u32) -> Option<[u32; 3]> {
    let x = n.min(u64::from(limit));
    let y = if n == 0 { 1 } else { n.checked_div(x)? + u64::from(!n.is_multiple_of(x)) };
    (y <= u64::from(limit.max(1))).then_some([x as u32, y as u32, 1])
}

/// Another grid of `n` workgroups that kernels must fold back: nearly a square, but none, so that both axes
/// matter, and often more than `n`. `None` where there is no grid at all.
pub fn fold_otherwise(n: u64, limit: u32) -> Option<[u32; 3]> {
    let root = n.isqrt();
    let x = if root * root == n { (root + 1).min(n) } else { root };
    let y = n.checked_div(x).map_or(1, |whole| whole + u64::from(!n.is_multiple_of(x)));
    if x.max(y) <= u64::from(limit) { Some([x as u32, y as u32, 1]) } else { fold_workgroups(n, limit) }
}

impl Step {
    /// Writes the step's parameters for one call: 4 bytes each, little-endian, as the kernel's
    /// `Params` has them. Allocates nothing. Whole numbers are at most `u32::MAX`, which
    /// [`Plan::check_limits`] makes sure of.
    ///
    /// # Errors
    /// [`Error::Argument`] if `out` is too short.
    pub fn write_params(&self, call: &Call, out: &mut [u8]) -> Result<()> {
        if out.len() < self.params.len() * 4 {
            return Err(Error::Argument(format!(
                "{}: its parameters take {} bytes, but {} were given",
                self.kernel_name,
                self.params.len() * 4,
                out.len()
            )));
        }
        for (param, field) in self.params.iter().zip(out.chunks_exact_mut(4)) {
            field.copy_from_slice(&match param {
                Param::U32(e) => (e.eval(call).min(u64::from(u32::MAX)) as u32).to_le_bytes(),
                Param::F32(v) => v.to_le_bytes(),
                Param::Scalar(id) => (call.get(*id) as f32).to_le_bytes(),
            });
        }
        Ok(())
    }
}

impl Port {
    /// The shape in one call.
    pub fn shape_in(&self, call: &Call) -> Vec<usize> {
        self.shape.iter().map(|d| size(d, call)).collect()
    }

    /// How many bytes of its buffer the tensor takes in one call, from the start; a multiple of 16.
    pub fn bytes_in(&self, call: &Call) -> u64 {
        let mut end = 0;
        self.for_each_row(call, |_, start, row| end = end.max(start + row));
        (end as u64).next_multiple_of(16)
    }

    /// The tensor as its buffer holds it: rows padded with zeros, [`Self::bytes_in`] bytes.
    ///
    /// # Errors
    /// [`Error::Argument`] if the type is another or an index is not below the table's rows;
    /// [`Error::Shape`] if the shape is not the call's.
    pub fn pack(&self, scalars: &[ScalarSpec], call: &Call, tensor: &Tensor) -> Result<Vec<u8>> {
        self.check(scalars, call, tensor)?;
        let tight = tensor.to_bytes();
        let mut bytes = vec![0; self.bytes_in(call) as usize];
        self.for_each_row(call, |from, to, row| {
            bytes[to..to + row].copy_from_slice(&tight[from..from + row])
        });
        Ok(bytes)
    }

    /// The tensor that the bytes of its buffer hold.
    ///
    /// # Errors
    /// [`Error::Shape`] if there are fewer bytes than [`Self::bytes_in`] says.
    pub fn unpack(&self, call: &Call, bytes: &[u8]) -> Result<Tensor> {
        let needed = self.bytes_in(call);
        if (bytes.len() as u64) < needed {
            return Err(Error::Shape(format!(
                "`{}` takes {needed} bytes, but {} were given",
                self.name,
                bytes.len()
            )));
        }
        let shape = self.shape_in(call);
        let mut tight = vec![0; shape.iter().product::<usize>() * self.dtype.block_bytes()];
        self.for_each_row(call, |to, from, row| {
            tight[to..to + row].copy_from_slice(&bytes[from..from + row])
        });
        Tensor::new(self.dtype, &shape, tight)
    }

    /// Visits every row with where it starts in a tight tensor, where it starts in the buffer, and
    /// how long it is, in bytes.
    fn for_each_row(&self, call: &Call, mut visit: impl FnMut(usize, usize, usize)) {
        let shape = self.shape_in(call);
        let (channels, leading) = shape.split_last().unwrap_or((&1, &[]));
        let strides: Vec<usize> = self.layout.strides.iter().map(|d| size(d, call)).collect();
        let element = self.dtype.block_bytes();
        if shape.contains(&0) {
            return;
        }
        let mut index = vec![0; leading.len()];
        for row in 0..leading.iter().product::<usize>() {
            let at: usize = index.iter().zip(&strides).map(|(i, s)| i * s).sum();
            let start = self.layout.offset as usize + at;
            visit(row * channels * element, start * element, channels * element);
            for axis in (0..index.len()).rev() {
                index[axis] += 1;
                if index[axis] < leading[axis] {
                    break;
                }
                index[axis] = 0;
            }
        }
    }

    fn check(&self, scalars: &[ScalarSpec], call: &Call, tensor: &Tensor) -> Result<()> {
        let name = &self.name;
        if tensor.dtype() != self.dtype {
            return Err(Error::Argument(format!(
                "input `{name}` is {}, but it must be {}",
                tensor.dtype(),
                self.dtype
            )));
        }
        if tensor.shape().len() != self.shape.len() {
            return Err(Error::Shape(format!(
                "input `{name}` has {} axes, but it must have {}",
                tensor.shape().len(),
                self.shape.len()
            )));
        }
        for (axis, (given, dim)) in tensor.shape().iter().zip(&self.shape).enumerate() {
            if *given != size(dim, call) {
                return Err(Error::Shape(format!(
                    "input `{name}`: axis {axis} is {given}, but {}",
                    match dim.constant() {
                        Some(n) => format!("must be {n}"),
                        None => format!("{} is {} in this call", dim.show(scalars), dim.eval(call)),
                    }
                )));
            }
        }
        let Some(below) = self.below.filter(|_| self.dtype == DType::U32) else { return Ok(()) };
        match tensor.to_u32()?.iter().position(|i| u64::from(*i) >= below) {
            None => Ok(()),
            Some(at) => Err(Error::Argument(format!(
                "input `{name}`: element {:?} is {}, but the table it points into has {below} rows",
                position(at, tensor.shape()),
                tensor.to_u32()?[at]
            ))),
        }
    }
}

fn size(dim: &Dim, call: &Call) -> usize {
    usize::try_from(dim.eval(call)).unwrap_or(usize::MAX)
}

/// The index along each axis of element `at` in row-major order.
fn position(mut at: usize, shape: &[usize]) -> Vec<usize> {
    let mut index = vec![0; shape.len()];
    for (i, n) in index.iter_mut().zip(shape).rev() {
        *i = at % n;
        at /= n;
    }
    index
}

impl Plan {
    /// Whether a call is one of this plan's: as many scalars, each dim within its bound.
    ///
    /// # Errors
    /// [`Error::Argument`] with the scalar and both numbers.
    pub fn check_call(&self, call: &Call) -> Result<()> {
        if call.0.len() != self.scalars.len() {
            return Err(Error::Argument(format!(
                "call: it has {} scalars, but the plan has {}",
                call.0.len(),
                self.scalars.len()
            )));
        }
        for (spec, value) in self.scalars.iter().zip(&call.0) {
            if let ScalarKind::Dim { max } = spec.kind
                && !(*value >= 0.0 && *value <= max as f64)
            {
                return Err(Error::Argument(format!(
                    "call: dim `{}` = {value}, but its bound is {max}",
                    spec.name
                )));
            }
        }
        Ok(())
    }

    /// Whether a device with these limits can hold and dispatch the plan, when every buffer is
    /// `extra_bytes` longer than the plan says.
    ///
    /// # Errors
    /// [`Error::Limit`] with the resource, what the plan needs and what the device grants.
    pub fn check_limits(&self, limits: &Limits, extra_bytes: u64) -> Result<()> {
        let within = |what: String, needed: u64, granted: u64, unit: &str| {
            if needed <= granted {
                return Ok(());
            }
            Err(Error::Limit(format!("{what} needs {needed} {unit}, but the device grants {granted}")))
        };
        for (i, buffer) in self.buffers.iter().enumerate() {
            let granted = limits.storage_binding_bytes.min(limits.buffer_bytes);
            within(
                self.buffer_name(i),
                buffer.bytes.saturating_add(extra_bytes),
                granted,
                "bytes in one buffer",
            )?;
        }
        for kernel in &self.kernels {
            let name = |what: &str| format!("{}: {what}", kernel.name);
            let bindings = kernel.bindings.len() as u64;
            within(name("it"), bindings, u64::from(limits.storage_buffers_per_stage), "storage buffers")?;
            let memory = u64::from(kernel.workgroup_bytes);
            within(
                name("a workgroup"),
                memory,
                u64::from(limits.workgroup_bytes),
                "bytes of workgroup memory",
            )?;
            let size = u64::from(kernel.workgroup_size);
            within(name("a workgroup"), size, u64::from(limits.workgroup_invocations), "invocations")?;
        }
        for step in &self.steps {
            let (n, axis) = (step.workgroups.max(&self.scalars), limits.workgroups_per_axis);
            if fold_workgroups(n, axis).is_none() {
                let most = u64::from(axis) * u64::from(axis);
                within(format!("{}: it", step.kernel_name), n, most, "workgroups in one dispatch")?;
            }
            for param in &step.params {
                let Param::U32(e) = param else { continue };
                let what = format!("{}: the parameter {}", step.kernel_name, e.show(&self.scalars));
                within(what, e.max(&self.scalars), u64::from(u32::MAX), "as its range")?;
            }
        }
        Ok(())
    }

    /// A buffer as messages name it: `input \`x\``, `weight \`w\``, `scratch 3`.
    pub fn buffer_name(&self, buffer: usize) -> String {
        match &self.buffers[buffer].role {
            Role::Input(i) => format!("input `{}`", self.inputs[*i].name),
            Role::State(i) => format!("state `{}`", self.inputs[*i].name),
            Role::Output(i) => format!("output `{}`", self.outputs[*i].name),
            Role::Weight(i) => {
                let WeightSpec { sources, rows, .. } = &self.weights[*i];
                let names: Vec<_> = sources.iter().map(|s| s.name.as_str()).collect();
                let rows = rows.as_ref().map_or(String::new(), |rows| format!(", rows {rows:?}"));
                format!("weight `{}`{rows}", names.join("+"))
            }
            Role::Scratch => format!("scratch {buffer}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::Graph;
    use crate::kernel::Layout;

    fn port(dtype: DType, below: Option<u64>) -> (Vec<ScalarSpec>, Port) {
        let mut graph = Graph::new();
        let rows = graph.dim("R", 4).unwrap();
        let stride = if dtype == DType::U32 { 3 } else { 8 };
        let layout = Layout { offset: 0, strides: vec![Dim::from(stride), Dim::ONE] };
        let shape = vec![rows, Dim::from(3)];
        (graph.scalars().to_vec(), Port { name: "x".into(), dtype, shape, layout, buffer: 0, below })
    }

    #[test]
    fn grids_fold_over_two_axes() {
        assert_eq!(fold_workgroups(0, 65535), Some([0, 1, 1]));
        assert_eq!(fold_workgroups(65535, 65535), Some([65535, 1, 1]));
        assert_eq!(fold_workgroups(65536, 65535), Some([65535, 2, 1]));
        assert_eq!(fold_workgroups(9, 3), Some([3, 3, 1]));
        assert_eq!(fold_workgroups(10, 3), None);
        assert_eq!(fold_workgroups(u64::MAX, 65535), None);
        assert_eq!(fold_workgroups(1, 0), None);
        for n in 0..50 {
            let [x, y, z] = fold_otherwise(n, 65535).unwrap().map(u64::from);
            assert!(x * y * z >= n && (x != y || n < 2), "{n}: {x} x {y}");
        }
        assert_eq!(fold_otherwise(9, 3), Some([3, 3, 1]));
    }

    #[test]
    fn rows_are_padded_and_come_back() {
        for dtype in [DType::F16, DType::F32, DType::U32] {
            let (scalars, port) = port(dtype, None);
            let call = Call::new(&scalars, &[("R", 2.0)]).unwrap();
            let x = Tensor::from_f64(dtype, &[2, 3], &[1., 2., 3., 4., 5., 6.]).unwrap();
            let bytes = port.pack(&scalars, &call, &x).unwrap();
            assert_eq!(bytes.len() as u64, port.bytes_in(&call));
            assert!(bytes.len().is_multiple_of(16));
            assert_eq!(port.unpack(&call, &bytes).unwrap(), x);
            assert!(port.unpack(&call, &bytes[16..]).is_err());
        }
    }

    #[test]
    fn an_empty_call_takes_no_bytes() {
        let (scalars, port) = port(DType::F32, None);
        let call = Call::new(&scalars, &[("R", 0.0)]).unwrap();
        assert_eq!(port.bytes_in(&call), 0);
        assert_eq!(port.unpack(&call, &[]).unwrap().shape(), [0, 3]);
    }

    #[test]
    fn inputs_are_checked_by_axis_type_and_index() {
        let (scalars, p) = port(DType::F32, None);
        let call = Call::new(&scalars, &[("R", 2.0)]).unwrap();
        let say = |port: &Port, t: &Tensor| port.pack(&scalars, &call, t).unwrap_err().to_string();
        assert_eq!(
            say(&p, &Tensor::zeros(DType::F32, &[3, 3]).unwrap()),
            "input `x`: axis 0 is 3, but R is 2 in this call"
        );
        assert_eq!(
            say(&p, &Tensor::zeros(DType::F32, &[6]).unwrap()),
            "input `x` has 1 axes, but it must have 2"
        );
        assert_eq!(
            say(&p, &Tensor::zeros(DType::F16, &[2, 3]).unwrap()),
            "input `x` is f16, but it must be f32"
        );
        let (_, ids) = port(DType::U32, Some(10));
        assert_eq!(
            say(&ids, &Tensor::from_u32(&[2, 3], &[0, 9, 1, 2, 10, 3]).unwrap()),
            "input `x`: element [1, 1] is 10, but the table it points into has 10 rows"
        );
    }
}
