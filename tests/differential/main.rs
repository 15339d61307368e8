//! Every operator and built-in, on random and edge values, on every adapter there is and on the virtual
//! GPU: each result must be one that WGSL accepts. Where one is not, the device is wrong by the text of
//! WGSL, and stands in `known.rs` with what it does; what no longer happens must leave that list.
#![cfg(all(feature = "gpu", feature = "virtual"))]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write as _;

use tachylite::virtual_gpu::Ty;
use tachylite::virtual_gpu::accuracy::accepted;
use tachylite::{Gpu, wgpu};

mod known;
mod ops;

use ops::{Case, wgsl};

/// Lanes of one dispatch: more than there are pairs of edges.
const N: usize = 2048;

/// A shader that evaluates one operation: operands are rows of words, and so are results.
fn shader(case: &Case) -> String {
    let mut text = String::new();
    if case.args.iter().chain([&case.result]).any(|ty| *ty == Ty::F16) {
        text.push_str("enable f16;\n");
    }
    text.push_str(
        "@group(0) @binding(0) var<storage, read> operands: array<u32>;\n\
         @group(0) @binding(1) var<storage, read_write> results: array<u32>;\n\
         @compute @workgroup_size(64)\n\
         fn main(@builtin(global_invocation_id) id: vec3<u32>) {\n",
    );
    for (i, (name, ty)) in ["x", "y", "z", "w", "p", "q", "r", "s"].iter().zip(&case.args).enumerate() {
        let word = format!("operands[id.x + {}u]", i * N);
        let value = match ty {
            Ty::F16 => format!("f16(bitcast<f32>({word}))"),
            Ty::Bool => format!("{word} != 0u"),
            ty => format!("bitcast<{}>({word})", wgsl(*ty)),
        };
        writeln!(text, "  let {name} = {value};").unwrap();
    }
    writeln!(text, "  let result = {};", case.text).unwrap();
    for i in 0..case.results {
        let part = if case.results == 1 { "result".into() } else { format!("result[{i}]") };
        let word = match case.result {
            Ty::F16 => format!("bitcast<u32>(f32({part}))"),
            Ty::Bool => format!("select(0u, 0xffffffffu, {part})"),
            _ => format!("bitcast<u32>({part})"),
        };
        writeln!(text, "  results[id.x + {}u] = {word};", i * N).unwrap();
    }
    text.push_str("}\n");
    text
}

/// Runs a shader on an adapter, over rows of operands; gives rows of results, or why it is refused.
fn run(gpu: &Gpu, text: &str, operands: &[u32], results: usize) -> Result<Vec<u32>, String> {
    let device = gpu.device();
    let scope = device.push_error_scope(wgpu::ErrorFilter::Validation);
    let buffer = |bytes: usize, usage| {
        device.create_buffer(&wgpu::BufferDescriptor {
            label: None,
            size: bytes as u64,
            usage,
            mapped_at_creation: false,
        })
    };
    let input = buffer(operands.len() * 4, wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_DST);
    let output = buffer(results * N * 4, wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC);
    let staging = buffer(results * N * 4, wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST);
    gpu.queue().write_buffer(&input, 0, bytemuck::cast_slice(operands));
    let module = device.create_shader_module(wgpu::ShaderModuleDescriptor {
        label: None,
        source: wgpu::ShaderSource::Wgsl(text.into()),
    });
    let pipeline = device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
        label: None,
        layout: None,
        module: &module,
        entry_point: Some("main"),
        compilation_options: wgpu::PipelineCompilationOptions::default(),
        cache: None,
    });
    if let Some(error) = pollster::block_on(scope.pop()) {
        return Err(error.to_string());
    }
    let group = device.create_bind_group(&wgpu::BindGroupDescriptor {
        label: None,
        layout: &pipeline.get_bind_group_layout(0),
        entries: &[
            wgpu::BindGroupEntry { binding: 0, resource: input.as_entire_binding() },
            wgpu::BindGroupEntry { binding: 1, resource: output.as_entire_binding() },
        ],
    });
    let mut encoder = device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
    let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
    pass.set_pipeline(&pipeline);
    pass.set_bind_group(0, &group, &[]);
    pass.dispatch_workgroups(N as u32 / 64, 1, 1);
    drop(pass);
    encoder.copy_buffer_to_buffer(&output, 0, &staging, 0, output.size());
    gpu.queue().submit([encoder.finish()]);
    staging.map_async(wgpu::MapMode::Read, .., |r| r.unwrap());
    device.poll(wgpu::PollType::wait_indefinitely()).unwrap();
    Ok(bytemuck::pod_collect_to_vec(&staging.get_mapped_range(..).unwrap()))
}

