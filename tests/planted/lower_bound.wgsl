// Where each key belongs in a sorted list, by halving.
// Planted: the lower end does not move past the middle, and a range of one never shrinks.

@group(0) @binding(0) var<storage, read> list: array<u32>;
@group(0) @binding(1) var<storage, read> keys: array<u32>;
@group(0) @binding(2) var<storage, read_write> places: array<u32>;

@compute @workgroup_size(32)
fn main(@builtin(local_invocation_index) i: u32) {
    let key = keys[i];
    var low = 0u;
    var high = arrayLength(&list);
    while low < high { // finds: endless-loop
        let middle = (low + high) / 2u;
        if list[middle] < key {
            low = middle;
        } else {
            high = middle;
        }
    }
    places[i] = low;
}
