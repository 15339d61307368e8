// Activation functions on four elements. Every exponent is kept where exp neither overflows nor
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
