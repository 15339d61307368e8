//! Probes: plans of one kernel that does one thing and nothing else, to learn how fast a device can do it.
//! What a kernel reaches is a fraction of what the probe of its scarcest resource reaches.
//!
//! A probe is a plan like any other, as data, so whoever runs plans can run it.

use crate::dim::{Dim, Expr};
use crate::dtype::DType;
use crate::kernel::source::Source;
use crate::kernel::{Access, Composed, Layout, compose_alone};
use crate::plan::{Binding, BufferSpec, Numerics, Param, Plan, Policy, Port, Role, Step};
use crate::profile::{DeviceKind, Profile, Speeds};

/// Invocations in a workgroup of every probe but those that do nothing.
const LANES: u64 = 64;
/// Bytes that a workgroup of the reading probes reads in one go: 16 groups for each invocation.
const READ_BLOCK: u64 = LANES * 16 * 16;
/// Bytes that a workgroup of the copying probe copies, however many invocations share them.
const COPY_BLOCK: u64 = LANES * 4 * 16;

/// The bytes of a cache line of every processor that runs WGSL by itself.
const LINE_BYTES: u64 = 64;

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "json", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
pub enum Unit {
    /// Operations: a multiplication with an addition is two.
    Flops,
    /// Bytes.
    Bytes,
    /// Numbers, or loads.
    Items,
    /// Nothing: what counts is the time.
    Seconds,
}

/// One thing that a device does.
#[derive(Debug, Clone)]
pub struct Probe {
    /// Its name, `probe.` and what it measures.
    pub name: &'static str,
    /// What it does, in a few words.
    pub what: &'static str,
    /// What is counted.
    pub unit: Unit,
    /// How much of it a run does.
    pub work: f64,
    /// How many copies of its buffers must take turns so that no cache holds them all; 1 where they are
    /// to be cached.
    pub copies: usize,
    /// The plan. Its inputs are of any values between 1 and 2.
    pub plan: Plan,
    /// Where the profile keeps the speed; `None` for what goes into other figures.
    pub speed: Option<fn(&mut Speeds) -> &mut f64>,
}

/// How much data is more than any cache holds: eight times the last level of what is common. Software
/// devices share a processor's, and a machine's memory with everything else.
pub fn cold_bytes(profile: &Profile) -> u64 {
    if profile.kind == DeviceKind::Cpu { 256 << 20 } else { 512 << 20 }
}

macro_rules! file {
    ($name:literal) => {
        (concat!("probe/", $name), include_str!(concat!("../shaders/probe/", $name)))
    };
}

/// The probes of a device, in the order of reports; of those that it cannot run the name, and why not.
pub fn all(profile: &Profile) -> Vec<Result<Probe, (&'static str, String)>> {
    let f16 = if profile.features.shader_f16 {
        let probe = ("probe.f16", file!("fma.wgsl"), "multiply and add, f16");
        Ok(computing(profile, probe, &[("real", "f16".to_owned())], 1024.0, Unit::Flops, |s| {
            &mut s.f16_flops_per_s
        }))
    } else {
        Err(("probe.f16", "the device has no feature `shader-f16`".to_owned()))
    };
    let compute = |name, file, what, each, unit, speed: fn(&mut Speeds) -> &mut f64| {
        Ok(computing(profile, (name, file, what), &[], each, unit, speed))
    };
    let (flops, items, bytes) = (Unit::Flops, Unit::Items, Unit::Bytes);
    // What the profile keeps is that of int8.
    let codes = |name, file, what, each, knobs: &[(&str, String)]| {
        let probe = computing(profile, (name, file, what), knobs, each, items, |s| &mut s.unpacked_i8_per_s);
        Ok(Probe { speed: None, ..probe })
    };
    let bits = |n: u32| ("BITS", format!("{n}u"));
    let (fours, threes) = ("loads of four f32, cached", [bits(6), ("WORDS", "63u".to_owned())]);
    let mut out = vec![
        compute("probe.fma", file!("fma.wgsl"), "multiply and add, f32", 1024.0, flops, |s| {
            &mut s.flops_per_s
        }),
        f16,
        compute("probe.dp4a", file!("dp4a.wgsl"), "dot products of int8", 2048.0, flops, |s| {
            &mut s.dp4a_ops_per_s
        }),
        matrix(profile),
        compute("probe.exp", file!("exp.wgsl"), "exponentials", 64.0, items, |s| &mut s.exps_per_s),
        compute("probe.unpack_i8", file!("unpack_i8.wgsl"), "f32 of int8", 256.0, items, |s| {
            &mut s.unpacked_i8_per_s
        }),
        codes("probe.unpack_u4", file!("unpack_bits.wgsl"), "f32 of codes of four bits", 256.0, &[bits(4)]),
        codes("probe.unpack_u6", file!("unpack_bits.wgsl"), "f32 of codes of six bits", 256.0, &[bits(6)]),
        compute("probe.unpack_f16", file!("unpack_f16.wgsl"), "f32 of packed f16", 128.0, items, |s| {
            &mut s.unpacked_f16_per_s
        }),
        compute("probe.load", file!("load.wgsl"), fours, 16.0, items, |s| &mut s.loads_per_s),
        codes(
            "probe.fetch_i8",
            file!("fetch.wgsl"),
            "int8 loaded, cached, and f32 of them",
            256.0,
            &[bits(8)],
        ),
        codes("probe.fetch_u4", file!("fetch.wgsl"), "codes of four bits likewise", 512.0, &[bits(4)]),
        codes("probe.fetch_u6", file!("fetch.wgsl"), "codes of six bits likewise", 336.0, &threes),
        compute("probe.workgroup", file!("workgroup.wgsl"), "workgroup memory read", 256.0, bytes, |s| {
            &mut s.workgroup_bytes_per_s
        }),
    ];
    out.extend([
        Ok(product()),
        Ok(reading(profile, "probe.read", false)),
        Ok(reading(profile, "probe.read_cached", true)),
        Ok(copying(profile, "probe.copy", false)),
        Ok(copying(profile, "probe.copy_cached", true)),
    ]);
    out
}

