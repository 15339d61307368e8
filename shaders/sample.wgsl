// sample, last part    y[r] = a token drawn from those that top_k, top_p and min_p leave of row r
//
//   keys  [R, ceil(V, 4)]  u32  in   the order of logits: lib/order.wgsl
//   tops  [R, ceil(V/64)]  u32  in   the largest of 64 keys
//   y     [R]              u32  out
//
// A workgroup owns a row. A token's mass is exp((x - largest) / temperature) in units of 2⁻³¹, a whole number, so
// sums are exact in any order; they have 64 bits. Tokens rank by key, then by number. What each filter leaves, and
// what comes before the token that is drawn, are the first of that order whose count or mass reaches a target.
// Three searches find them, eight bits of key and inverted number at a time: a histogram says in which bin the
// target is reached. The masses of a search's first digit add up to all that it looks at, of which the target is
// a part.

const BLOCK: u32 = 256u; // knob: invocations in a workgroup
const NONE: u32 = 0xffffffffu;
const LOWEST: u32 = 0x01000000u; // the key of what the first part made of -∞
const COLDEST: f32 = 8.673617379884035e-19; // 2⁻⁶⁰; a lower temperature is 0
const HOTTEST: f32 = 1.152921504606847e18; // 2⁶⁰

struct Params {
    R: u32, V: u32,
    keys_row: u32, tops_row: u32,
    y_offset: u32,
    top_k: u32, seed: u32, step: u32,
    temperature: f32, top_p: f32, min_p: f32,
}

@group(0) @binding(0) var<storage, read> keys: array<vec4<u32>>;
@group(0) @binding(1) var<storage, read> tops: array<u32>;
@group(0) @binding(2) var<storage, read_write> y: array<u32>;
@group(1) @binding(0) var<uniform> p: Params;

var<workgroup> counts: array<atomic<u32>, 256>;
var<workgroup> lows: array<atomic<u32>, 256>;
var<workgroup> highs: array<atomic<u32>, 256>;
var<workgroup> sum_lows: array<u32, 16>;
var<workgroup> sum_highs: array<u32, 16>;
// The bin, 256 more if it is not to be divided further or there is none; and the target within it.
var<workgroup> found: array<u32, 3>;
var<workgroup> row_top: array<atomic<u32>, 1>;
var<workgroup> drawn: array<atomic<u32>, 1>;

// Of this row: the largest key and its number, what one divides by, and the last that filters left so far.
var<private> row: u32;
var<private> top_key: u32;
var<private> top: f32;
var<private> colder: f32;
var<private> last_key: u32;
var<private> last_place: u32;

fn value4(key: vec4<u32>) -> vec4<f32> {
    let some = max(key, vec4<u32>(LOWEST));
    return bitcast<vec4<f32>>(select(~some, some & vec4<u32>(0x7fffffffu), some >= vec4<u32>(0x80000000u)));
}

// What four tokens count in a search: 1 each in the first, in the others their masses, in the last without what
// min_p leaves out.
fn weights4(search: u32, key: vec4<u32>) -> vec4<u32> {
    let d = max(value4(key) - top, vec4<f32>(-1e18)) * colder;
    let e = min(exp(clamp(d, vec4<f32>(-87.0), vec4<f32>(0.0))), vec4<f32>(1.0));
    let is_top = key == vec4<u32>(top_key);
    let part = select(e, vec4<f32>(1.0), is_top);
    let least = select(0.0, min(p.min_p, 1.0), search == 2u);
    let stays = is_top | ((key > vec4<u32>(LOWEST)) & (part >= vec4<f32>(least)));
    let mass = select(vec4<u32>(0u), vec4<u32>(part * 2147483648.0), stays);
    return select(select(mass, vec4<u32>(1u), vec4<bool>(search == 0u)), vec4<u32>(0u), key == vec4<u32>(0u));
}

// a + b, where each is two words, the lower one first.
fn add(a: vec2<u32>, b: vec2<u32>) -> vec2<u32> {
    let low = a.x + b.x;
    return vec2<u32>(low, a.y + b.y + select(0u, 1u, low < b.x));
}

// a - b, which is not below 0.
fn subtract(a: vec2<u32>, b: vec2<u32>) -> vec2<u32> {
    return vec2<u32>(a.x - b.x, a.y - b.y - select(0u, 1u, a.x < b.x));
}

fn reaches(a: vec2<u32>, b: vec2<u32>) -> bool {
    return a.y > b.y || (a.y == b.y && a.x >= b.x);
}

// a · part / 2³², rounded down; up if asked.
fn part_of(a: vec2<u32>, part: u32, up: bool) -> vec2<u32> {
    let low = product(a.x, part);
    let whole = add(product(a.y, part), vec2<u32>(low.y, 0u));
    return add(whole, vec2<u32>(select(0u, 1u, up && low.x != 0u), 0u));
}

// What a search looks for in `all` that it looks at; at least 1.
fn target_of(search: u32, all: vec2<u32>) -> vec2<u32> {
    let k = select(p.top_k, 1u, p.temperature < COLDEST);
    let share = part_of(all, u32(clamp(p.top_p, 0.0, 0.99999994) * 4294967296.0), true);
    let drawn_of = part_of(all, random(vec4<u32>(p.step, row, 0u, 0u), vec2<u32>(p.seed, 0u)), false);
    let by_mass = select(add(drawn_of, vec2<u32>(1u, 0u)), share, search == 1u);
    return max(select(by_mass, vec2<u32>(k, 0u), search == 0u), vec2<u32>(select(0u, 1u, by_mass.y == 0u), 0u));
}

