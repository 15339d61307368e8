//! Rotation by cosines and sines that others made. Not an op of its own: products and sums, which the planner
//! fuses.

use super::Pairing;
use crate::dim::Dim;
use crate::error::{Error, Result};
use crate::graph::{Graph, ValueId};

impl Graph {
    /// Turns pairs by given cosines and sines, `[.., S, K]` for the K pairs of each token, or what broadcasts to
    /// that: `x [.., S, H, D]`. Elements behind the last pair stay as they are. Where frequencies are known,
    /// [`rope`](Self::rope) needs no tables.
    ///
    /// # Errors
    /// [`Error::Shape`] if the pairs do not fit D or the tables do not go with the tokens.
    pub fn rotate(
        &mut self,
        x: ValueId,
        cosine: ValueId,
        sine: ValueId,
        pairing: Pairing,
    ) -> Result<ValueId> {
        [x, cosine, sine].into_iter().try_for_each(|v| self.has(v))?;
        let last_of = |g: &Self, v| g.value(v).shape.last().and_then(Dim::constant).unwrap_or(0) as usize;
        let (pairs, width, rank) = (last_of(self, cosine), last_of(self, x), self.value(x).shape.len());
        if rank < 3 || pairs == 0 || 2 * pairs > width || self.value(cosine).shape != self.value(sine).shape {
            return Err(Error::Shape(format!(
                "rotate: `x` is {}, no [.., S, H, D] with room for the pairs of `cosine`, {}, and `sine`, {}",
                self.show_shape(x),
                self.show_shape(cosine),
                self.show_shape(sine)
            )));
        }
        let last = rank - 1;
        let mut inner = self.slice(x, last, 0, 2 * pairs)?;
        if pairing == Pairing::Neighbours {
            inner = self.regrouped(inner, [pairs, 2])?;
        }
        let (cosine, sine) = (self.for_each_head(cosine)?, self.for_each_head(sine)?);
        let (first, second) = (self.slice(inner, last, 0, pairs)?, self.slice(inner, last, pairs, pairs)?);
        let (a, b) = (self.mul(first, cosine)?, self.mul(second, sine)?);
        let (c, d) = (self.mul(second, cosine)?, self.mul(first, sine)?);
        let (first, second) = (self.sub(a, b)?, self.add(c, d)?);
        let mut turned = self.concat(&[first, second], last)?;
        if pairing == Pairing::Neighbours {
            turned = self.regrouped(turned, [2, pairs])?;
        }
        if 2 * pairs == width {
            return Ok(turned);
        }
        let rest = self.slice(x, last, 2 * pairs, width - 2 * pairs)?;
        self.concat(&[turned, rest], last)
    }

    /// A table of tokens, `[.., S, K]`, as one that broadcasts over heads.
    fn for_each_head(&mut self, table: ValueId) -> Result<ValueId> {
        let mut shape = self.value(table).shape.clone();
        shape.insert(shape.len() - 1, Dim::ONE);
        self.reshape(table, &shape)
    }

    /// The last axis as `[a, b]`, transposed, as one axis again.
    fn regrouped(&mut self, x: ValueId, [a, b]: [usize; 2]) -> Result<ValueId> {
        let shape = self.value(x).shape.clone();
        let last = shape.len() - 1;
        let split = self.reshape(x, &[&shape[..last], &[a.into(), b.into()]].concat())?;
        let mut order: Vec<usize> = (0..=last + 1).collect();
        order.swap(last, last + 1);
        let turned = self.transpose(split, &order)?;
        self.reshape(turned, &shape)
    }
}
