// Which slice of x a workgroup's columns read, and the function of their sums. `n` is its first column: slices
// begin where workgroups do.

const END_0: u32 = 4294967295u; // knob: where the columns end that read slice 0
const END_1: u32 = 4294967295u; // knob: likewise slice 1, or past the last column
const END_2: u32 = 4294967295u; // knob: likewise
const END_3: u32 = 4294967295u; // knob: likewise
const END_4: u32 = 4294967295u; // knob: likewise
const END_5: u32 = 4294967295u; // knob: likewise
const END_6: u32 = 4294967295u; // knob: likewise
const TANH: u32 = 0u; // knob: a bit for each slice whose function is tanh
const SIGMOID: u32 = 0u; // knob: likewise sigmoid

// B counts slices, which are no batches.
fn batches() -> u32 {
    return 1u;
}

fn x_slice(b: u32, n: u32) -> u32 {
    let a = select(vec4<u32>(0u), vec4<u32>(1u), vec4<u32>(n) >= vec4<u32>(END_0, END_1, END_2, END_3));
    let c = select(vec3<u32>(0u), vec3<u32>(1u), vec3<u32>(n) >= vec3<u32>(END_4, END_5, END_6));
    return b + a.x + a.y + a.z + a.w + c.x + c.y + c.z;
}

fn acted(v: vec4<f32>, n: u32) -> vec4<f32> {
    let bit = 1u << x_slice(0u, n);
    var y = v;
    if (TANH & bit) != 0u {
        y = tanh_(v);
    }
    if (SIGMOID & bit) != 0u {
        y = sigmoid(v);
    }
    return y;
}
