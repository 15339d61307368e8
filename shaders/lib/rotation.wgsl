// cos and sin of angles that are position · turns, at any position as accurate as near 0.
//
// Contract: `turns` of a frequency is the part of a turn by which one position is further than the one before, in
// fixed point: high·2⁻³² + low·2⁻⁶⁴. Whole turns do not count, so the product with a position is taken modulo 2⁶⁴,
// exactly; its angle is reduced to an eighth of a turn on either side of a quarter, exactly; and only then becomes
// a float. cos and sin are those of polynomials, since the built-ins are right to an absolute 2⁻¹¹ only. At a
// quarter they are 0, 1 or -1, and nothing else. Errors: `trigonometry` in src/ops/rope/reference.rs.

struct Rotation {
    cosine: vec4<f32>,
    sine: vec4<f32>,
}

// The upper word of a product.
fn upper4(a: vec4<u32>, b: vec4<u32>) -> vec4<u32> {
    let ones = vec4<u32>(0xffffu);
    let half = vec4<u32>(16u);
    let middle = (a >> half) * (b & ones) + (((a & ones) * (b & ones)) >> half);
    let carried = (a & ones) * (b >> half) + (middle & ones);
    return (a >> half) * (b >> half) + (middle >> half) + (carried >> half);
}

fn rotation4(position: vec4<u32>, low: vec4<u32>, high: vec4<u32>) -> Rotation {
    let below = position * low;
    let turn = position * high + upper4(position, low);
    // The nearest quarter of a turn, and how far behind or before it: to 2⁻⁶⁴ of a turn, by size and sign.
    let quarter = (turn + vec4<u32>(0x20000000u)) >> vec4<u32>(30u);
    let left = turn - (quarter << vec4<u32>(30u));
    let before = left >= vec4<u32>(0x80000000u);
    let borrow = select(vec4<u32>(0u), vec4<u32>(1u), below != vec4<u32>(0u));
    let size = select(left, vec4<u32>(0u) - left - borrow, before);
    let rest = select(below, vec4<u32>(0u) - below, before);
    // 2π·2⁻³² and 2π·2⁻⁶⁴.
    let angle = vec4<f32>(size) * 1.4629180792671596e-9 + vec4<f32>(rest) * 3.4061215800208827e-19;
    let a = select(angle, -angle, before);
    let s = a * a;
    var odd = vec4<f32>(1.0 / 362880.0);
    odd = fma(odd, s, vec4<f32>(-1.0 / 5040.0));
    odd = fma(odd, s, vec4<f32>(1.0 / 120.0));
    odd = fma(odd, s, vec4<f32>(-1.0 / 6.0));
    let sine = fma(a, s * odd, a);
    var even = vec4<f32>(1.0 / 40320.0);
    even = fma(even, s, vec4<f32>(-1.0 / 720.0));
    even = fma(even, s, vec4<f32>(1.0 / 24.0));
    even = fma(even, s, vec4<f32>(-0.5));
    let cosine = fma(s, even, vec4<f32>(1.0));
    // A quarter on, cos becomes -sin and sin becomes cos.
    let odds = (quarter & vec4<u32>(1u)) == vec4<u32>(1u);
    let c = select(cosine, sine, odds);
    let d = select(sine, cosine, odds);
    let flips = ((quarter + vec4<u32>(1u)) & vec4<u32>(2u)) == vec4<u32>(2u);
    let turned = (quarter & vec4<u32>(2u)) == vec4<u32>(2u);
    return Rotation(select(c, -c, flips), select(d, -d, turned));
}
