//! Every operator and built-in, on random and edge values, on every adapter there is and on the virtual
//! GPU: each result must be one that WGSL accepts. Where one is not, the device is wrong by the text of
//! WGSL, and stands in `known.rs` with what it does; what no longer happens must leave that list.
#![cfg(feature = "virtual")]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write as _;

use tachylite::virtual_gpu::accuracy::accepted;
use tachylite::virtual_gpu::{Contents, Personality, Ty, VirtualGpu};

#[cfg(feature = "gpu")]
mod adapters;
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

/// Runs a shader on a virtual GPU, over rows of operands; gives rows of results, or why it is refused.
fn run(gpu: &VirtualGpu, text: &str, operands: &[u32], results: usize) -> Result<Vec<u32>, String> {
    let bytes = |words: &[u32]| words.iter().flat_map(|w| w.to_le_bytes()).collect();
    let shader = gpu.shader("case.wgsl", text, &[], None).map_err(|e| e.message)?;
    let contents: Vec<_> = (shader.buffers().iter())
        .map(|buffer| match &*buffer.name {
            "operands" => Contents::Bytes(bytes(operands)),
            _ => Contents::Unwritten((results * N * 4) as u64),
        })
        .collect();
    let left = shader.run([N as u32 / 64, 1, 1], &contents).map_err(|e| e.message)?;
    let output = shader.buffers().iter().position(|buffer| buffer.name == "results").unwrap();
    let words = left.buffers[output].chunks_exact(4);
    Ok(words.map(|w| u32::from_le_bytes([w[0], w[1], w[2], w[3]])).collect())
}

#[test]
fn the_virtual_gpu_gives_what_wgsl_accepts() {
    let mut failures = Vec::new();
    for personality in Personality::presets() {
        let name = personality.name.clone();
        let device = known::Device { backend: "virtual".into(), name, driver: personality.describe() };
        let gpu = VirtualGpu::new(personality);
        failures.extend(compare_all(&device, true, |case, operands| {
            run(&gpu, &shader(case), operands, case.results)
        }));
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}
