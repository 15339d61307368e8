// Where each key belongs in a sorted list, by halving.
// Mended: the lower end moves past the middle.

@group(0) @binding(0) var<storage, read> list: array<u32>;
@group(0) @binding(1) var<storage, read> keys: array<u32>;
@group(0) @binding(2) var<storage, read_write> places: array<u32>;

@compute @workgroup_size(32)
fn main(@builtin(local_invocation_index) i: u32) {
    let key = keys[i];
    var low = 0u;
    var high = arrayLength(&list);
    while low < high {
        let middle = (low + high) / 2u;
        if list[middle] < key {
            low = middle + 1u;
        } else {
            high = middle;
        }
    }
    places[i] = low;
}
