//! Every kernel, as every case composes it: valid WGSL that binds what its op's signature says, in
//! that order, with parameters as the host believes, and that naga's back ends translate to SPIR-V,
//! MSL and HLSL; `spirv-val` and Tint where they are installed. No GPU.

use std::collections::{BTreeMap, HashSet};
use std::io::Write;
use std::process::{Command, Stdio};
use std::sync::LazyLock;

use naga::valid::{Capabilities, ModuleInfo, ValidationFlags, Validator};
use naga::{AddressSpace, Module, ScalarKind, StorageAccess, TypeInner, back};
use serde_json::{Value, json};
use tachylite::check::{Subject, cases};
use tachylite::kernel::{Access, Composed, ParamKind, extensions};
use tachylite::plan::plan;
use tachylite::profile::{DeviceKind, Profile};
use tachylite::quirks::Quirk;

/// Every text that any case runs, with a case that runs it; they are composed once for all tests.
fn texts() -> &'static BTreeMap<String, (String, Composed)> {
    static TEXTS: LazyLock<BTreeMap<String, (String, Composed)>> = LazyLock::new(composed);
    &TEXTS
}

static EVERY_QUIRK: Quirk = Quirk { untrained: true, packs_nan: true, ..Quirk::NONE };

fn composed() -> BTreeMap<String, (String, Composed)> {
    let (mut out, mut seen) = (BTreeMap::new(), HashSet::new());
    let profile = Profile::portable();
    // Of what has texts of its own there, a plain processor, and one that can do everything and has every quirk.
    let processors = [
        Profile { kind: DeviceKind::Cpu, ..Profile::portable() },
        Profile {
            kind: DeviceKind::Cpu,
            quirks: vec![&EVERY_QUIRK],
            subgroup_sizes: (8, 8),
            ..Profile::capable()
        },
    ];
    for case in cases() {
        if !seen.insert(case.plan_name()) {
            continue;
        }
        let (graph, _) = case.build().unwrap_or_else(|e| panic!("{case}: {e}"));
        let of = |profile: &Profile| plan(&graph, profile, &case.policy());
        let first = of(&profile).or_else(|_| of(&Profile::capable())).or_else(|_| of(&processors[1]));
        let first = first.unwrap_or_else(|e| panic!("{case}: {e}"));
        let own = [".vector/", "attention.lanes/", "attention.rows/"];
        let own = case.quick && own.iter().any(|k| case.to_string().contains(k));
        let more = processors.iter().filter(|_| own).flat_map(of).flat_map(|plan| plan.kernels);
        for kernel in first.kernels.into_iter().chain(more) {
            out.entry(kernel.wgsl.clone()).or_insert((case.to_string(), kernel));
        }
    }
    out
}

fn uses(text: &Composed, extension: &str) -> bool {
    text.extensions.iter().any(|e| e == extension)
}

fn parse(name: &str, text: &Composed) -> (Module, ModuleInfo) {
    let place = |e: String| format!("{name}: {}: {e}", text.name);
    let wgsl = extensions::for_naga(&text.extensions) + &text.wgsl;
    let module =
        naga::front::wgsl::parse_str(&wgsl).unwrap_or_else(|e| panic!("{}", place(e.emit_to_string(&wgsl))));
    // No capability but the one that every backend has, f16 packed in u32; and what the text says that it uses.
    let mut capabilities = Capabilities::SHADER_FLOAT16_IN_FLOAT32;
    for (extension, more) in [
        ("f16", Capabilities::SHADER_FLOAT16),
        (extensions::INT64, Capabilities::SHADER_INT64),
        ("subgroups", Capabilities::SUBGROUP),
        (extensions::MATRICES, Capabilities::COOPERATIVE_MATRIX),
    ] {
        capabilities.set(more, text.extensions.iter().any(|e| e == extension));
    }
    let info = Validator::new(ValidationFlags::all(), capabilities)
        .validate(&module)
        .unwrap_or_else(|e| panic!("{}", place(e.emit_to_string(&text.wgsl))));
    (module, info)
}

#[test]
fn texts_bind_and_take_what_the_host_believes() {
    for (name, text) in texts().values() {
        let (module, _) = parse(name, text);
        let mut bindings = BTreeMap::new();
        for (_, variable) in module.global_variables.iter() {
            let Some(binding) = &variable.binding else { continue };
            if binding.group == 1 || !matches!(module.types[variable.ty].inner, TypeInner::Array { .. }) {
                continue;
            }
            assert_eq!(binding.group, 0, "{name}");
            let AddressSpace::Storage { access } = variable.space else { panic!("{name}") };
            let write = access.contains(StorageAccess::STORE);
            bindings.insert(binding.binding, (variable.name.clone().unwrap_or_default(), write));
        }
        let found: Vec<_> = bindings.values().cloned().collect();
        let believed: Vec<_> =
            text.bindings.iter().map(|b| (b.name.clone(), b.access == Access::Write)).collect();
        assert_eq!(found, believed, "{name}");
        assert!(bindings.keys().copied().eq(0..found.len() as u32), "{name}");
        assert!(found.len() <= 8, "{name}: more bindings than the web grants");

        let (_, params) = module.types.iter().find(|(_, t)| t.name.as_deref() == Some("Params")).unwrap();
        let TypeInner::Struct { members, .. } = &params.inner else { panic!("{name}: Params is no struct") };
        assert_eq!(members.len(), text.params.len(), "{name}");
        for (i, (member, param)) in members.iter().zip(&text.params).enumerate() {
            let TypeInner::Scalar(scalar) = module.types[member.ty].inner else { panic!("{name}") };
            let kind = if scalar.kind == ScalarKind::Float { ParamKind::F32 } else { ParamKind::U32 };
            assert_eq!((member.name.as_deref(), kind), (Some(&*param.name), param.kind), "{name}");
            assert_eq!(member.offset, 4 * i as u32, "{name}");
        }
        let entry = &module.entry_points[0];
        assert_eq!(entry.workgroup_size.iter().product::<u32>(), text.workgroup_size, "{name}");
        assert!(text.workgroup_size <= 256 && text.workgroup_bytes <= 16384, "{name}");
    }
}

