//! ONNX RotaryEmbedding: by caches of cosines and sines, of all positions or of the tokens' own.

use super::Node;
use crate::cases::build::{Built, wrong};
use tachylite::ops::rope::Pairing;

/// Builds the node if it is one of these.
pub(super) fn build(n: &mut Node<'_>) -> Built<bool> {
    if n.op != "RotaryEmbedding" {
        return Ok(false);
    }
    let x = n.x(0)?;
    let shape = n.case.shape(x);
    let flat = shape.len() == 3;
    // Heads lie inside tokens, or outside them.
    let x = if flat {
        let heads = usize::try_from(n.int("num_heads", 0)?).unwrap_or(0);
        if heads == 0 || !shape[2].is_multiple_of(heads) {
            return wrong(format!("num_heads = {heads}, but a row has {} elements", shape[2]));
        }
        n.case.reshape(x, &[shape[0], shape[1], heads, shape[2] / heads])?
    } else {
        n.case.swap(x, 1, 2)?
    };
    let (mut cosine, mut sine) = (n.x(1)?, n.x(2)?);
    if let Some(positions) = n.indices(3)? {
        let places = positions.iter().map(|p| usize::try_from(*p).unwrap_or(usize::MAX)).collect::<Vec<_>>();
        let tokens = n.host(3)?.shape.clone();
        let idx = n.places("positions", &tokens, &places)?;
        (cosine, sine) = (n.g().embed(&[(idx, cosine)])?, n.g().embed(&[(idx, sine)])?);
    }
    let neighbours = n.int("interleaved", 0)? != 0;
    let pairing = if neighbours { Pairing::Neighbours } else { Pairing::Halves };
    let y = n.g().rotate(x, cosine, sine, pairing)?;
    let y = if flat { n.case.reshape(y, &shape)? } else { n.case.swap(y, 1, 2)? };
    n.out(0, y)?;
    Ok(true)
}