/// What was not accepted of one case.
#[derive(Default)]
struct Wrong {
    lanes: usize,
    known: usize,
    /// The first that nobody knows of.
    example: Option<String>,
}

fn show(ty: Ty, word: u32) -> String {
    match ty {
        Ty::F32 | Ty::F16 => format!("{:e}", f32::from_bits(word)),
        Ty::I32 => (word as i32).to_string(),
        Ty::U32 => format!("{word:#x}"),
        Ty::Bool => (word != 0).to_string(),
    }
}

/// Compares one case's results with what is accepted; `known` says what a device is known to do.
fn compare(case: &Case, rows: &[Vec<u32>], got: &[u32], known: &[&known::Known]) -> Wrong {
    let mut wrong = Wrong::default();
    for lane in 0..N {
        let args: Vec<_> = rows.iter().map(|row| row[lane]).collect();
        for (i, accepted) in accepted(case.op, case.ty, &args).iter().enumerate() {
            let result = got[i * N + lane];
            if accepted.holds(result) {
                continue;
            }
            wrong.lanes += 1;
            if known.iter().any(|k| (k.when)(&args, result)) {
                wrong.known += 1;
            } else if wrong.example.is_none() {
                let shown: Vec<_> = case.args.iter().zip(&args).map(|(ty, w)| show(*ty, *w)).collect();
                let result = show(case.result, result);
                wrong.example = Some(format!("({}) gives {result}, not {accepted:x?}", shown.join(", ")));
            }
        }
    }
    wrong
}

/// Compares all cases on a device; says what is wrong that is not known, and what is known and not wrong.
fn compare_all(
    device: &known::Device,
    f16: bool,
    run: impl Fn(&Case, &[u32]) -> Result<Vec<u32>, String>,
) -> Vec<String> {
    let mut failures = Vec::new();
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    let (mut count, mut disagreements, mut refused) = (0, 0, 0);
    for case in ops::cases(f16) {
        let rows = ops::operands(&case, N);
        let got = match run(&case, &rows.concat()) {
            Ok(got) if !known::is_refused(device, &case.name) => got,
            Ok(_) => {
                failures.push(format!("{device}: {} stands in known.rs as refused, and is not", case.name));
                continue;
            }
            Err(_) if known::is_refused(device, &case.name) => {
                refused += 1;
                continue;
            }
            Err(error) => {
                failures.push(format!("{device}: {} is refused: {}", case.name, error.replace('\n', " ")));
                continue;
            }
        };
        let known: Vec<_> = known::ALL.iter().filter(|k| k.is_about(device, &case.name)).collect();
        let wrong = compare(&case, &rows, &got, &known);
        (count, disagreements) = (count + N * case.results, disagreements + wrong.known);
        if !known.is_empty() {
            seen.insert(case.name.clone(), wrong.known);
        }
        if let Some(example) = wrong.example {
            let new = wrong.lanes - wrong.known;
            failures.push(format!("{device}: {}: {new} of {N} are not accepted: {example}", case.name));
        }
    }
    for (case, _) in seen.into_iter().filter(|(_, wrong)| *wrong == 0) {
        failures.push(format!("{device}: {case} stands in known.rs, and is right"));
    }
    let refused = if refused == 0 { String::new() } else { format!(", {refused} operations are refused") };
    // Past the harness's capture.
    let mut out = std::io::stdout();
    writeln!(out, "{count} results on {device}: {disagreements} disagree as known{refused}").unwrap();
    failures
}

#[test]
fn every_adapter_gives_what_wgsl_accepts() {
    let adapters = Gpu::adapters_blocking();
    let required = std::env::var("TACHYLITE_REQUIRE").unwrap_or_default();
    assert!(!required.contains("mesa22") || !adapters.is_empty(), "TACHYLITE_REQUIRE asks for an adapter");
    let mut failures = Vec::new();
    if adapters.is_empty() {
        writeln!(std::io::stdout(), "SKIPPED 1 test: no adapter to compare with").unwrap();
    }
    for a in adapters {
        let gpu = Gpu::open_blocking(&format!("{}:{}", a.backend, a.name)).unwrap();
        let device = known::Device { backend: a.backend, name: a.name, driver: a.driver };
        let f16 = gpu.profile().features.shader_f16;
        failures.extend(compare_all(&device, f16, |case, operands| {
            run(&gpu, &shader(case), operands, case.results)
        }));
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}
