// Functions of four elements. Every exponent is kept where exp neither overflows nor
// leaves f32's normal numbers, because WGSL promises nothing about infinities.

fn relu(v: vec4<f32>) -> vec4<f32> {
    return max(v, vec4<f32>(0.0));
}

fn sigmoid(v: vec4<f32>) -> vec4<f32> {
    return 1.0 / (1.0 + exp(clamp(-v, vec4<f32>(-87.0), vec4<f32>(87.0))));
}

fn silu(v: vec4<f32>) -> vec4<f32> {
    return v * sigmoid(v);
}

// Not the built-in, which WGSL allows an absolute error of 1e-5. Near 0, where 1 - e would cancel,
// the first terms of the Taylor series.
fn tanh_(v: vec4<f32>) -> vec4<f32> {
    let e = exp(-2.0 * min(abs(v), vec4<f32>(20.0)));
    let far = sign(v) * (1.0 - e) / (1.0 + e);
    let x = clamp(v, vec4<f32>(-0.25), vec4<f32>(0.25));
    let s = x * x;
    var series = vec4<f32>(62.0 / 2835.0);
    series = fma(series, s, vec4<f32>(-17.0 / 315.0));
    series = fma(series, s, vec4<f32>(2.0 / 15.0));
    series = fma(series, s, vec4<f32>(-1.0 / 3.0));
    series = fma(series, s, vec4<f32>(1.0));
    return select(far, x * series, abs(v) < vec4<f32>(0.25));
}

// erfc(z)·exp(z²) for z in [0, 10] as t·P(t), t = 1 / (1 + 3z/8): a minimax fit whose relative
// error is 1.5e-9, and 7 units of roundoff when evaluated in f32.
fn erfcx(z: vec4<f32>) -> vec4<f32> {
    let t = 1.0 / (1.0 + 0.375 * z);
    var s = vec4<f32>(0.06159035116434097);
    s = fma(s, t, vec4<f32>(-0.28740328550338745));
    s = fma(s, t, vec4<f32>(0.4321464002132416));
    s = fma(s, t, vec4<f32>(-0.2286342978477478));
    s = fma(s, t, vec4<f32>(0.27283915877342224));
    s = fma(s, t, vec4<f32>(0.12202703952789307));
    s = fma(s, t, vec4<f32>(0.2051456868648529));
    s = fma(s, t, vec4<f32>(0.21067729592323303));
    s = fma(s, t, vec4<f32>(0.21161165833473206));
    return t * s;
}

// x·Φ(x) = max(x, 0) - |x|·erfc(|x|/√2)/2: no cancellation where the result is small.
fn gelu(v: vec4<f32>) -> vec4<f32> {
    let z = min(abs(v) * 0.7071067811865476, vec4<f32>(9.3));
    return max(v, vec4<f32>(0.0)) - abs(v) * (0.5 * erfcx(z) * exp(-z * z));
}

// 0.5·x·(1 + tanh(u)) = x·sigmoid(2u), u = √(2/π)·(x + 0.044715·x³); beyond ±14 it is x or 0.
fn gelu_tanh(v: vec4<f32>) -> vec4<f32> {
    let x = clamp(v, vec4<f32>(-14.0), vec4<f32>(14.0));
    return v * sigmoid(1.5957691216057308 * (x + 0.044715 * x * x * x));
}

// erf(x): 1 - erfc(|x|) away from 0, and near it, where that would cancel, the Taylor series to x¹⁵.
fn erf(v: vec4<f32>) -> vec4<f32> {
    let z = min(abs(v), vec4<f32>(9.3));
    let far = sign(v) * (1.0 - erfcx(z) * exp(-z * z));
    let x = clamp(v, vec4<f32>(-0.5), vec4<f32>(0.5));
    let s = x * x;
    var series = vec4<f32>(-1.0 / 75600.0);
    series = fma(series, s, vec4<f32>(1.0 / 9360.0));
    series = fma(series, s, vec4<f32>(-1.0 / 1320.0));
    series = fma(series, s, vec4<f32>(1.0 / 216.0));
    series = fma(series, s, vec4<f32>(-1.0 / 42.0));
    series = fma(series, s, vec4<f32>(1.0 / 10.0));
    series = fma(series, s, vec4<f32>(-1.0 / 3.0));
    series = fma(series, s, vec4<f32>(1.0));
    return select(far, 1.1283791670955126 * x * series, abs(v) < vec4<f32>(0.5));
}

