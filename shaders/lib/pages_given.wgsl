// Key t of sequence b lies in page pages[b, 1 + t / PAGE]: first stands where appending begins. What is no page
// counts as the last: a call may leave anything behind the pages that a sequence has, and nothing out of bounds is
// read.

@group(0) @binding(0) var<storage, read> pages: array<u32>;
const PAGE: u32 = 4u; // knob: keys of a page

fn place_of(b: u32, t: u32) -> vec2<u32> {
    let page = pages[p.pages_offset + b * p.pages_B + 1u + t / PAGE];
    return vec2<u32>(min(page, p.N - 1u), t % PAGE);
}
