//! Where steps find their tensors: views become layouts over their roots, and copies where a kernel
//! cannot read what strides say.
//!
//! It knows values and weights, not buffers.

use std::collections::BTreeMap;
use std::ops::Range;

use crate::dim::Dim;
use crate::error::{Error, Result};
use crate::kernel::{Link, Part, Side, SiteArg};
use crate::op::{Arg, Axis, Fold};
use crate::ops::view::{COPY, COPY_AXES};
use crate::plan::draft::{Draft, Joined, Origin, Program, Use, Val, View, rows_fold};
use crate::plan::prepare::{form_bytes, joined};
use crate::plan::strides::{self, Lay};
use crate::plan::{WeightForm, WeightSource, WeightSpec};

mod panels;
mod rest;

/// Whose buffer a tensor lies in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Home {
    /// A value's own.
    Value(usize),
    /// A weight's, by its place in the plan.
    Weight(usize),
}

/// A tensor of a step's signature.
#[derive(Debug, Clone)]
pub(super) struct PlacedArg {
    /// As kernels see it.
    pub site: SiteArg,
    /// How its shape reads as axes of the op.
    pub fold: Fold,
    /// Whose buffer it lies in.
    pub home: Home,
    /// The weight that holds its blocks' scales.
    pub scales: Option<usize>,
    /// Whether the step writes it.
    pub write: bool,
}

/// The other operand of a link.
#[derive(Debug, Clone)]
pub(super) struct PlacedOperand {
    /// Whose buffer it lies in.
    pub home: Home,
    /// Where its first element lies, in elements.
    pub offset: u64,
    /// Elements from one row to the next; 0 for a row used throughout.
    pub row: Dim,
}

/// A draft whose tensors have places.
#[derive(Debug)]
pub(super) struct Placed {
    /// What it does.
    pub draft: Draft,
    /// Its tensors, inputs first, those left out missing.
    pub args: Vec<PlacedArg>,
    /// The operands of its chains, before and after.
    pub operands: [Vec<PlacedOperand>; 2],
    /// Values whose buffers it reads, or that must outlive it.
    pub keeps: Vec<usize>,
    /// Values whose buffers it writes.
    pub makes: Vec<usize>,
    /// States that it changes: the version it makes, and the value whose buffer that is.
    pub changes: Vec<(usize, usize)>,
}

/// Everything with a place.
#[derive(Debug)]
pub(super) struct Placement {
    /// The steps, in order.
    pub steps: Vec<Placed>,
    /// The weights' buffers.
    pub weights: Vec<WeightSpec>,
    /// For each output of the graph, the value whose buffer is that output.
    pub outputs: Vec<usize>,
    /// Where each value of the graph lies, if it reaches memory.
    pub values: Vec<Option<(Home, Lay)>>,
}

/// Gives every tensor of every draft its place; the program gets the copies that takes.
///
/// # Errors
/// [`Error::Shape`] for a view that neither strides nor the copy kernel can express.
pub(super) fn place(program: &mut Program<'_>) -> Result<Placement> {
    let drafts = std::mem::take(&mut program.drafts);
    let in_place = vec![false; program.vals.len()];
    let mut p = Placer { program, steps: Vec::new(), weights: Vec::new(), copies: BTreeMap::new(), in_place };
    for draft in drafts {
        p.step(draft)?;
    }
    let outputs = p.outputs()?;
    let values = (0..p.program.graph.values().len()).map(|v| p.resting_place(v)).collect();
    Ok(Placement { steps: p.steps, weights: p.weights, outputs, values })
}

/// Where a kernel reads a value.
struct Found {
    /// The value in whose buffer it lies.
    root: usize,
    /// Where its first element lies, in elements.
    offset: u64,
    /// Elements between neighbours along each axis of the op.
    strides: Vec<(Axis, Dim)>,
    /// The values that must be alive.
    keeps: Vec<usize>,
}

