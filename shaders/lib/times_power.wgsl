// 2^n in two factors, neither of which is past what f32 has, nor is what is between them.

fn times_power(v: vec4<f32>, n: vec4<i32>) -> vec4<f32> {
    let half = n >> vec4<u32>(1u);
    let first = bitcast<vec4<f32>>((half + 127) << vec4<u32>(23u));
    return v * first * bitcast<vec4<f32>>((n - half + 127) << vec4<u32>(23u));
}
