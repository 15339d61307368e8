//! How fast the virtual GPU is on one core: checked memory accesses and arithmetic lane-operations per
//! second, each the best and the median of several runs.

use std::time::Instant;

use tachylite::virtual_gpu::{Contents, Personality, VirtualGpu};

const LANES: u64 = 64;
const WORKGROUPS: u32 = 64;
const RUNS: usize = 9;

/// Loads and stores of storage that is written, and of workgroup memory: every check there is.
const ACCESSES: &str = "
@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> y: array<f32>;
var<workgroup> shared_x: array<f32, 64>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let n = arrayLength(&x);
    y[id.x] = x[id.x];
    for (var i = 0u; i < 64u; i++) {
        shared_x[lane] = x[(id.x + i * 64u) % n];
        y[id.x] += shared_x[lane];
    }
}
";
/// Per iteration: load x, store and load of workgroup memory, load and store of y.
const ACCESSES_EACH: u64 = 5;

/// Multiplications and additions of four components.
const ARITHMETIC: &str = "
@group(0) @binding(0) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read_write> y: array<vec4<f32>>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    var a = x[id.x];
    var b = vec4<f32>(0.0);
    for (var i = 0u; i < 256u; i++) {
        b = b * 0.5 + a;
        a = a - b * 0.25;
    }
    y[id.x] = b;
}
";
/// Per iteration: four multiplications and additions or subtractions of four components.
const OPERATIONS_EACH: u64 = 16;

fn main() {
    for personality in [Personality::plain(), Personality::hostile()] {
        let accesses = ACCESSES_EACH * 64 * LANES * u64::from(WORKGROUPS);
        report("checked memory accesses", ACCESSES, 4, accesses, &personality);
        let operations = OPERATIONS_EACH * 256 * LANES * u64::from(WORKGROUPS);
        report("arithmetic lane-operations", ARITHMETIC, 16, operations, &personality);
    }
}

fn report(what: &str, source: &str, element: u64, count: u64, personality: &Personality) {
    let gpu = VirtualGpu::new(personality.clone()).with_threads(1);
    let shader = gpu.shader("bench.wgsl", source, &[], None).expect("the shader is valid");
    let elements = LANES * u64::from(WORKGROUPS);
    let x: Vec<u8> = (0..elements * element / 4).flat_map(|i| ((i % 7) as f32).to_le_bytes()).collect();
    let contents = [Contents::Bytes(x), Contents::Unwritten(elements * element)];
    let mut seconds: Vec<f64> = (0..RUNS)
        .map(|_| {
            let begun = Instant::now();
            let left = shader.run([WORKGROUPS, 1, 1], &contents).expect("the buffers suit");
            assert!(left.findings.is_empty(), "{:?}", left.findings);
            begun.elapsed().as_secs_f64()
        })
        .collect();
    seconds.sort_by(f64::total_cmp);
    let millions = |s: f64| count as f64 / s / 1e6;
    println!(
        "{:<8} {what:<28} best {:>8.1} M/s, median {:>8.1} M/s",
        personality.name,
        millions(seconds[0]),
        millions(seconds[RUNS / 2])
    );
}
