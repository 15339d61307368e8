// dequantize_blocks, first part    list[i] = entry i of the vectors that blocks of a format are made of
//
//   list  [entries / 2]  u32  out  two entries of 16 bits in a word
//
// One invocation, no loop left: constants by numbers known beforehand are immediates, where an array that is
// looked up by what a block says would be copied to the registers of every invocation that does. Formats
// without a list run no workgroup of this.

const FOURS: u32 = 1u; // knob: words of the list, in fours
const WORDS = array<vec4<u32>, 1>(vec4<u32>(0u)); // knob: the list

struct Params {
    R: u32, // as every kernel has some; the list is the same for any blocks
}

@group(0) @binding(0) var<storage, read_write> list: array<vec4<u32>>;
@group(1) @binding(0) var<uniform> p: Params;

@compute @workgroup_size(1)
fn main() {
    //@unroll i 0..FOURS
    for (var i = 0u; i < FOURS; i++) {
        list[i] = WORDS[i];
    }
}
