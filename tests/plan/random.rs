//! Random graphs: plans of every kind give what the references give, and sharing buffers never
//! changes what a step reads.

use tachylite::cpu;
use tachylite::formats::{i8 as int8, q8_0};
use tachylite::graph::Source;
use tachylite::op::{Attr, Binary, Kind};
use tachylite::plan::prepare::Weights;
use tachylite::plan::{Plan, Policy, Role, plan};
use tachylite::rng::Rng;
use tachylite::{Call, DType, Dim, Graph, Profile, Tensor, ValueId};

use crate::simulate::run;
use crate::{encoder, kernels, linear};

/// A graph of some fifteen nodes over `[B, 3, 32]`.
pub fn graph(seed: u64) -> Graph {
    let mut rng = Rng::new(seed);
    let mut g = Graph::new();
    let b = g.dim("B", 3).unwrap();
    let factor = g.scalar("factor").unwrap();
    let dtype = [DType::F32, DType::F16][rng.below(2) as usize];
    let mut pool: Vec<ValueId> = Vec::new();
    for name in ["x", "y"] {
        pool.push(g.input(name, dtype, &[b.clone(), 3.into(), 32.into()]).unwrap());
    }
    for i in 0..15 {
        // mostly the newest, so that there is something to join
        let back = if rng.below(3) > 0 { 0 } else { rng.below(pool.len() as u64) as usize };
        let x = pool[pool.len() - 1 - back];
        let made = match rng.below(10) {
            0 | 1 => Some(matmul(&mut g, &mut rng, x, i)),
            9 => {
                pool.extend(siblings(&mut g, x, i));
                None
            }
            2 | 3 => Some(binary(&mut g, &mut rng, &pool, x, i)),
            4 => match rng.below(4) {
                0 => g.relu(x).ok(),
                1 => g.gelu_tanh(x).ok(),
                2 => g.scale(x, Attr::F32(0.5)).ok(),
                _ => g.scale(x, factor).ok(),
            },
            5 | 6 => reshape(&mut g, &mut rng, x),
            7 => slice(&mut g, &mut rng, x),
            _ => {
                let c = g.value(x).shape.last().and_then(Dim::constant).unwrap() as usize;
                let w = g.weight(&format!("norm{i}.w"), DType::F32, &[c]).unwrap();
                let b = g.weight(&format!("norm{i}.b"), dtype, &[c]).unwrap();
                g.layer_norm(x, w, b, 1e-3).ok()
            }
        };
        pool.extend(made);
    }
    g.output("last", pool[pool.len() - 1]).unwrap();
    let also = pool[rng.below(pool.len() as u64) as usize];
    let _ = g.output("also", also); // it may be the same one
    g
}

fn matmul(g: &mut Graph, rng: &mut Rng, x: ValueId, i: usize) -> ValueId {
    let k = g.value(x).shape.last().and_then(Dim::constant).unwrap() as usize;
    let n = [4, 6, 12, 20, 32][rng.below(5) as usize];
    let formats = if k.is_multiple_of(32) { 4 } else { 3 };
    let dtype = [DType::F32, DType::F16, DType::I8, DType::Q8_0][rng.below(formats) as usize];
    let w = g.weight(&format!("w{i}"), dtype, &[n, k]).unwrap();
    if dtype == DType::I8 {
        let groups = [vec![n], vec![1], vec![n, k / 32]];
        let shape = &groups[rng.below(formats - 1) as usize % 3];
        let scale = g.weight(&format!("w{i}.scale"), DType::F32, shape).unwrap();
        return g.matmul_int8(x, w, scale, None).unwrap();
    }
    let y = g.matmul(x, w).unwrap();
    if rng.below(2) == 0 {
        return y;
    }
    let b = g.weight(&format!("w{i}.b"), DType::F32, &[n]).unwrap();
    g.add(y, b).unwrap()
}

/// Three matmuls of the same rows, of different widths, one with a function on its own.
fn siblings(g: &mut Graph, x: ValueId, i: usize) -> [ValueId; 3] {
    [8, 4, 12].map(|n| {
        let y = linear(g, x, &format!("sibling{i}.{n}"), n);
        if n == 8 { g.silu(y).unwrap() } else { y }
    })
}

fn binary(g: &mut Graph, rng: &mut Rng, pool: &[ValueId], x: ValueId, i: usize) -> ValueId {
    let shape = g.value(x).shape.clone();
    let alike: Vec<_> = pool.iter().copied().filter(|v| g.value(*v).shape == shape).collect();
    let other = match rng.below(3) {
        0 => {
            let c = shape.last().and_then(Dim::constant).unwrap() as usize;
            g.weight(&format!("row{i}"), DType::F16, &[c]).unwrap()
        }
        _ => alike[rng.below(alike.len() as u64) as usize],
    };
    let (a, b) = if rng.below(2) == 0 { (x, other) } else { (other, x) };
    match rng.below(3) {
        0 => g.mul(a, b).unwrap(),
        1 => g.sub(a, b).unwrap(),
        _ => g.add(a, b).unwrap(),
    }
}

