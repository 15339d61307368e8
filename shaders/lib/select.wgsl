// The K first of some candidates, in order, by one workgroup: those with the largest key, of equal keys those with
// the lowest place. The file that links it says `keys4(g)`, the keys of a group of four candidates (0 for none),
// and `places4(g)`, their places, which all differ.
//
// Key and place are one number of 64 bits, the place inverted. Eight bits of it after the other, from the highest:
// a histogram of the candidates that agree in the bits before says in which bin the K-th lies, until that bin has
// just as many as are wanted of it. What is not below what is known then is gathered, in whatever order it comes,
// and sorted. So nothing depends on that order.

const NONE: u32 = 0xffffffffu;

var<workgroup> bins: array<atomic<u32>, 256>;
var<workgroup> sums: array<u32, 16>;
var<workgroup> found: array<u32, 2>;
var<workgroup> taken: array<atomic<u32>, 1>;
var<workgroup> best_keys: array<u32, SLOTS>;
var<workgroup> best_places: array<u32, SLOTS>;

// Counts the candidates of groups begin … end that agree with the number so far in the bits above this digit.
fn count_digit(digit: u32, begin: u32, end: u32, high: u32, low: u32, lane: u32) {
    let shift = 24u - digit % 4u * 8u;
    let known = ~((256u << shift) - 1u);
    for (var g = begin + lane; g < end; g += BLOCK) {
        let keys = keys4(g);
        let places = ~places4(g);
        //@unroll i 0..4
        for (var i = 0u; i < 4u; i++) {
            let key = keys[i];
            let first = digit < 4u && (key & known) == high;
            let second = digit >= 4u && key == high && (places[i] & known) == low;
            if key != 0u && (first || second) {
                atomicAdd(&bins[(select(places[i], key, digit < 4u) >> shift) & 255u], 1u);
            }
        }
    }
}

// Which bin has the `wanted`-th from above, with 256 added if all that it has are wanted; and how many of it are.
fn find_bin(wanted: u32, lane: u32) {
    for (var b = lane; b < 16u; b += BLOCK) {
        var sum = 0u;
        for (var i = 0u; i < 16u; i++) {
            sum += atomicLoad(&bins[b * 16u + i]);
        }
        sums[b] = sum;
    }
    workgroupBarrier(); // sixteen bins each are added up
    for (var b = lane; b < 256u; b += BLOCK) {
        var above = 0u;
        for (var i = b / 16u + 1u; i < 16u; i++) {
            above += sums[i];
        }
        for (var i = b + 1u; i < (b / 16u + 1u) * 16u; i++) {
            above += atomicLoad(&bins[i]);
        }
        let own = atomicLoad(&bins[b]);
        if above < wanted && wanted <= above + own {
            found[0] = b + select(0u, 256u, wanted == above + own);
            found[1] = wanted - above;
        }
    }
}

// Leaves the first `wanted` of groups begin … end in best_keys and best_places; what is left of the slots has the
// key 0. There are at least so many, and not more if `all`.
fn select_first(wanted: u32, all: bool, begin: u32, end: u32, lane: u32) {
    var high = 0u;
    var low = 0u;
    var left = wanted;
    for (var digit = 0u; digit < 8u && !all; digit++) {
        for (var b = lane; b < 256u; b += BLOCK) {
            atomicStore(&bins[b], 0u);
        }
        workgroupBarrier(); // the bins are empty
        count_digit(digit, begin, end, high, low, lane);
        workgroupBarrier(); // everything is counted
        find_bin(left, lane);
        let bin = workgroupUniformLoad(&found[0]);
        let bits = (bin & 255u) << (24u - digit % 4u * 8u);
        high |= select(0u, bits, digit < 4u);
        low |= select(bits, 0u, digit < 4u);
        left = found[1];
        if bin >= 256u {
            break;
        }
    }
    for (var b = lane; b < SLOTS; b += BLOCK) {
        best_keys[b] = 0u;
        best_places[b] = NONE;
    }
    if lane == 0u {
        atomicStore(&taken[0], 0u);
    }
    workgroupBarrier(); // the slots are empty
    for (var g = begin + lane; g < end; g += BLOCK) {
        let keys = keys4(g);
        let places = places4(g);
        //@unroll i 0..4
        for (var i = 0u; i < 4u; i++) {
            let key = keys[i];
            if key != 0u && (key > high || (key == high && ~places[i] >= low)) {
                let slot = atomicAdd(&taken[0], 1u);
                best_keys[slot] = key;
                best_places[slot] = places[i];
            }
        }
    }
    workgroupBarrier(); // all are gathered
    sort_slots(lane);
}

// A bitonic sort: runs of `size` slots, which rise and fall in turn, by comparing slots that are `step` apart.
fn sort_slots(lane: u32) {
    for (var size = 2u; size <= SLOTS; size *= 2u) {
        for (var step = size / 2u; step > 0u; step /= 2u) {
            for (var pair = lane; pair < SLOTS / 2u; pair += BLOCK) {
                let a = pair / step * (2u * step) + pair % step;
                let b = a + step;
                let later = best_keys[a] < best_keys[b]
                    || (best_keys[a] == best_keys[b] && best_places[a] > best_places[b]);
                let earlier = best_keys[a] > best_keys[b]
                    || (best_keys[a] == best_keys[b] && best_places[a] < best_places[b]);
                if select(earlier, later, (a & size) == 0u) {
                    let key = best_keys[a];
                    let place = best_places[a];
                    best_keys[a] = best_keys[b];
                    best_places[a] = best_places[b];
                    best_keys[b] = key;
                    best_places[b] = place;
                }
            }
            workgroupBarrier(); // these pairs are in order
        }
    }
}
