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

/// The most bytes that a group of four along K takes in a plane.
pub(super) fn group_bytes(dtype: DType) -> usize {
    packed(dtype).map_or(0, |packed| packed.planes.iter().map(|plane| plane.bits / 2).max().unwrap_or(0))
}

/// The codes of rows of blocks, in panels: for each plane the bytes of a row, and those of all rows. A group of
/// four along K is as many bits as it needs, side by side, the first of them lowest.
pub(super) fn codes(dtype: DType, k: usize, blocks: &[u8]) -> Vec<(usize, Vec<u8>)> {
    let planes = packed(dtype).map_or(&[][..], |packed| packed.planes);
    let plane = |plane: &Plane| {
        let row = k * plane.bits / 8;
        let natural = natural(plane, dtype, blocks);
        if plane.bits > 1 {
            return (row, in_panels(row, plane.bits / 2, &natural));
        }
        // Panels know no less than a byte, and a group is half of one.
        let halves: Vec<u8> = natural.iter().flat_map(|b| [b & 15, b >> 4]).collect();
        let halves = in_panels(2 * row, 1, &halves);
        (row, halves.chunks_exact(2).map(|pair| pair[0] | pair[1] << 4).collect())
    };
    planes.iter().map(plane).collect()
}

/// The bits of all elements in their order, the first lowest.
fn natural(plane: &Plane, dtype: DType, blocks: &[u8]) -> Vec<u8> {
    let (each, bytes) = (8 / plane.bits, dtype.block() * plane.bits / 8);
    let mut out = Vec::with_capacity(blocks.len() / dtype.block_bytes() * bytes);
    for block in blocks.chunks_exact(dtype.block_bytes()) {
        if plane.bits == 8 {
            out.extend_from_slice(&block[plane.at..plane.at + bytes]);
            continue;
        }
        for byte in 0..bytes {
            let bits = (0..each).map(|i| plane.get(block, byte * each + i) << (i * plane.bits));
            out.push(bits.fold(0, |byte, bits| byte | bits));
        }
    }
    out
}

/// The scales of rows of blocks, in panels: of each piece of the blocks that holds some, what belongs
/// together side by side; the bytes of a row, and those of all rows.
pub(super) fn scales(dtype: DType, k: usize, blocks: &[u8]) -> Vec<(usize, Vec<u8>)> {
    let scales = packed(dtype).map_or(&[][..], |packed| packed.scales);
    let piece = |(from, to, unit): &(usize, usize, usize)| {
        let row = k / dtype.block() * (to - from);
        let all = blocks.chunks_exact(dtype.block_bytes());
        let pieces: Vec<u8> = all.flat_map(|b| &b[*from..*to]).copied().collect();
        (row, in_panels(row, *unit, &pieces))
    };
    scales.iter().map(piece).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::WeightForm;
    use crate::plan::prepare::{PANEL, form_bytes};
    use crate::rng::Rng;

    fn formats() -> impl Iterator<Item = (DType, &'static Packed)> {
        formats::FORMATS.iter().filter_map(|f| Some((f.dtype, f.packed()?)))
    }

    #[test]
    fn a_device_holds_the_bytes_of_the_file() {
        for (dtype, _) in formats() {
            for (n, k) in [(256, 512), (1, 256), (129, 256), (1000, 512), (4095, 256), (4097, 256)] {
                let bytes = |form| form_bytes(form, dtype, &[n, k]).unwrap();
                let file = (n * k / dtype.block() * dtype.block_bytes()) as u64;
                let held = bytes(WeightForm::Panels) + bytes(WeightForm::BlockScales);
                // Each buffer ends at a multiple of 16, and columns that a panel lacks may be read behind it.
                let most = if n == 1 { file + 30 } else { file + file / 50 };
                assert!((file..=most).contains(&held), "{dtype} {n}x{k}: {held} for {file}");
                assert!(n % 256 > 0 || held == file, "{dtype}");
            }
        }
        assert!(form_bytes(WeightForm::Panels, DType::Iq1S, &[256, 512]).is_err());
    }

    /// Codes are where `bits4` of `shaders/lib/weight_planes.wgsl` looks for them.
    #[test]
    fn codes_lie_by_planes_in_panels() {
        for (dtype, packed) in formats() {
            let [n, k] = [PANEL as usize + 3, 512];
            let mut rng = Rng::new(3);
            let size = dtype.block_bytes();
            let blocks: Vec<u8> = (0..n * k / dtype.block() * size).map(|_| rng.below(256) as u8).collect();
            let bytes: Vec<u8> = codes(dtype, k, &blocks).into_iter().flat_map(|(_, plane)| plane).collect();
            let words: Vec<u32> = bytemuck::pod_collect_to_vec(&bytes);
            for (column, i) in [(0, 0), (1, 7), (5, 300), (127, 511), (128, 0), (130, 259)] {
                let before = column / 128 * 128;
                let group = before * (k / 4) + i / 4 * 128.min(n - before) + column % 128;
                let (mut code, mut below, mut first) = (0, 0, 0);
                for plane in packed.planes {
                    let each = 8 / plane.bits.min(8);
                    let shift = group % each * 4 * plane.bits + i % 4 * plane.bits;
                    let bits = words[first + group / each] >> shift & ((1 << plane.bits) - 1);
                    code |= bits << below;
                    below += plane.bits;
                    first += n * (k / 4) * plane.bits / 8;
                }
                let row = &blocks[column * k / dtype.block() * size..];
                let block = &row[i / dtype.block() * size..][..size];
                let own = u32::from(packed.code(block, i % dtype.block()));
                assert_eq!(code, own, "{dtype}: {column}, {i}");
            }
        }
    }

    #[test]
    fn scales_lie_in_pieces_in_panels() {
        // Two columns of two blocks: of the first piece four bytes at a time, then two of the second.
        let size = DType::Q6K.block_bytes();
        let mut blocks = vec![0; 4 * size];
        for (i, block) in blocks.chunks_exact_mut(size).enumerate() {
            block[192..].iter_mut().zip(0..).for_each(|(b, j)| *b = 32 * i as u8 + j);
        }
        let out: Vec<u8> =
            scales(DType::Q6K, 512, &blocks).into_iter().flat_map(|(_, piece)| piece).collect();
        assert_eq!(out[..12], [0, 1, 2, 3, 64, 65, 66, 67, 4, 5, 6, 7]);
        assert_eq!(out[32..36], [32, 33, 34, 35]);
        assert_eq!(out[64..], [16, 17, 80, 81, 48, 49, 112, 113]);
    }
}
