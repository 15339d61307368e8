// A row on its way to cooperative matrices, as lib/staged.wgsl says: DP4 groups, and behind them, eight times, the
// power of two that it is relative to, a whole number that f16 has. The file that links it says D4 and DP4, reads
// with element4 and writes with put.

fn stage_row(b: u32, g: u32, row: u32, to: u32) {
    var most = vec4<f32>(0.0);
    for (var d4 = 0u; d4 < D4; d4++) {
        most = max(most, abs(element4(b, g, row, d4)));
    }
    let largest = max(max(most.x, most.y), max(most.z, most.w));
    for (var d4 = 0u; d4 < DP4; d4++) {
        var v = vec4<f32>(0.0);
        if d4 < D4 {
            v = element4(b, g, row, d4) * staged_scale(largest);
        }
        put(to + d4, staged4(v));
    }
    let power = staged4(vec4<f32>(f32(i32(staged_exponent(largest)) - i32(ONE))));
    put(to + DP4, power);
    put(to + DP4 + 1u, power);
}
