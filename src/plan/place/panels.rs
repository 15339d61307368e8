//! Weights that lie in panels of columns: where kernels find them.

use std::ops::Range;

use super::{Home, PlacedArg, Placer};
use crate::dim::Dim;
use crate::error::{Error, Result};
use crate::kernel::SiteArg;
use crate::op::{Arg, Axis};
use crate::plan::draft::{Draft, Origin, Use};
use crate::plan::prepare::{joined, panel_width};
use crate::plan::{WeightForm, WeightSource};

/// The arguments of an op whose weights lie in one buffer, in this order.
const TOGETHER: [&str; 2] = ["w", "up"];

/// The tensors of a weight, and which of their rows it is, if not all.
type Of = (Vec<WeightSource>, Option<Range<usize>>);

impl Placer<'_, '_> {
    /// The `w[N, K]` of a matmul, if it is a weight, or a table of blocks: in groups along K, in panels of
    /// columns. In elements the groups of neighbouring columns are 4 apart, those along K a panel's width. What
    /// belongs to its groups lies group-major, an element for a group. Those of experts `[E, C, K]` are one table,
    /// and what `up` is lies behind `w` in the same panels.
    pub(super) fn in_panels(&mut self, draft: &Draft, arg: &Arg, used: &Use) -> Result<Option<PlacedArg>> {
        let Some((of, rows)) = self.side_by_side(draft, arg, used)? else { return Ok(None) };
        let (dtype, shape) = joined(&of, &rows)?;
        let [(columns, leading), (along, 1)] = used.fold.as_slice() else { return Ok(None) };
        let is_table = (*columns, *along) == (Axis::V, Axis::C) && dtype.is_blocks();
        if (*columns, *along) != (Axis::N, Axis::K) && !is_table {
            return Ok(None);
        }
        let is_block = dtype.is_blocks();
        let n = shape[..*leading].iter().fold(1u64, |n, size| n.saturating_mul(*size as u64));
        let panels = TOGETHER.contains(&arg.name) || is_table;
        let (form, apart, along_k) =
            if panels { (WeightForm::Panels, 4, panel_width(n)) } else { (WeightForm::GroupMajor, 1, n) };
        let strides = vec![(*columns, Dim::from(apart)), (*along, along_k.into())];
        let site = SiteArg { strides, panels, ..self.site_arg(arg, used.value) };
        let home = Home::Weight(self.weight(&of, &rows, form)?);
        let scales = if is_block { Some(self.weight(&of, &rows, WeightForm::BlockScales)?) } else { None };
        Ok(Some(PlacedArg { site, fold: used.fold.clone(), home, scales, write: false }))
    }

    /// The tensors of the weight that an argument lies in, and which of their rows; `None` if it is no weight.
    fn side_by_side(&self, draft: &Draft, arg: &Arg, used: &Use) -> Result<Option<Of>> {
        let inputs = draft.op.inputs.iter().zip(&draft.inputs);
        let both = inputs.filter(|(a, _)| TOGETHER.contains(&a.name)).filter_map(|(_, used)| used.as_ref());
        let both: Vec<_> = both.map(|u| u.value).collect();
        let all = if TOGETHER.contains(&arg.name) { both } else { vec![used.value] };
        let origin = |v: &usize| match &self.program.vals[*v].origin {
            Origin::Weight(of, rows) => Some((of, rows)),
            _ => None,
        };
        match all.iter().map(origin).collect::<Option<Vec<_>>>().as_deref() {
            Some([(of, rows)]) => Ok(Some(((*of).clone(), (*rows).clone()))),
            Some(several) if several.iter().all(|(_, rows)| rows.is_none()) => {
                Ok(Some((several.iter().flat_map(|(of, _)| (*of).clone()).collect(), None)))
            }
            None if all.len() == 1 => Ok(None),
            _ => Err(Error::Argument(format!(
                "{}: `w` and `up` lie side by side on the device, so both must be weights of the graph",
                draft.op.name
            ))),
        }
    }
}
