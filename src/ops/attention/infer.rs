//! What attention may be asked for, and the sizes of its axes.

use super::OPEN;
use crate::dim::Dim;
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::formats::CacheForm;
use crate::op::Axis::{B, C, D, G, H, N, S, T};
use crate::op::{Attr, Axes, Infer, Inferred};

pub(super) fn infer(i: &Infer<'_>) -> Result<Inferred> {
    let (q, k, v) = (i.rank(0, 4)?.to_vec(), i.rank(1, 4)?.to_vec(), i.rank(2, 4)?.to_vec());
    let given = |arg: usize| i.inputs.get(arg).is_some_and(Option::is_some);
    for (at, axis) in [if given(7) { N } else { B }, T, G].into_iter().enumerate() {
        i.same(axis, (1, &k[at]), (2, &v[at]))?;
    }
    let (d, c) = (q[3].clone(), values(i, &v[3])?);
    match form(i, 1, "k_form")? {
        None => i.same(D, (0, &d), (1, &k[3]))?,
        Some(form) => rows(i, 1, form, &d)?,
    }
    let t = if given(7) {
        keys(i, &q[0], &k)?
    } else {
        i.same(B, (0, &q[0]), (1, &k[0]))?;
        k[1].clone()
    };
    if given(3) {
        i.same(B, (0, &q[0]), (3, &i.rank(3, 1)?[0]))?;
    }
    if given(4) {
        let mask = i.rank(4, 4)?;
        for (at, (axis, from, size)) in
            [(B, 0, &q[0]), (H, 0, &q[2]), (S, 0, &q[1]), (T, 1, &t)].into_iter().enumerate()
        {
            i.same(axis, (from, size), (4, &mask[at]))?;
        }
    }
    let (Some(h), Some(g), Some(_), Some(_)) = (q[2].constant(), k[2].constant(), d.constant(), c.constant())
    else {
        return Err(Error::Shape("attention: H, G, D and C must be fixed, not dims of the call".into()));
    };
    if g == 0 || !h.is_multiple_of(g) {
        return Err(Error::Shape(format!(
            "attention: `q` has H = {h}, which is no multiple of G = {g} of `k`"
        )));
    }
    for arg in [5, 6].into_iter().filter(|arg| given(*arg)) {
        i.same(H, (0, &q[2]), (arg, &i.rank(arg, 1)?[0]))?;
    }
    numbers(i, given(5))?;
    let mut sizes = vec![(B, &q[0]), (S, &q[1]), (T, &t), (H, &q[2]), (G, &k[2]), (D, &d), (C, &c)];
    if given(7) {
        sizes.push((N, &k[0]));
    }
    let mut outputs = vec![([&q[..3], std::slice::from_ref(&c)].concat(), i.operand(0)?.dtype)];
    if i.attr_u32("lse") == Some(1) {
        outputs.push((vec![q[0].clone(), q[2].clone(), q[1].clone()], DType::F32));
    }
    let axes = Axes::new(&sizes.iter().map(|(a, d)| (*a, (*d).clone())).collect::<Vec<_>>());
    Ok(Inferred { axes, folds: i.folds(&outputs), outputs })
}

/// Attributes that must be some numbers, or go with others.
fn numbers(i: &Infer<'_>, slopes: bool) -> Result<()> {
    let softcap = i.attrs.iter().find(|(name, _)| *name == "softcap").map(|(_, a)| *a);
    if let Some(Attr::F32(cap)) = softcap
        && cap != 0.0
        && !(1e-4..=1e9).contains(&cap)
    {
        return Err(Error::Argument(format!(
            "attention: `softcap` is {cap}, but it must be from 1e-4 to 1e9"
        )));
    }
    let bounded = ["left", "right"].iter().any(|side| i.attr_u32(side).unwrap_or(OPEN) != OPEN);
    if i.attr_u32("reach") == Some(0) && (bounded || slopes) {
        return Err(Error::Argument(
            "attention: `left`, `right` and `slopes` need a `reach` from 1 to 3: where queries are".into(),
        ));
    }
    for (attr, most) in [("reach", 3), ("lse", 1)] {
        let n = i.attr_u32(attr).unwrap_or(0);
        if n > most {
            return Err(Error::Argument(format!(
                "attention: `{attr}` is {n}, but it must be from 0 to {most}"
            )));
        }
    }
    Ok(())
}

/// How rows of keys or values lie, which goes with their type; `None` if they are plain.
fn form(i: &Infer<'_>, arg: usize, attr: &str) -> Result<Option<CacheForm>> {
    let (name, dtype) = (i.op.inputs[arg].name, i.operand(arg)?.dtype);
    let number = i.attr_u32(attr).unwrap_or(0);
    let form = CacheForm::from_number(number);
    match form {
        None if number != 0 => {
            let most = CacheForm::ALL.len();
            Err(Error::Argument(format!("attention: `{attr}` is {number}, but it must be from 0 to {most}")))
        }
        None if dtype == DType::U8 => Err(Error::Argument(format!(
            "attention: `{name}` is u8, rows of a quantised cache, but `{attr}` does not say of which form"
        ))),
        Some(form) if dtype != DType::U8 => Err(Error::Argument(format!(
            "attention: `{name}` is {dtype}, but a cache of the form {} is u8",
            form.name()
        ))),
        form => Ok(form),
    }
}

/// Checks the bytes of quantised rows of so many elements.
fn rows(i: &Infer<'_>, arg: usize, form: CacheForm, width: &Dim) -> Result<()> {
    let shape = &i.operand(arg)?.shape;
    let (name, axis) = (i.op.inputs[arg].name, i.op.inputs[arg].axes[3].name());
    let Some(width) = width.constant() else {
        return Err(Error::Shape("attention: H, G, D and C must be fixed, not dims of the call".into()));
    };
    let bytes = form.row_bytes(usize::try_from(width).unwrap_or(usize::MAX / 2)) as u64;
    if shape[3].constant() == Some(bytes) {
        return Ok(());
    }
    Err(Error::Shape(format!(
        "attention: `{name}` is {}, but rows of {axis} = {width} elements have {bytes} bytes as {}",
        i.show(shape),
        form.name()
    )))
}

/// C: the width of plain values, or what is said of quantised ones.
fn values(i: &Infer<'_>, last: &Dim) -> Result<Dim> {
    let Some(form) = form(i, 2, "v_form")? else { return Ok(last.clone()) };
    let width = Dim::from(u64::from(i.attr_u32("v_width").unwrap_or(0)));
    rows(i, 2, form, &width)?;
    Ok(width)
}

/// T of keys that lie in pages.
fn keys(i: &Infer<'_>, b: &Dim, k: &[Dim]) -> Result<Dim> {
    let pages = i.rank(7, 2)?;
    i.same(B, (0, b), (7, &pages[0]))?;
    if i.inputs.get(3).is_none_or(Option::is_none) {
        return Err(Error::Argument(
            "attention: `pages` needs `lengths`, how many keys each sequence has in its pages".into(),
        ));
    }
    if [&k[0], &k[1]].iter().any(|d| d.constant().is_none_or(|n| n == 0)) {
        return Err(Error::Shape(format!(
            "attention: `k` is {}, but the number of pages and the keys of one must be fixed, and at least 1",
            i.show(k)
        )));
    }
    let Some(columns) = pages[1].constant().filter(|n| *n > 0) else {
        return Err(Error::Shape(format!(
            "attention: `pages` is {}, but its last axis must be fixed and at least 1: a start, and then pages",
            i.show(pages)
        )));
    };
    Ok(k[1].times(&Dim::from(columns - 1)))
}