#[test]
fn signatures_are_bound_in_order() {
    for (name, text) in texts().values() {
        let op = tachylite::ops::ALL.iter().find(|op| op.kernels.iter().any(|k| k.name == text.name));
        let Some(op) = op else { continue };
        // What an op changes is bound once, where its results are.
        let changed = |input: &str| op.outputs.iter().any(|o| o.name == input);
        let inputs = op.inputs.iter().filter(|i| !changed(i.name));
        let order: Vec<_> = inputs.chain(op.outputs).map(|a| a.name).collect();
        // A weight's scale stands with the piece that reads it; lengths and tables likewise.
        let pieces = ["w_scale", "w_zero", "x_zero", "lengths", "mask", "lse", "v", "v_cache", "starts"];
        let pieces = [&pieces[..], &["positions", "counts", "slopes", "sinks", "gain", "pages"]].concat();
        let linked = |b: &str| {
            let alone = pieces.contains(&b) && !(b == "v" && op.name != "append");
            alone || b.starts_with("table") || b.starts_with("idx")
        };
        let own: Vec<_> = text
            .bindings
            .iter()
            .map(|b| b.name.as_str())
            .filter(|b| order.contains(b) && !linked(b))
            .collect();
        let expected: Vec<_> = order.iter().copied().filter(|a| own.contains(a)).collect();
        assert_eq!(own, expected, "{name}");
    }
}

#[test]
fn lines_point_into_the_files() {
    for (name, text) in texts().values() {
        let lines: Vec<_> = text.wgsl.lines().collect();
        assert_eq!(lines.len(), text.lines.len(), "{name}");
        let at = lines.iter().position(|l| l.contains("@workgroup_size(")).unwrap();
        let (file, number) = &text.lines[at];
        let path = format!("{}/shaders/{file}", env!("CARGO_MANIFEST_DIR"));
        let source = std::fs::read_to_string(path).unwrap();
        assert_eq!(source.lines().nth(*number as usize - 1), Some(lines[at]), "{name}");
    }
}

