//! Weights in blocks as devices hold them: codes by planes of bits, and scales as blocks have them, all in panels.

use super::in_panels;
use crate::dtype::DType;
use crate::formats;
use crate::formats::packed::{Packed, Plane};

fn packed(dtype: DType) -> Option<&'static Packed> {
    formats::of(dtype).and_then(formats::Format::packed)
}

/// The bytes of codes and of scales that a block has; `None` for formats that no kernel reads.
pub(super) fn block_bytes(dtype: DType) -> Option<(usize, usize)> {
    let packed = packed(dtype)?;
    let codes = packed.planes.iter().map(|plane| dtype.block() * plane.bits / 8).sum();
    Some((codes, packed.scales.iter().map(|(from, to, _)| to - from).sum()))
}

/// The codes of `[N, K]`: the first plane of all of them in panels, then the next. A group of four along K is as
/// many bits as it needs, side by side, the first of them lowest.
pub(super) fn codes(dtype: DType, shape: &[usize], blocks: &[u8]) -> Vec<u8> {
    let Some(packed) = packed(dtype) else { return Vec::new() };
    let mut out = Vec::new();
    for plane in packed.planes {
        let row = shape[1] * plane.bits / 8;
        let natural = natural(plane, dtype, blocks);
        if plane.bits == 1 {
            // Panels know no less than a byte, and a group is half of one.
            let halves: Vec<u8> = natural.iter().flat_map(|b| [b & 15, b >> 4]).collect();
            let halves = in_panels(shape[0], 2 * row, 1, &halves);
            out.extend(halves.chunks_exact(2).map(|pair| pair[0] | pair[1] << 4));
        } else {
            out.extend(in_panels(shape[0], row, plane.bits / 2, &natural));
        }
    }
    out
}

/// The bits of all elements in their order, the first lowest.
fn natural(plane: &Plane, dtype: DType, blocks: &[u8]) -> Vec<u8> {
    let (each, bytes) = (8 / plane.bits, dtype.block() * plane.bits / 8);
    let mut out = Vec::with_capacity(blocks.len() / dtype.block_bytes() * bytes);
    for block in blocks.chunks_exact(dtype.block_bytes()) {
        for byte in 0..bytes {
            let bits = (0..each).map(|i| plane.get(block, byte * each + i) << (i * plane.bits));
            out.push(bits.fold(0, |byte, bits| byte | bits));
        }
    }
    out
}

/// The scales of `[N, K]`: of each piece of the blocks that holds some, what belongs together side by side.
pub(super) fn scales(dtype: DType, shape: &[usize], blocks: &[u8]) -> Vec<u8> {
    let Some(packed) = packed(dtype) else { return Vec::new() };
    let mut out = Vec::new();
    for (from, to, unit) in packed.scales {
        let pieces: Vec<u8> =
            blocks.chunks_exact(dtype.block_bytes()).flat_map(|b| &b[*from..*to]).copied().collect();
        out.extend(in_panels(shape[0], shape[1] / dtype.block() * (to - from), *unit, &pieces));
    }
    out
}
