// The natural log-sum-exp of a query's scores: -inf, written as bits, if it sees no key.

@group(0) @binding(0) var<storage, read_write> lse: array<u32>;

fn write_lse(b: u32, h: u32, s: u32, largest: f32, sum: f32) {
    // The largest score weighs 1, so only an empty sum is less.
    let bits = bitcast<u32>(largest + log(max(sum, 0.5)));
    lse[(p.lse_offset + b * p.lse_B + h * p.lse_H) * 4u + s] = select(bits, 0xff800000u, sum == 0.0);
}