fn reshape(g: &mut Graph, rng: &mut Rng, x: ValueId) -> Option<ValueId> {
    let mut shape = g.value(x).shape.clone();
    let at = rng.below(shape.len() as u64) as usize;
    match shape[at].constant() {
        Some(n) if n % 2 == 0 && shape.len() < 5 && rng.below(2) == 0 => {
            shape[at] = (n / 2).into();
            shape.insert(at + rng.below(2) as usize, 2.into());
        }
        _ if at + 1 < shape.len() => {
            let next = shape.remove(at + 1);
            shape[at] = shape[at].times(&next);
        }
        _ => return None,
    }
    shape.last()?.constant()?;
    g.reshape(x, &shape).ok()
}

fn slice(g: &mut Graph, rng: &mut Rng, x: ValueId) -> Option<ValueId> {
    let axis = rng.below(g.value(x).shape.len() as u64) as usize;
    let size = g.value(x).shape[axis].constant()?;
    let start = rng.below(size);
    let len = 1 + rng.below(size - start);
    g.slice(x, axis, start as usize, len as usize).ok()
}

/// Numbers for every input and weight.
pub fn tensors(g: &Graph, call: &Call) -> Weights {
    let mut rng = Rng::new(5);
    let given = g.values().iter().filter(|v| !matches!(v.source, Source::Node { .. }));
    let mut out = Weights::new();
    for value in given {
        let shape = cpu::shape(value, call);
        let n = shape.iter().product();
        let (dtype, name) = (value.dtype, value.name.clone());
        let values: Vec<f64> = match dtype {
            DType::U32 => (0..n).map(|_| rng.below(4) as f64).collect(),
            _ => (0..n).map(|_| rng.signed()).collect(),
        };
        let tensor = match dtype {
            DType::Q8_0 => q8_0::quantize(&Tensor::from_f64(DType::F32, &shape, &values).unwrap()),
            DType::I8 => {
                int8::quantize(&Tensor::from_f64(DType::F32, &shape, &values).unwrap()).map(|(q, _)| q)
            }
            _ => Tensor::from_f64(dtype, &shape, &values),
        };
        out.insert(name, tensor.unwrap());
    }
    out
}

fn policies() -> Vec<Policy> {
    let all = [(true, true), (true, false), (false, true)];
    all.iter().map(|(fuse, reuse)| Policy { fuse: *fuse, reuse: *reuse, ..Policy::default() }).collect()
}

/// Panics unless a plan gives what the references give.
pub fn agrees(g: &Graph, p: &Plan, call: &Call, tensors: &Weights, what: &str) {
    let expected = cpu::evaluate(g, tensors, call).unwrap();
    for ((port, got), expected) in p.outputs.iter().zip(run(p, call, tensors)).zip(expected) {
        let got = Tensor::from_f64(port.dtype, expected.shape(), &got).unwrap().to_f64();
        let unit = if port.dtype == DType::F16 { 2e-3 } else { 1e-6 };
        for (i, (g_i, e)) in got.iter().zip(expected.to_f64()).enumerate() {
            let close = (g_i - e).abs() <= unit * (1.0 + e.abs()) || *g_i == e || g_i.is_nan() && e.is_nan();
            assert!(close, "{what}: `{}`[{i}] is {g_i}, not {e}\n{}", port.name, p.explain(g));
        }
    }
}

#[test]
fn plans_of_random_graphs_give_what_the_references_give() {
    let profile = Profile::portable();
    let mut seen = std::collections::BTreeSet::new();
    for seed in 0..120 {
        let g = graph(seed);
        for policy in policies() {
            let p = plan(&g, &profile, &policy).unwrap_or_else(|e| panic!("seed {seed}: {e}"));
            p.check_references().unwrap();
            for b in [3.0, 1.0, 0.0] {
                let call = p.call(&[("B", b), ("factor", 1.5)]).unwrap();
                agrees(&g, &p, &call, &tensors(&g, &call), &format!("seed {seed}, B = {b}, {policy:?}"));
            }
            seen.extend(kernels(&p).into_iter().map(str::to_owned));
            let told: Vec<_> = p.steps.iter().flat_map(|s| &s.fused).collect();
            for part in ["joined the store", "joined the load", "joined along N"] {
                seen.extend(told.iter().any(|f| f.contains(part)).then(|| part.to_owned()));
            }
        }
    }
    for needed in [
        "copy.gather",
        "elementwise.rows",
        "layer_norm.row",
        "joined the load",
        "joined the store",
        "joined along N",
    ] {
        assert!(seen.contains(needed), "no graph shows `{needed}`: {seen:?}");
    }
}