#[test]
fn back_ends_translate_every_text() {
    let folder = std::env::temp_dir().join(format!("tachylite-spirv-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let mut files = Vec::new();
    let texts = texts();
    for (i, (name, text)) in texts.values().enumerate() {
        let (module, info) = parse(name, text);
        let entry = || "main".to_owned();
        let stage = naga::ShaderStage::Compute;
        let spv = back::spv::Options { lang_version: (1, 3), ..Default::default() };
        let pipeline = back::spv::PipelineOptions { shader_stage: stage, entry_point: entry() };
        let words = back::spv::write_vec(&module, &info, &spv, Some(&pipeline))
            .unwrap_or_else(|e| panic!("{name}: SPIR-V: {e}"));
        // spirv-val knows no cooperative matrices before 2023.4.
        if !uses(text, extensions::MATRICES) {
            let path = folder.join(format!("{i}.spv"));
            std::fs::write(&path, words.iter().flat_map(|w| w.to_le_bytes()).collect::<Vec<_>>()).unwrap();
            files.push((name, path));
        }

        let msl = back::msl::Options { lang_version: (2, 4), ..Default::default() };
        let pipeline =
            back::msl::PipelineOptions { entry_point: Some((stage, entry())), ..Default::default() };
        back::msl::write_string(&module, &info, &msl, &pipeline)
            .unwrap_or_else(|e| panic!("{name}: MSL: {e}"));

        if uses(text, extensions::MATRICES) {
            continue; // HLSL has none that naga knows.
        }
        for model in [back::hlsl::ShaderModel::V5_1, back::hlsl::ShaderModel::V6_0] {
            let hlsl = back::hlsl::Options {
                shader_model: model,
                fake_missing_bindings: true,
                ..Default::default()
            };
            let pipeline = back::hlsl::PipelineOptions { entry_point: Some((stage, entry())) };
            let mut out = String::new();
            back::hlsl::Writer::new(&mut out, &hlsl, &pipeline)
                .write(&module, &info, None)
                .unwrap_or_else(|e| panic!("{name}: HLSL: {e}"));
        }
    }
    let mut judged = 0;
    for (name, path) in &files {
        match Command::new("spirv-val").args(["--target-env", "vulkan1.1"]).arg(path).output() {
            Ok(out) => {
                assert!(out.status.success(), "{name}: spirv-val: {}", String::from_utf8_lossy(&out.stderr));
                judged += 1;
            }
            Err(_) => break,
        }
    }
    let _ = std::fs::remove_dir_all(&folder);
    report("spirv-val", judged, files.len(), "spirv-val");
}

#[test]
fn tint_compiles_every_text() {
    // WebGPU has no cooperative matrices and no u64.
    let naga_alone = |text: &&Composed| uses(text, extensions::MATRICES) || uses(text, extensions::INT64);
    let texts = texts().values().map(|(_, text)| text).filter(|text| !naga_alone(text));
    let all: Vec<_> = texts.map(|text| extensions::directives(&text.extensions) + &text.wgsl).collect();
    let Some(verdicts) = tint(&all) else { return report("Tint", 0, all.len(), "tint") };
    let wrong: Vec<_> = verdicts.iter().filter(|v| v["ok"] != true).map(ToString::to_string).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    report("Tint", verdicts.len(), all.len(), "tint");
}

/// What Tint says of each text; `None` where it is not installed.
fn tint(texts: &[String]) -> Option<Vec<Value>> {
    let script = format!("{}/tests/tint/compile.mjs", env!("CARGO_MANIFEST_DIR"));
    let child = Command::new("node").arg(script).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
    let mut child = child.ok()?;
    let lines =
        (0..).zip(texts).map(|(i, wgsl)| format!("{}\n", json!({ "name": i.to_string(), "wgsl": wgsl })));
    let lines: String = lines.collect();
    let mut stdin = child.stdin.take().unwrap();
    let writer = std::thread::spawn(move || drop(stdin.write_all(lines.as_bytes())));
    let out = child.wait_with_output().unwrap();
    writer.join().unwrap();
    let answers = String::from_utf8_lossy(&out.stdout);
    let verdicts = || answers.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    (out.status.code() != Some(2)).then(verdicts)
}

/// Some invocations of a workgroup leave the loop before others: the barrier in it waits for whom
/// nobody counts. naga follows `if` and `return`, but not how often a loop goes round.
const PLANTED: &str = "\
struct Params { N: u32 }
@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> y: array<f32>;
@group(1) @binding(0) var<uniform> p: Params;
var<workgroup> sums: array<f32, 64>;
@compute @workgroup_size(64)
fn main(@builtin(local_invocation_index) i: u32) {
    sums[i] = 0.0;
    for (var k = i; k < p.N; k += 64u) {
        sums[i] += x[k];
        workgroupBarrier(); // planted
    }
    y[i] = sums[i];
}
";

/// Names, bindings and types of it are right, so that what is refused is the barrier alone.
#[test]
fn tint_catches_a_barrier_that_naga_lets_pass() {
    let module = naga::front::wgsl::parse_str(PLANTED).unwrap();
    let naga = Validator::new(ValidationFlags::all(), Capabilities::empty()).validate(&module);
    assert!(naga.is_ok(), "naga sees it now: {naga:?}");
    let line = 1 + PLANTED.lines().position(|l| l.ends_with("// planted")).unwrap();
    let right = PLANTED.replace("workgroupBarrier(); // planted", "");
    let Some(verdicts) = tint(&[PLANTED.to_owned(), right]) else {
        return report("Tint", 0, 1, "tint");
    };
    let [planted, right] = &verdicts[..] else { panic!("{verdicts:?}") };
    let error = planted["messages"].as_array().unwrap().iter().find(|m| m["type"] == "error").unwrap();
    assert_eq!(planted["ok"], false);
    assert_eq!(error["line"], line, "{planted}");
    assert!(error["text"].as_str().unwrap().contains("uniform control flow"), "{planted}");
    assert_eq!(right["ok"], true, "{right}");
}

/// All or nothing: a tool that is missing is said, and a failure where it is required.
fn report(tool: &str, judged: usize, all: usize, requirement: &str) {
    let required = std::env::var("TACHYLITE_REQUIRE").unwrap_or_default();
    let out = &mut std::io::stdout();
    if judged == 0 {
        assert!(!required.contains(requirement), "{tool} is required, but not installed");
        writeln!(out, "SKIPPED {all} texts ({tool} is not installed)").unwrap();
    } else {
        assert_eq!(judged, all, "{tool}");
        writeln!(out, "{tool} accepts {judged} texts").unwrap();
    }
}

#[test]
fn the_first_kernel_of_every_list_fits_everything() {
    let mut made = HashSet::new();
    for case in cases() {
        if let Subject::Kernel { op, kernel, .. } = case.subject
            && op.kernels.first().is_some_and(|first| first.name == kernel.name)
            && made.insert(case.plan_name())
        {
            let (graph, _) = case.build().unwrap();
            plan(&graph, &Profile::portable(), &case.policy()).unwrap_or_else(|e| panic!("{case}: {e}"));
        }
    }
}