// Counts the tokens that agree with the bits known before this digit, or says which one does, the last time.
fn visit(search: u32, digit: u32, last_time: bool, high: u32, low: u32, lane: u32) {
    let shift = 24u - digit % 4u * 8u;
    let known = select(~((256u << shift) - 1u), NONE, digit == 8u);
    let floor_key = max(high, last_key);
    for (var c4 = lane; c4 < (p.V + 3u) / 4u; c4 += BLOCK) {
        if tops[row * p.tops_row + c4 / 16u] >= floor_key {
            let key = keys[row * (p.keys_row / 4u) + c4];
            let weight = weights4(search, key);
            //@unroll i 0..4
            for (var i = 0u; i < 4u; i++) {
                let place = ~(c4 * 4u + i);
                let left = key[i] > last_key || (key[i] == last_key && place >= last_place);
                let first = digit < 4u && (key[i] & known) == high;
                let second = digit >= 4u && key[i] == high && (place & known) == low;
                if weight[i] != 0u && left && (first || second) {
                    if last_time {
                        atomicMin(&drawn[0], ~place);
                    } else {
                        let bin = (select(place, key[i], digit < 4u) >> shift) & 255u;
                        atomicAdd(&counts[bin], 1u);
                        let before = atomicAdd(&lows[bin], weight[i]);
                        if before > ~weight[i] {
                            atomicAdd(&highs[bin], 1u); // the lower word began anew
                        }
                    }
                }
            }
        }
    }
}

fn bin_of(bin: u32) -> vec2<u32> {
    return vec2<u32>(atomicLoad(&lows[bin]), atomicLoad(&highs[bin]));
}

// In which bin the target is reached, from the largest on. `wanted` is what is left of it; of the first digit all.
fn find_bin(search: u32, digit: u32, wanted: vec2<u32>, lane: u32) {
    for (var b = lane; b < 16u; b += BLOCK) {
        var sum = bin_of(b * 16u);
        for (var i = 1u; i < 16u; i++) {
            sum = add(sum, bin_of(b * 16u + i));
        }
        sum_lows[b] = sum.x;
        sum_highs[b] = sum.y;
    }
    workgroupBarrier(); // sixteen bins each are added up
    for (var b = lane; b < 16u; b += BLOCK) {
        var all = vec2<u32>(0u);
        var above = vec2<u32>(0u);
        for (var i = 0u; i < 16u; i++) {
            let sum = vec2<u32>(sum_lows[i], sum_highs[i]);
            all = add(all, sum);
            above = add(above, select(vec2<u32>(0u), sum, i > b));
        }
        var goal = wanted;
        if digit == 0u {
            goal = target_of(search, all);
        }
        let upto = add(above, vec2<u32>(sum_lows[b], sum_highs[b]));
        if !reaches(above, goal) && reaches(upto, goal) {
            for (var i = 0u; i < 16u; i++) {
                let bin = b * 16u + 15u - i;
                let own = bin_of(bin);
                let next = add(above, own);
                if !reaches(above, goal) && reaches(next, goal) {
                    let rest = subtract(goal, above);
                    let whole = search < 2u && reaches(rest, own);
                    let done = whole || atomicLoad(&counts[bin]) == 1u;
                    found[0] = bin + select(0u, 256u, done);
                    found[1] = rest.x;
                    found[2] = rest.y;
                }
                above = next;
            }
        }
    }
}

// One search. What it found is the last that is left, or of the last search the token that is drawn.
fn search_row(search: u32, lane: u32) {
    var high = 0u;
    var low = 0u;
    var wanted = vec2<u32>(0u);
    var last_time = false;
    for (var digit = 0u; ; digit++) {
        for (var b = lane; b < 256u; b += BLOCK) {
            atomicStore(&counts[b], 0u);
            atomicStore(&lows[b], 0u);
            atomicStore(&highs[b], 0u);
        }
        if lane == 0u {
            found[0] = 256u;
        }
        workgroupBarrier(); // the bins are empty
        visit(search, digit, last_time, high, low, lane);
        workgroupBarrier(); // everything is counted
        if last_time {
            break;
        }
        find_bin(search, digit, wanted, lane);
        let bin = workgroupUniformLoad(&found[0]);
        let bits = (bin & 255u) << (24u - digit % 4u * 8u);
        high |= select(0u, bits, digit < 4u);
        low |= select(bits, 0u, digit < 4u);
        wanted = vec2<u32>(found[1], found[2]);
        last_time = bin >= 256u || digit == 7u;
        if last_time && search < 2u {
            break;
        }
    }
    last_key = high;
    last_place = low;
}

@compute @workgroup_size(BLOCK)
fn main(
    @builtin(workgroup_id) wg: vec3<u32>,
    @builtin(num_workgroups) wgs: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let r = wg.y * wgs.x + wg.x;
    if r >= p.R {
        return;
    }
    row = r;
    atomicStore(&row_top[0], 0u);
    atomicStore(&drawn[0], NONE);
    workgroupBarrier(); // nothing is found
    for (var i = lane; i < (p.V + 63u) / 64u; i += BLOCK) {
        atomicMax(&row_top[0], tops[r * p.tops_row + i]);
    }
    workgroupBarrier(); // the largest is
    top_key = atomicLoad(&row_top[0]);
    top = value4(vec4<u32>(top_key)).x;
    colder = 1.0 / clamp(p.temperature, COLDEST, HOTTEST);
    for (var search = 0u; search < 3u; search++) {
        let by_count = p.temperature < COLDEST || (p.top_k > 0u && p.top_k < p.V);
        if (search == 0u && !by_count) || (search == 1u && p.top_p >= 1.0) {
            continue;
        }
        search_row(search, lane);
    }
    if lane == 0u {
        let token = atomicLoad(&drawn[0]);
        y[p.y_offset + r] = select(token, 0u, token == NONE);
    }
}