struct Placer<'p, 'g> {
    program: &'p mut Program<'g>,
    steps: Vec<Placed>,
    weights: Vec<WeightSpec>,
    /// The copy of a view that some kernel cannot read in place.
    copies: BTreeMap<usize, usize>,
    /// Whether some kernel reads a value where it lies.
    in_place: Vec<bool>,
}

impl Placer<'_, '_> {
    fn normal(&self, v: usize) -> Lay {
        let Val { dtype, shape, .. } = &self.program.vals[v];
        strides::normal(*dtype, shape, self.program.graph.scalars())
    }

    /// The root of a value and how it lies over it, if strides can say that.
    fn find(&self, v: usize) -> Option<(usize, Lay)> {
        if let Origin::Changed(state) = self.program.vals[v].origin {
            return self.find(state);
        }
        let Origin::View(parent, view) = &self.program.vals[v].origin else {
            return Some((v, self.normal(v)));
        };
        let copy = self.copies.get(parent).map(|c| (*c, self.normal(*c)));
        let shapes = (&self.program.vals[*parent].shape, &self.program.vals[v].shape);
        self.find(*parent).into_iter().chain(copy).find_map(|(root, lay)| {
            let lay = match *view {
                View::Slice { axis, start } => strides::slice(&lay, axis, start),
                View::Reshape => strides::reshape(shapes.0, &lay, shapes.1),
                View::Swap { a, b } => Some(strides::swap(&lay, a, b)),
                View::Expand => Some(strides::expand(shapes.0, &lay, shapes.1)),
            };
            lay.map(|lay| (root, lay))
        })
    }

    /// As [`find`](Self::find), after the copies that it takes.
    fn at(&mut self, v: usize) -> Result<(usize, Lay)> {
        if let Some(found) = self.find(v) {
            return Ok(found);
        }
        if let Some(copy) = self.copies.get(&v) {
            return Ok((*copy, self.normal(*copy)));
        }
        let Origin::View(parent, view) = self.program.vals[v].origin else {
            unreachable!("only views have no place of their own")
        };
        let from = self.at(parent)?;
        let shape = self.program.vals[parent].shape.clone();
        // A reshape takes the elements as they come; a slice can be said over a copy of its parent.
        let target = if view == View::Reshape { v } else { parent };
        let copy = self.copy(target, &shape, from)?;
        if target == v { Ok((copy, self.normal(copy))) } else { self.at(v) }
    }

    /// Adds a step that copies a value, given where it lies over some shape of as many elements.
    fn copy(&mut self, v: usize, shape: &[Dim], (root, lay): (usize, Lay)) -> Result<usize> {
        let axes = strides::merge(shape, &lay.strides).len();
        let Val { name, dtype, shape: to, .. } = self.program.vals[v].clone();
        if axes > COPY_AXES || !COPY.inputs[0].dtypes.contains(&dtype) {
            return Err(Error::Shape(format!(
                "view: `{name}` ({dtype}, {axes} axes that do not lie tight) must be copied, but copies \
                 take floats, i8 and u8 of at most {COPY_AXES} such axes"
            )));
        }
        let (base, nodes) = self.path(v, root);
        // Slices that planning made are none of the graph's values.
        let holds = Some(v).filter(|v| *v < self.program.graph.values().len()).into_iter().collect();
        let copy = self.program.push(Val { name, dtype, shape: to.clone(), origin: Origin::Step, holds });
        self.in_place.push(false);
        let mut draft = Draft::of_rows(&COPY, nodes, base, copy, &to);
        let x = SiteArg { offset: 0, strides: Vec::new(), ..self.site_arg(&COPY.inputs[0], v) };
        draft.copies = Some((shape.to_vec(), lay));
        let fold = rows_fold(&to);
        let x = PlacedArg { site: x, fold, home: self.home(root)?, scales: None, write: false };
        let y = self.made(&COPY.outputs[0], &draft.outputs[0]);
        let keeps = vec![root];
        let (operands, makes) = ([Vec::new(), Vec::new()], vec![copy]);
        let changes = Vec::new();
        self.steps.push(Placed { draft, args: vec![x, y], operands, keeps, makes, changes });
        self.copies.insert(v, copy);
        Ok(copy)
    }