#[test]
fn an_encoder_gives_what_the_references_give() {
    let g = encoder(24, 3, (3, 9));
    for policy in policies() {
        let p = plan(&g, &Profile::portable(), &policy).unwrap();
        for (b, s) in [(3.0, 9.0), (2.0, 4.0), (1.0, 1.0)] {
            let call = p.call(&[("B", b), ("S", s)]).unwrap();
            agrees(&g, &p, &call, &tensors(&g, &call), &format!("B = {b}, S = {s}, {policy:?}"));
        }
    }
}

/// With sharing, whatever a step reads was last written by the step that writes it without.
#[test]
fn no_two_live_values_share_a_buffer() {
    for seed in 0..300 {
        let g = graph(seed);
        let [shared, apart] = [true, false]
            .map(|reuse| plan(&g, &Profile::portable(), &Policy { reuse, ..Policy::default() }).unwrap());
        assert!(shared.peak_bytes <= apart.peak_bytes);
        let count = |p: &Plan| p.buffers.iter().filter(|b| b.role == Role::Scratch).count();
        assert!(count(&shared) <= count(&apart));
        let sources = |p: &Plan| {
            let mut writer = vec![None; p.buffers.len()];
            let mut read = Vec::new();
            for (i, step) in p.steps.iter().enumerate() {
                read.push(
                    step.bindings.iter().filter(|b| !b.write).map(|b| writer[b.buffer]).collect::<Vec<_>>(),
                );
                step.bindings.iter().filter(|b| b.write).for_each(|b| writer[b.buffer] = Some(i));
                // values that a check looks at are where the plan says they are
                let looked = step.reads.iter().filter_map(|v| p.values[*v].as_ref());
                read.push(looked.map(|(buffer, _)| writer[*buffer].filter(|w| *w < i)).collect());
            }
            (read, p.outputs.iter().map(|o| writer[o.buffer]).collect::<Vec<_>>())
        };
        assert_eq!(sources(&shared), sources(&apart), "seed {seed}\n{}", shared.explain(&g));
    }
}

#[test]
fn values_are_where_the_plan_says_after_the_step_that_writes_them() {
    for seed in 0..100 {
        let g = graph(seed);
        let p = plan(&g, &Profile::portable(), &Policy::default()).unwrap();
        let mut made = vec![false; g.values().len()];
        for step in &p.steps {
            for (v, buffer, layout) in &step.writes {
                made[*v] = true;
                assert!(step.bindings.iter().any(|b| b.write && b.buffer == *buffer));
                assert_eq!(layout.strides.len(), g.values()[*v].shape.len());
            }
            for node in &step.nodes {
                let op = g.nodes()[*node].op;
                let fused =
                    matches!(op.kind, Kind::Unary(_) | Kind::Binary(Binary::Add | Binary::Sub | Binary::Mul));
                assert!(fused || op.kind != Kind::Compute || step.kernel_name.starts_with(op.name));
            }
        }
        for o in g.outputs() {
            let source = g.values()[o.index()].source;
            let node = matches!(source, Source::Node { node, .. } if g.nodes()[node].op.kind != Kind::View);
            assert!(!node || made[o.index()]);
        }
    }
}

/// Chains before and after, in every combination that comes up, are still WGSL that any device takes.
#[test]
fn what_is_composed_for_random_graphs_is_valid() {
    use naga::valid::{Capabilities, ValidationFlags, Validator};
    let mut texts = std::collections::BTreeMap::new();
    for seed in 0..300 {
        let p = plan(&graph(seed), &Profile::portable(), &Policy::default()).unwrap();
        texts.extend(p.kernels.into_iter().map(|k| (k.wgsl, (k.name, k.bindings.len()))));
    }
    assert!(texts.len() > 100, "{} texts are few", texts.len());
    for (text, (name, bindings)) in texts {
        let module = naga::front::wgsl::parse_str(&text);
        let module = module.unwrap_or_else(|e| panic!("{name}: {}\n{text}", e.emit_to_string(&text)));
        let storage = |v: &&naga::GlobalVariable| matches!(v.space, naga::AddressSpace::Storage { .. });
        assert_eq!(
            module.global_variables.iter().map(|(_, v)| v).filter(storage).count(),
            bindings,
            "{name}"
        );
        let valid =
            Validator::new(ValidationFlags::all(), Capabilities::SHADER_FLOAT16_IN_FLOAT32).validate(&module);
        valid.unwrap_or_else(|e| panic!("{name}: {}\n{text}", e.emit_to_string(&text)));
    }
}