/// A dispatch that does nothing, and one that waits for the one before it: of use only many at a time.
pub fn idle() -> [Probe; 2] {
    let probe = |name, file, what, buffers: &[(&str, Role, u64)]| Probe {
        name,
        what,
        unit: Unit::Seconds,
        work: 1.0,
        copies: 1,
        plan: plan(compose_alone(name, file, &[]), buffers, &[], 1),
        speed: None,
    };
    [
        probe("probe.empty", file!("empty.wgsl"), "a dispatch of nothing", &[]),
        probe(
            "probe.dependent",
            file!("dependent.wgsl"),
            "a dispatch that waits",
            &[("y", Role::Output(0), 16)],
        ),
    ]
}

/// A kernel of registers, or of data that are near, by its name, file and what it does: `each` is what an
/// invocation does in one of its loops.
fn computing(
    profile: &Profile,
    (name, file, what): (&'static str, Source, &'static str),
    knobs: &[(&str, String)],
    each: f64,
    unit: Unit,
    speed: fn(&mut Speeds) -> &mut f64,
) -> Probe {
    // Processors run what they are given in a fifth of what is guessed; the start of a dispatch must not show.
    let (workgroups, seconds) = if profile.kind == DeviceKind::Cpu { (64, 0.02) } else { (8192, 0.005) };
    let mut guess = Speeds::guess(profile.kind);
    let usual = guess.flops_per_s;
    // Of what few devices have nothing is guessed.
    let guess = Some(*speed(&mut guess)).filter(|guess| *guess > 0.0).unwrap_or(usual);
    let loops = (guess * seconds / (each * (workgroups * LANES) as f64)).ceil().clamp(1.0, 65536.0);
    let mut knobs = knobs.to_vec();
    // Where the text has the number, no bound is kept for every number that there might be.
    let known = file.1.contains("const LOOPS: ");
    if known {
        knobs.push(("LOOPS", format!("{loops}u")));
    }
    let kernel = compose_alone(name, file, &knobs);
    let params: &[u64] = if known { &[] } else { &[loops as u64] };
    let out = (workgroups * LANES * 16, Role::Output(0));
    let buffers: Vec<_> = kernel
        .bindings
        .iter()
        .map(|b| match b.access {
            Access::Read => (b.name.clone(), Role::Input(0), 4096 * 16),
            Access::Write => (b.name.clone(), out.1.clone(), out.0),
        })
        .collect();
    let buffers: Vec<_> = buffers.iter().map(|(n, r, b)| (n.as_str(), r.clone(), *b)).collect();
    Probe {
        name,
        what,
        unit,
        work: each * loops * (workgroups * LANES) as f64,
        copies: 1,
        plan: plan(kernel, &buffers, params, workgroups),
        speed: Some(speed),
    }
}