// eˣ, kept inside f32's normal numbers; past the largest, the largest.
fn exp_(v: vec4<f32>) -> vec4<f32> {
    let inside = exp(clamp(v, vec4<f32>(-87.0), vec4<f32>(88.7228)));
    return select(inside, vec4<f32>(3.4028234e38), v > vec4<f32>(88.7228));
}

// exp(-exp(w)). Of a slow decay what matters is 1 minus it: near 0 the first terms of the series in place of the
// outer exponential, and 1 where that is the nearest f32; 0 below the normal numbers.
fn decay_of(w: vec4<f32>) -> vec4<f32> {
    let x = exp_(w);
    let series = 1.0 - x * (1.0 - x * (0.5 - x * (1.0 / 6.0)));
    let slow = select(series, vec4<f32>(1.0), x < vec4<f32>(2.9802322e-8));
    let fast = select(exp(-min(x, vec4<f32>(87.0))), vec4<f32>(0.0), x > vec4<f32>(87.0));
    return select(fast, slow, x < vec4<f32>(0.015625));
}

// ln(x), and for 0, of which WGSL promises nothing, the least number, which stands for -infinity.
fn log_(v: vec4<f32>) -> vec4<f32> {
    return select(log(v), vec4<f32>(-3.4028234e38), v == vec4<f32>(0.0));
}

// √x as x/√x, and 0 for 0, of which WGSL promises nothing.
fn sqrt_(v: vec4<f32>) -> vec4<f32> {
    return select(v * inverseSqrt(v), vec4<f32>(0.0), v == vec4<f32>(0.0));
}

// ln(1 + eˣ) = max(x, 0) + ln(1 + e), e = exp(-|x|). ln(1 + e) = 2·artanh(t), t = e/(2 + e) ≤ 1/3:
// a series, since the built-in is only right to an absolute error next to 1.
fn softplus(v: vec4<f32>) -> vec4<f32> {
    let e = exp(max(-abs(v), vec4<f32>(-87.0)));
    let t = e / (2.0 + e);
    let s = t * t;
    var series = vec4<f32>(1.0 / 15.0);
    series = fma(series, s, vec4<f32>(1.0 / 13.0));
    series = fma(series, s, vec4<f32>(1.0 / 11.0));
    series = fma(series, s, vec4<f32>(1.0 / 9.0));
    series = fma(series, s, vec4<f32>(1.0 / 7.0));
    series = fma(series, s, vec4<f32>(1.0 / 5.0));
    series = fma(series, s, vec4<f32>(1.0 / 3.0));
    series = fma(series, s, vec4<f32>(1.0));
    return max(v, vec4<f32>(0.0)) + 2.0 * t * series;
}

// x, or alpha·(eˣ - 1) below 0; near 0, where that would cancel, the Taylor series to x⁹.
fn elu(v: vec4<f32>, alpha: f32) -> vec4<f32> {
    let far = exp(clamp(v, vec4<f32>(-87.0), vec4<f32>(0.0))) - 1.0;
    let x = clamp(v, vec4<f32>(-0.5), vec4<f32>(0.0));
    var series = vec4<f32>(1.0 / 362880.0);
    series = fma(series, x, vec4<f32>(1.0 / 40320.0));
    series = fma(series, x, vec4<f32>(1.0 / 5040.0));
    series = fma(series, x, vec4<f32>(1.0 / 720.0));
    series = fma(series, x, vec4<f32>(1.0 / 120.0));
    series = fma(series, x, vec4<f32>(1.0 / 24.0));
    series = fma(series, x, vec4<f32>(1.0 / 6.0));
    series = fma(series, x, vec4<f32>(0.5));
    series = fma(series, x, vec4<f32>(1.0));
    let below = alpha * select(far, x * series, v > vec4<f32>(-0.5));
    return select(below, v, v >= vec4<f32>(0.0));
}

