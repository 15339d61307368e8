//! Products with group-wise weights. Not an op of their own: `matmul` reads them, after the columns of x are where
//! those of the weights are.

use crate::error::{Error, Result};
use crate::formats::groups::Grouped;
use crate::graph::{Graph, ValueId};
use crate::tensor::Tensor;

impl Grouped {
    /// Its tensors by the names that [`Graph::matmul_grouped`] gives them: `<name>`, `<name>.scale`, and where
    /// there are some `<name>.zero` and `<name>.order`. They share their bytes.
    pub fn tensors(&self, name: &str) -> Vec<(String, Tensor)> {
        let mut all = vec![(name.to_owned(), self.w.clone()), (format!("{name}.scale"), self.scale.clone())];
        let more = [("zero", &self.zero), ("order", &self.order)];
        all.extend(more.into_iter().filter_map(|(part, t)| Some((format!("{name}.{part}"), t.clone()?))));
        all
    }
}

impl Graph {
    /// y = x · Wᵀ for group-wise weights W `[N, K]`: `x [.., K]` gives `[.., N]`. The graph gets their tensors as
    /// weights under the names of [`Grouped::tensors`]. Where columns of W were moved (`g_idx`), a step
    /// gathers those of x; where its last group was filled up, one fills up x.
    ///
    /// # Errors
    /// [`Error::Shape`] if K differs; [`Error::Argument`] if a name is taken.
    pub fn matmul_grouped(&mut self, x: ValueId, name: &str, weights: &Grouped) -> Result<ValueId> {
        self.has(x)?;
        let shape = &self.value(x).shape;
        if shape.last().and_then(crate::Dim::constant) != Some(weights.k as u64) {
            let (x, k) = (self.show_shape(x), weights.k);
            return Err(Error::Shape(format!("matmul: `x` is {x}, but `{name}` has K = {k}")));
        }
        let last = shape.len() - 1;
        let mut given = |part: &str, t: &Tensor| self.weight(&format!("{name}{part}"), t.dtype(), t.shape());
        let (w, scale) = (given("", &weights.w)?, given(".scale", &weights.scale)?);
        let zero = weights.zero.as_ref().map(|t| given(".zero", t)).transpose()?;
        let order = weights.order.as_ref().map(|t| given(".order", t)).transpose()?;
        let more = weights.w.shape()[1].saturating_sub(weights.k);
        let x = match order {
            Some(order) => self.columns(x, order)?,
            None if more > 0 => self.pad(x, last, 0, more, 0.0)?,
            None => x,
        };
        self.matmul_int8(x, w, scale, zero)
    }
}