/// Cooperative matrices, the largest that the device has: four subgroups in a workgroup, of which each multiplies
/// 32 times in one of its loops.
fn matrix(profile: &Profile) -> Result<Probe, (&'static str, String)> {
    let name = "probe.matrix";
    let missing = |why: String| Err((name, why));
    let side = match profile.features {
        f if f.shader_f16 && f.matrix_16 => 16,
        f if f.shader_f16 && f.matrix_8 => 8,
        _ => return missing("the device has no cooperative matrices of f16 that sum in f32".into()),
    };
    let (least, most) = profile.subgroup_sizes;
    if least != most {
        return missing(format!("it needs to know the size of subgroups, which is {least} to {most}"));
    }
    let of = |role: &str, of: &str| format!("coop_mat{side}x{side}<{of}, {role}>");
    let knobs = [
        ("mat_a", of("A", "f16")),
        ("mat_b", of("B", "f16")),
        ("mat_c", of("C", "f32")),
        ("SIDE", format!("{side}u")),
        ("LANES", format!("{}u", 4 * least)),
    ];
    let each = (4 * 32 * 2 * side * side * side) as f64 / LANES as f64;
    let probe = (name, file!("matrix.wgsl"), "cooperative matrices, f16");
    Ok(computing(profile, probe, &knobs, each, Unit::Flops, |s| &mut s.matrix_flops_per_s))
}

/// How much a probe of memory moves at once, and in how many copies of it.
fn amount(profile: &Profile, cached: bool) -> (u64, usize) {
    if cached {
        let bytes = if profile.kind == DeviceKind::Cpu { 1 << 20 } else { 8 << 20 };
        return (bytes, 1);
    }
    let (limits, all) = (&profile.limits, cold_bytes(profile));
    let most = limits.storage_binding_bytes.min(limits.buffer_bytes).min(64 << 20);
    let bytes = most / READ_BLOCK * READ_BLOCK;
    (bytes, all.div_ceil(bytes.max(1)) as usize)
}

/// How many invocations read neighbours at once.
fn run(profile: &Profile) -> Vec<(&'static str, String)> {
    if profile.kind == DeviceKind::Cpu { vec![("RUN", "8u".into())] } else { Vec::new() }
}

