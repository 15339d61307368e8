//! A plan written by hand, so that the device room can be tested without a planner:
//! `y[r, c] = x[r, c] · s + w[c]`, in two dispatches with a scratch buffer between them.

#![allow(dead_code, reason = "each test binary uses some of it")]

use tachylite::kernel::{Access, BindingDecl, Composed, Layout, ParamDecl, ParamKind};
use tachylite::op::Attr;
use tachylite::plan::prepare::Weights;
use tachylite::plan::{
    Binding, BufferSpec, Numerics, Param, Plan, Policy, Port, Role, Step, WeightForm, WeightSource,
    WeightSpec,
};
use tachylite::{DType, Dim, Expr, Graph, ScalarSpec, Tensor};

/// Channels of `x`: a row is padded from 3 to 4 elements.
pub const C: usize = 3;
/// The bound of the dim `R`.
pub const R_MAX: u64 = 100;

const SCALE: &str = "
struct Params { R: u32, s: f32 }
@group(0) @binding(0) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read_write> y: array<vec4<f32>>;
@group(1) @binding(0) var<uniform> p: Params;
@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    if id.x < p.R { y[id.x] = x[id.x] * p.s; }
}
";

const ADD: &str = "
struct Params { R: u32 }
@group(0) @binding(0) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> w: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> y: array<vec4<f32>>;
@group(1) @binding(0) var<uniform> p: Params;
@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    if id.x < p.R { y[id.x] = x[id.x] + w[0]; }
}
";

fn composed(
    name: &'static str,
    wgsl: &str,
    bindings: &[(&str, Access)],
    params: &[(&str, ParamKind)],
) -> Composed {
    let lines = (0..wgsl.lines().count() as u32).map(|i| ("hand.wgsl".into(), i + 100)).collect();
    Composed {
        name: name.into(),
        wgsl: wgsl.to_owned(),
        bindings: bindings.iter().map(|(n, a)| BindingDecl { name: (*n).into(), access: *a }).collect(),
        params: params.iter().map(|(n, k)| ParamDecl { name: (*n).into(), kind: *k }).collect(),
        workgroup_size: 64,
        workgroup_bytes: 0,
        lines,
        extensions: Vec::new(),
    }
}

fn port(name: &str, rows: &Dim, buffer: usize) -> Port {
    Port {
        name: name.into(),
        dtype: DType::F32,
        shape: vec![rows.clone(), Dim::from(C)],
        layout: Layout { offset: 0, strides: vec![Dim::from(4), Dim::ONE] },
        buffer,
        below: None,
    }
}

fn step(
    kernel_name: &'static str,
    kernel: usize,
    bindings: &[(&str, usize, bool)],
    params: Vec<Param>,
    n: Expr,
) -> Step {
    let bind = |(name, buffer, write): &(&str, usize, bool)| Binding {
        name: (*name).into(),
        buffer: *buffer,
        write: *write,
    };
    Step {
        kernel_name: kernel_name.into(),
        kernel,
        bindings: bindings.iter().map(bind).collect(),
        params,
        workgroups: n,
        nodes: Vec::new(),
        reads: Vec::new(),
        writes: Vec::new(),
        scratch: Vec::new(),
        numerics: Numerics::F32,
        fused: Vec::new(),
        candidates: Vec::new(),
        bytes: 0,
    }
}

/// The plan. Scalars: the dim `R` and the float `s`.
pub fn plan() -> Plan {
    let mut graph = Graph::new();
    let rows = graph.dim("R", R_MAX).unwrap();
    let Attr::Scalar(s) = graph.scalar("s").unwrap() else { unreachable!() };
    let scalars: Vec<ScalarSpec> = graph.scalars().to_vec();
    let r = Param::U32(Expr::from(rows.clone()));
    let n = Expr::from(rows.clone()).ceil_div(64);
    let bytes = R_MAX * 16;
    let buffer = |role| BufferSpec { role, bytes };
    let (read, write) = (Access::Read, Access::Write);
    let r_param = ("R", ParamKind::U32);
    Plan {
        scalars,
        kernels: vec![
            composed("hand.scale", SCALE, &[("x", read), ("y", write)], &[r_param, ("s", ParamKind::F32)]),
            composed("hand.add", ADD, &[("x", read), ("w", read), ("y", write)], &[r_param]),
        ],
        buffers: vec![
            buffer(Role::Input(0)),
            BufferSpec { role: Role::Weight(0), bytes: 16 },
            buffer(Role::Scratch),
            buffer(Role::Output(0)),
        ],
        weights: vec![WeightSpec {
            sources: vec![WeightSource { name: "w".into(), dtype: DType::F32, shape: vec![C] }],
            rows: None,
            form: WeightForm::Rows,
            bytes: 16,
        }],
        inputs: vec![port("x", &rows, 0)],
        outputs: vec![port("y", &rows, 3)],
        steps: vec![
            step(
                "hand.scale",
                0,
                &[("x", 0, false), ("y", 2, true)],
                vec![r.clone(), Param::Scalar(s)],
                n.clone(),
            ),
            step("hand.add", 1, &[("x", 2, false), ("w", 1, false), ("y", 3, true)], vec![r], n),
        ],
        segments: vec![0..1, 1..2],
        values: Vec::new(),
        peak_bytes: 3 * bytes + 16,
        policy: Policy::default(),
    }
}

/// `w`.
pub fn weights() -> Weights {
    Weights::from([("w".to_owned(), Tensor::from_f32(&[C], &[10., 20., 30.]).unwrap())])
}

/// An `x` of `rows` rows.
pub fn input(rows: usize) -> Tensor {
    let values: Vec<_> = (0..rows * C).map(|i| i as f32).collect();
    Tensor::from_f32(&[rows, C], &values).unwrap()
}

/// What `y` must be, exactly: small whole numbers.
pub fn expected(x: &Tensor, s: f32) -> Vec<f32> {
    x.to_f32().iter().enumerate().map(|(i, v)| v * s + [10., 20., 30.][i % C]).collect()
}
