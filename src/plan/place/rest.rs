//! Where values come to rest: the outputs' buffers, and where each value can be looked at.

use super::{Home, Placer};
use crate::error::Result;
use crate::plan::draft::{Origin, Program, Val};
use crate::plan::strides::{self, Lay};
use crate::plan::{WeightForm, WeightSpec};

impl Placer<'_, '_> {
    /// The values whose buffers are the outputs: results, roots that a view renames as a whole, and
    /// copies of everything else.
    pub(super) fn outputs(&mut self) -> Result<Vec<usize>> {
        let wanted: Vec<_> = self.program.graph.outputs().iter().map(|o| o.index()).collect();
        let is_step = |p: &Program<'_>, v: usize| p.vals[v].origin == Origin::Step;
        let own = |v: &usize| match self.program.vals[*v].origin {
            Origin::Step => Some(*v),
            Origin::Changed(_) => self.find(*v).map(|(state, _)| state),
            _ => None,
        };
        let mut owned: Vec<_> = wanted.iter().map(own).collect();
        for (i, v) in wanted.iter().copied().enumerate() {
            if owned[i].is_some() {
                continue;
            }
            let (root, lay) = self.at(v)?;
            let scalars = self.program.graph.scalars();
            let size = |v: usize| {
                let Val { dtype, shape, .. } = &self.program.vals[v];
                strides::bytes(*dtype, shape, scalars)
            };
            let renames =
                strides::same(&self.program.vals[v].shape, &lay, &self.normal(v)) && size(root) == size(v);
            let free = |root: &usize| is_step(self.program, *root) && !owned.contains(&Some(*root));
            let copied = self.copies.get(&v).copied();
            owned[i] = match Some(root).filter(|r| renames && free(r)).or(copied.filter(free)) {
                Some(root) => Some(root),
                None => {
                    let shape = self.program.vals[v].shape.clone();
                    Some(self.copy(v, &shape, (root, lay))?)
                }
            };
        }
        Ok(owned.into_iter().flatten().collect())
    }

    /// Where a value of the graph can be looked at while it lives.
    pub(super) fn resting_place(&self, v: usize) -> Option<(Home, Lay)> {
        let is_view = match self.program.vals[v].origin {
            Origin::Nowhere => return None,
            Origin::View(..) => true,
            _ => false,
        };
        let copied = self.copies.get(&v).filter(|_| is_view && !self.in_place[v]);
        if let Some(copy) = copied {
            return Some((Home::Value(*copy), self.normal(*copy)));
        }
        let (root, lay) = self.find(v)?;
        lay.offset.constant()?;
        match &self.program.vals[root].origin {
            Origin::Weight(of, None) => {
                let rows =
                    |w: &WeightSpec| w.sources == *of && w.rows.is_none() && w.form == WeightForm::Rows;
                self.weights.iter().position(rows).map(|i| (Home::Weight(i), lay))
            }
            Origin::Nowhere | Origin::Weight(..) => None,
            _ => Some((Home::Value(root), lay)),
        }
    }
}
