// What an invocation loaded is its own.

fn handed(v: vec4<u32>, lane: u32) -> vec4<u32> {
    return v;
}
