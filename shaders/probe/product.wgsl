// probe.product    a product of two square matrices as anybody writes it first, one element an invocation: what
//                  figures that others measured on another day are scaled by
//
//   a        [side, side]  f32  in
//   b        [side, side]  f32  in
//   y        [side, side]  f32  out   y = a · b

const LANES: u32 = 64u;

struct Params {
    side: u32,
}

@group(0) @binding(0) var<storage, read> a: array<f32>;
@group(0) @binding(1) var<storage, read> b: array<f32>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;
@group(1) @binding(0) var<uniform> p: Params;

@compute @workgroup_size(LANES)
fn main(
    @builtin(workgroup_id) wg: vec3<u32>,
    @builtin(num_workgroups) wgs: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let id = (wg.y * wgs.x + wg.x) * LANES + lane;
    let row = id / p.side;
    let column = id % p.side;
    if row >= p.side {
        return;
    }
    var sum = 0.0;
    for (var k = 0u; k < p.side; k++) {
        sum += a[row * p.side + k] * b[k * p.side + column];
    }
    y[id] = sum;
}