    /// The graph's value that a root holds and that `v` is a view of, and the views in between.
    fn path(&self, v: usize, root: usize) -> (usize, Vec<usize>) {
        let mut nodes = Vec::new();
        let mut at = v;
        while !self.program.vals[root].holds.contains(&at) {
            let Origin::View(parent, _) = self.program.vals[at].origin else { break };
            let of_graph = self.program.graph.values().get(at).map(|v| v.source);
            if let Some(crate::graph::Source::Node { node, .. }) = of_graph {
                nodes.push(node);
            }
            at = parent;
        }
        nodes.reverse();
        (at, nodes)
    }

    /// Where a kernel finds a tensor that it reads along these axes.
    fn read(&mut self, v: usize, fold: &Fold) -> Result<Found> {
        let (root, lay) = self.at(v)?;
        let Val { name, dtype, shape, .. } = self.program.vals[v].clone();
        let start = lay.offset.constant().unwrap_or(u64::MAX);
        if let Some(along) = strides::along(dtype, &shape, &lay, fold) {
            // Not if it was copied on the way, because strides cannot say it.
            self.in_place[v] |= self.copies.get(&v) != Some(&root);
            return Ok(Found { root, offset: start, strides: along, keeps: vec![root] });
        }
        let copy = match self.copies.get(&v) {
            Some(copy) => *copy,
            None => self.copy(v, &shape, (root, lay))?,
        };
        let along = strides::along(dtype, &shape, &self.normal(copy), fold);
        let strides =
            along.unwrap_or_else(|| panic!("`{name}`: no layout lets a kernel read it as {fold:?}"));
        // Who looks at `v` finds it in place if somebody reads it there, so its root stays too.
        let keeps = if self.in_place[v] { vec![copy, root] } else { vec![copy] };
        Ok(Found { root: copy, offset: 0, strides, keeps })
    }

    fn home(&mut self, root: usize) -> Result<Home> {
        match self.program.vals[root].origin.clone() {
            Origin::Weight(of, rows) => Ok(Home::Weight(self.weight(&of, &rows, WeightForm::Rows)?)),
            _ => Ok(Home::Value(root)),
        }
    }

    fn weight(
        &mut self,
        of: &[WeightSource],
        rows: &Option<Range<usize>>,
        form: WeightForm,
    ) -> Result<usize> {
        let is_it = |w: &WeightSpec| w.sources == of && w.rows == *rows && w.form == form;
        if let Some(i) = self.weights.iter().position(is_it) {
            return Ok(i);
        }
        let (dtype, shape) = joined(of, rows)?;
        let bytes = form_bytes(form, dtype, &shape).map_err(|_| {
            Error::Shape(format!(
                "weight `{}`: {dtype} {shape:?} can only be a whole `w` [N, K] of a matmul, [E, C, K] of a \
                 matmul_experts or table of an embed",
                of[0].name
            ))
        })?;
        self.weights.push(WeightSpec { sources: of.to_vec(), form, rows: rows.clone(), bytes });
        Ok(self.weights.len() - 1)
    }

    fn site_arg(&self, arg: &Arg, v: usize) -> SiteArg {
        let Val { dtype, shape, origin, .. } = &self.program.vals[v];
        let part = match origin {
            Origin::Weight(of, Some(rows)) => {
                let whole = of.iter().map(|s| s.shape.first().map_or(0, |n| *n as u64)).sum();
                Some(Part { first: rows.start as u64, whole })
            }
            _ => None,
        };
        SiteArg { part, ..SiteArg::new(arg.name, *dtype, shape.clone()) }
    }