fn leaky_relu(v: vec4<f32>, alpha: f32) -> vec4<f32> {
    return select(alpha * v, v, v >= vec4<f32>(0.0));
}

// Halves go away from zero. |x| - floor(|x|) is exact, while |x| + 0.5 would round.
fn round_away(v: vec4<f32>) -> vec4<f32> {
    let whole = floor(abs(v));
    return sign(v) * select(whole, whole + 1.0, abs(v) - whole >= vec4<f32>(0.5));
}

// aᵇ. Whole exponents up to 64 by squaring, so that powers of whole numbers are whole, and negative
// bases have their sign; others as exp2(b·log2|a|).
fn power(a: vec4<f32>, b: vec4<f32>) -> vec4<f32> {
    let n = abs(b);
    let whole = floor(b) == b;
    var bits = vec4<u32>(min(n, vec4<f32>(64.0)));
    var square = a;
    var product = vec4<f32>(1.0);
    for (var i = 0; i < 7; i++) {
        product = select(product, product * square, (bits & vec4<u32>(1u)) == vec4<u32>(1u));
        square = square * square;
        bits = bits >> vec4<u32>(1u);
    }
    let small = select(product, 1.0 / product, b < vec4<f32>(0.0));
    let exponent = b * log2(max(abs(a), vec4<f32>(1.1754944e-38)));
    let inside = exp2(clamp(exponent, vec4<f32>(-126.0), vec4<f32>(127.99999)));
    let t = select(inside, vec4<f32>(3.4028234e38), exponent > vec4<f32>(127.99999));
    let odd = whole & (floor(n * 0.5) * 2.0 != n);
    let large = select(t, -t, odd & (a < vec4<f32>(0.0)));
    let zero = (a == vec4<f32>(0.0)) & (b > vec4<f32>(0.0));
    return select(select(large, small, whole & (n <= vec4<f32>(64.0))), vec4<f32>(0.0), zero);
}

// The number of the lower 16 bits as an f16. With integers: `unpack2x16float` may flush a denormal scale to zero,
// which would silently drop a whole block of small weights.
fn f16_value(bits: u32) -> f32 {
    let magnitude = bits & 0x7fffu;
    var value = bitcast<f32>((magnitude << 13u) + 0x38000000u);
    if magnitude < 0x0400u {
        value = f32(magnitude) * 5.9604644775390625e-8;
    }
    return select(value, -value, (bits & 0x8000u) != 0u);
}

// The nearest f16, of two the even one; with integers, since `pack2x16float` may flush and need not round so.
fn half_of(bits: u32) -> u32 {
    let sign = (bits >> 16u) & 0x8000u;
    let magnitude = bits & 0x7fffffffu;
    let normal = (magnitude - 0x38000000u + 0xfffu + ((magnitude >> 13u) & 1u)) >> 13u;
    let shift = clamp(126u - min(magnitude >> 23u, 112u), 14u, 25u);
    let number = (magnitude & 0x7fffffu) | 0x800000u;
    let rest = number & ((1u << shift) - 1u);
    let middle = 1u << (shift - 1u);
    let whole = number >> shift;
    let denormal = whole + u32(rest > middle || (rest == middle && (whole & 1u) == 1u));
    let finite = select(denormal, normal, magnitude >= 0x38800000u);
    return sign | select(finite, 0x7c00u, magnitude >= 0x47800000u);
}