/// How the reading probe shares its work out, and how many bytes a workgroup reads in one go. Where lines are to
/// be touched a subgroup walks a long stretch alone, as in matmul.vector.
fn reader(profile: &Profile, cached: bool) -> (Vec<(&'static str, String)>, u64) {
    if !profile.quirks.iter().any(|q| q.untrained) {
        return (run(profile), READ_BLOCK);
    }
    let (lanes, turns) = (8, if cached { 16 } else { 128 });
    let turn = READ_BLOCK / LANES * lanes;
    let number = |name, n: u64| (name, format!("{n}u"));
    let own = [number("LANES", lanes), number("TURNS", turns), number("LINES", turn / LINE_BYTES)];
    ([own.into(), run(profile)].concat(), turn * turns)
}

/// How the copying probe shares its work out: on processors a subgroup copies a long run alone, since a workgroup
/// takes long to start.
fn copier(profile: &Profile) -> Vec<(&'static str, String)> {
    let knobs = [("LANES", "8u".to_owned()), ("GROUPS", format!("{}u", COPY_BLOCK / 16 / 8))];
    let knobs = if profile.kind == DeviceKind::Cpu { knobs.into() } else { Vec::new() };
    [knobs, run(profile)].concat()
}

fn reading(profile: &Profile, name: &'static str, cached: bool) -> Probe {
    let (knobs, stretch) = reader(profile, cached);
    let (bytes, copies) = amount(profile, cached);
    let (blocks, loops) = (bytes / stretch, if cached { 16 } else { 1 });
    let buffers = [("x", Role::Input(0), bytes), ("y", Role::Output(0), blocks * LANES * 4)];
    Probe {
        name,
        what: if cached { "memory read, cached" } else { "memory read, beyond any cache" },
        unit: Unit::Bytes,
        work: (blocks * stretch * loops) as f64,
        copies,
        plan: plan(compose_alone(name, file!("read.wgsl"), &knobs), &buffers, &[loops], blocks),
        speed: Some(if cached { |s| &mut s.cached_bytes_per_s } else { |s| &mut s.bytes_per_s }),
    }
}

fn copying(profile: &Profile, name: &'static str, cached: bool) -> Probe {
    let (bytes, copies) = amount(profile, cached);
    let bytes = bytes / 2;
    let buffers = [("x", Role::Input(0), bytes), ("y", Role::Output(0), bytes)];
    let kernel = compose_alone(name, file!("copy.wgsl"), &copier(profile));
    Probe {
        name,
        what: if cached { "copied, cached, reads and writes" } else { "copied, reads and writes" },
        unit: Unit::Bytes,
        work: (2 * bytes) as f64,
        copies,
        plan: plan(kernel, &buffers, &[bytes / 16], bytes / COPY_BLOCK),
        speed: Some(if cached { |s| &mut s.cached_copy_bytes_per_s } else { |s| &mut s.copy_bytes_per_s }),
    }
}

/// A product of 512 x 512 x 512 without any art.
fn product() -> Probe {
    const SIDE: u64 = 512;
    let bytes = SIDE * SIDE * 4;
    let buffers = [("a", Role::Input(0), bytes), ("b", Role::Input(1), bytes), ("y", Role::Output(0), bytes)];
    let kernel = compose_alone("probe.product", file!("product.wgsl"), &[]);
    Probe {
        name: "probe.product",
        what: "a product of 512³, one element an invocation",
        unit: Unit::Flops,
        work: 2.0 * (SIDE * SIDE * SIDE) as f64,
        copies: 1,
        plan: plan(kernel, &buffers, &[SIDE], SIDE * SIDE / LANES),
        speed: None,
    }
}

/// A plan of one step, whose buffers are f32 as far as hosts know.
fn plan(kernel: Composed, buffers: &[(&str, Role, u64)], params: &[u64], workgroups: u64) -> Plan {
    let whole = |n: u64| Expr::from(Dim::from(n));
    let ports = |input: bool| {
        let of = move |role: &Role| matches!(role, Role::Input(_)) == input;
        let port = |(buffer, (name, _, bytes)): (usize, &(&str, Role, u64))| Port {
            name: (*name).to_owned(),
            dtype: DType::F32,
            shape: vec![Dim::from(bytes / 4)],
            layout: Layout { offset: 0, strides: vec![Dim::ONE] },
            buffer,
            below: None,
        };
        buffers.iter().enumerate().filter(|(_, b)| of(&b.1)).map(port).collect()
    };
    let bind = |(i, (name, role, _)): (usize, &(&str, Role, u64))| {
        let write = !matches!(role, Role::Input(_));
        Binding { name: (*name).to_owned(), buffer: i, write }
    };
    let peak_bytes = buffers.iter().map(|b| b.2).sum();
    let step = Step {
        kernel_name: kernel.name.clone(),
        kernel: 0,
        bindings: buffers.iter().enumerate().map(bind).collect(),
        params: params.iter().map(|n| Param::U32(whole(*n))).collect(),
        workgroups: whole(workgroups),
        nodes: Vec::new(),
        reads: Vec::new(),
        writes: Vec::new(),
        scratch: Vec::new(),
        numerics: Numerics::F32,
        fused: Vec::new(),
        candidates: Vec::new(),
        bytes: peak_bytes,
    };
    Plan {
        scalars: Vec::new(),
        kernels: vec![kernel],
        buffers: buffers.iter().map(|b| BufferSpec { role: b.1.clone(), bytes: b.2 }).collect(),
        weights: Vec::new(),
        inputs: ports(true),
        outputs: ports(false),
        steps: vec![step],
        segments: std::iter::once(0..1).collect(),
        values: Vec::new(),
        peak_bytes,
        policy: Policy::default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::Features;

    #[test]
    fn every_probe_is_a_plan_that_holds_together() {
        let mut profile = Profile::portable();
        for kind in [DeviceKind::Cpu, DeviceKind::Discrete] {
            profile.kind = kind;
            let missing: Vec<_> = all(&profile).into_iter().filter_map(Result::err).collect();
            assert_eq!(missing.len(), 2, "{missing:?}");
            let with = Features { shader_f16: true, matrix_8: true, ..Features::default() };
            let mut able = Profile { features: with, subgroup_sizes: (8, 8), ..profile.clone() };
            if kind == DeviceKind::Cpu {
                able.quirks.push(&crate::quirks::llvmpipe::QUIRK);
            }
            for probe in all(&able).into_iter().chain(idle().map(Ok)) {
                let probe = probe.unwrap();
                probe.plan.check_limits(&profile.limits, 0).unwrap();
                probe.plan.check_call(&probe.plan.call(&[]).unwrap()).unwrap();
                let kernel = &probe.plan.kernels[0];
                let names: Vec<_> = kernel.bindings.iter().map(|b| &b.name).collect();
                assert_eq!(names, probe.plan.steps[0].bindings.iter().map(|b| &b.name).collect::<Vec<_>>());
                assert_eq!(kernel.params.len(), probe.plan.steps[0].params.len(), "{}", probe.name);
                assert!(probe.work > 0.0 && kernel.name == probe.name);
                let moved = probe.copies as u64 * probe.plan.peak_bytes;
                assert!(probe.copies == 1 || moved >= cold_bytes(&profile), "{}", probe.name);
            }
        }
    }
}