    fn step(&mut self, draft: Draft) -> Result<()> {
        let mut args = Vec::new();
        let mut keeps = Vec::new();
        for (i, (arg, used)) in draft.op.inputs.iter().zip(&draft.inputs).enumerate() {
            let Some(used) = used else { continue };
            if draft.op.changes().any(|(changed, _)| changed == i) {
                continue; // it is bound once, as what the step makes of it
            }
            args.push(match self.in_panels(&draft, arg, used)? {
                Some(placed) => placed,
                None => {
                    let found = self.read(used.value, &used.fold)?;
                    keeps.extend(found.keeps);
                    let home = self.home(found.root)?;
                    let (offset, strides) = (found.offset, found.strides);
                    let site = SiteArg { offset, strides, ..self.site_arg(arg, used.value) };
                    PlacedArg { site, fold: used.fold.clone(), home, scales: None, write: false }
                }
            });
        }
        let operands = [self.chain(&draft.pre, &mut keeps)?, self.chain(&draft.post, &mut keeps)?];
        let (mut makes, mut changes) = (Vec::new(), Vec::new());
        for (arg, made) in draft.op.outputs.iter().zip(&draft.outputs) {
            args.push(self.made(arg, made));
            let root = self.find(made.value).map_or(made.value, |(root, _)| root);
            match self.program.vals[made.value].origin {
                Origin::Changed(_) => changes.push((made.value, root)),
                _ => makes.push(root),
            }
        }
        self.steps.push(Placed { draft, args, operands, keeps, makes, changes });
        Ok(())
    }

    fn chain(&mut self, chain: &[Joined], keeps: &mut Vec<usize>) -> Result<Vec<PlacedOperand>> {
        let mut out = Vec::new();
        for joined in chain {
            let Some(other) = joined.other else { continue };
            if let Link::Binary { side: Side::Column, .. } = joined.link {
                out.push(self.column(other, keeps)?);
                continue;
            }
            let fold = rows_fold(&self.program.vals[other].shape);
            let found = self.read(other, &fold)?;
            keeps.extend(found.keeps);
            let row = found.strides[0].1.clone();
            out.push(PlacedOperand { home: self.home(found.root)?, offset: found.offset, row });
        }
        Ok(out)
    }

    /// One element for each row: read where it lies, or from a copy of what was expanded.
    fn column(&mut self, v: usize, keeps: &mut Vec<usize>) -> Result<PlacedOperand> {
        let (root, lay) = self.at(v)?;
        let shape = self.program.vals[v].shape.clone();
        if let (Some(offset), Some(row)) = (lay.offset.constant(), strides::over_rows(&shape, &lay)) {
            self.in_place[v] |= self.copies.get(&v) != Some(&root);
            keeps.push(root);
            return Ok(PlacedOperand { home: self.home(root)?, offset, row });
        }
        let Origin::View(parent, _) = self.program.vals[v].origin else {
            unreachable!("a column is what was expanded")
        };
        let fold = rows_fold(&self.program.vals[parent].shape);
        let found = self.read(parent, &fold)?;
        keeps.extend(found.keeps);
        // Who looks at `v` finds it where it was expanded from.
        keeps.push(root);
        let row = found.strides[0].1.clone();
        Ok(PlacedOperand { home: self.home(found.root)?, offset: found.offset, row })
    }

    /// What a step writes: a value of its own, or a slice of one that several steps make.
    fn made(&self, arg: &Arg, made: &Use) -> PlacedArg {
        let Val { dtype, shape, name, .. } = &self.program.vals[made.value];
        let (root, lay) = self.find(made.value).unwrap_or_else(|| (made.value, self.normal(made.value)));
        let along = strides::along(*dtype, shape, &lay, &made.fold);
        let strides =
            along.unwrap_or_else(|| panic!("`{name}`: no layout lets a kernel write it as {:?}", made.fold));
        let offset = lay.offset.constant().unwrap_or(0);
        let site = SiteArg { strides, offset, ..self.site_arg(arg, made.value) };
        PlacedArg { site, fold: made.fold.clone(), home: Home::Value(root), scales: None, write: true }
    }
}
