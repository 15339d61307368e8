// The natural log-sum-exp of a query's scores: -inf, written as bits, if it sees no key.

@group(0) @binding(0) var<storage, read_write> lse: array<u32>;

fn write_lse(b: u32, h: u32, s: u32, largest: f32, sum: f32) {
    let bits = bitcast<u32>(largest + log(select(sum, 1.0, sum == 0.0)));
    // A driver's log may make a number of what is none.
    let of_sum = bitcast<u32>(sum);
    let some = select(bits, of_sum, (of_sum & 0x7fffffffu) > 0x7f800000u);
    lse[(p.lse_offset + b * p.lse_B + h * p.lse_H) * 4u + s] = select(some, 0xff800000u, sum == 0.0);
}
