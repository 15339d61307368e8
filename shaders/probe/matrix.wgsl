// probe.matrix    how many operations a device does in a second with cooperative matrices of f16, summed in f32
//
//   x        [32768]        in    f16 elements of both operands, of which the first are loaded once
//   y        [invocations]  out   what keeps the work from being left out
//
// Every subgroup keeps 2 x 2 matrices of sums and two of each operand in registers, as matmul.matrix does, and
// multiplies them again and again. How often is in the text, as in fma.wgsl.

alias mat_a = coop_mat16x16<f16, A>; // knob: of the first operand
alias mat_b = coop_mat16x16<f16, B>; // knob: of the second
alias mat_c = coop_mat16x16<f32, C>; // knob: of sums
const SIDE: u32 = 16u; // knob: rows and columns of a matrix
const LOOPS: u32 = 1u; // knob: turns
const LANES: u32 = 128u; // knob: invocations in four subgroups

@group(0) @binding(0) var<storage, read> x: array<f16>;
@group(0) @binding(1) var<storage, read_write> y: array<f32>;

var<workgroup> sums: array<f32, 4u * SIDE * SIDE>;

@compute @workgroup_size(LANES)
fn main(
    @builtin(workgroup_id) wg: vec3<u32>,
    @builtin(num_workgroups) wgs: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
    @builtin(subgroup_id) subgroup: u32,
) {
    let id = (wg.y * wgs.x + wg.x) * LANES + lane;
    let a0 = coopLoadT<mat_a>(&x[0], SIDE);
    let a1 = coopLoadT<mat_a>(&x[SIDE], SIDE);
    let b0 = coopLoad<mat_b>(&x[2u * SIDE], SIDE);
    let b1 = coopLoad<mat_b>(&x[3u * SIDE], SIDE);
    var c00 = mat_c();
    var c01 = mat_c();
    var c10 = mat_c();
    var c11 = mat_c();
    for (var k = 0u; k < LOOPS; k++) {
        //@unroll turn 0..8
        for (var turn = 0u; turn < 8u; turn++) {
            c00 = coopMultiplyAdd(a0, b0, c00);
            c01 = coopMultiplyAdd(a0, b1, c01);
            c10 = coopMultiplyAdd(a1, b0, c10);
            c11 = coopMultiplyAdd(a1, b1, c11);
        }
    }
    // All four are stored, one over the other, so that none is left out.
    let at = subgroup % 4u * SIDE * SIDE;
    coopStoreT(c00, &sums[at], SIDE);
    workgroupBarrier(); // stored, and read
    var sum = sums[lane % (SIDE * SIDE)];
    workgroupBarrier();
    coopStoreT(c01, &sums[at], SIDE);
    workgroupBarrier();
    sum += sums[lane % (SIDE * SIDE)];
    workgroupBarrier();
    coopStoreT(c10, &sums[at], SIDE);
    workgroupBarrier();
    sum += sums[lane % (SIDE * SIDE)];
    workgroupBarrier();
    coopStoreT(c11, &sums[at], SIDE);
    workgroupBarrier();
    sum += sums[lane % (SIDE * SIDE)];
    if id < arrayLength(&y) {
        y[id] = sum;
    }
}
