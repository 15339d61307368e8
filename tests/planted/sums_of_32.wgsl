// The sum of every 32 elements, by one subgroup each.
// Planted: a subgroup is taken to have 32 lanes.

@group(0) @binding(0) var<storage, read> x: array<u32>;
@group(0) @binding(1) var<storage, read_write> sums: array<atomic<u32>>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let sum = subgroupAdd(x[id.x]);
    if id.x % 32u == 0u {
        atomicStore(&sums[id.x / 32u], sum); // finds: differs
    }
}
