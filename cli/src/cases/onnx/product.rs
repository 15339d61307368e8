//! Products of matrices.

use tachylite::{Graph, ValueId};

use super::Node;
use crate::cases::build::{Built, dims, wrong};
use crate::cases::data::Host;

/// Builds the node if it is one of these.
pub(super) fn build(n: &mut Node<'_>) -> Built<bool> {
    let y = match n.op.as_str() {
        "MatMul" => {
            n.floats_only()?;
            let (a, b) = (n.x(0)?, n.x(1)?);
            matmul(n, a, b)?
        }
        "Gemm" => gemm(n)?,
        "MatMulInteger" => integers(n, [0, 1, 2, 3])?,
        _ => return Ok(false),
    };
    n.out(0, y)?;
    Ok(true)
}

/// `a [.., M, K]` times `b [.., K, N]`; an operand with one axis loses it again.
fn matmul(n: &mut Node<'_>, a: ValueId, b: ValueId) -> Built<ValueId> {
    product(n, a, b, &|g, x, w| g.matmul(x, w))
}

/// How a product with a transposed weight is made.
type Multiply<'a> = dyn Fn(&mut Graph, ValueId, ValueId) -> tachylite::Result<ValueId> + 'a;

/// [`matmul`] by whatever multiplies.
fn product(n: &mut Node<'_>, a: ValueId, b: ValueId, multiply: &Multiply<'_>) -> Built<ValueId> {
    let (a_shape, b_shape) = (n.case.shape(a), n.case.shape(b));
    let (a, a_full) = match a_shape.as_slice() {
        [k] => (n.case.reshape(a, &[1, *k])?, vec![1, *k]),
        _ => (a, a_shape.clone()),
    };
    let (b, b_full) = match b_shape.as_slice() {
        [k] => (n.case.reshape(b, &[*k, 1])?, vec![*k, 1]),
        _ => (b, b_shape.clone()),
    };
    let (m, k, width) = (a_full[a_full.len() - 2], a_full[a_full.len() - 1], b_full[b_full.len() - 1]);
    let (a_batch, b_batch) = (&a_full[..a_full.len() - 2], &b_full[..b_full.len() - 2]);
    let w = n.case.swap(b, b_full.len() - 2, b_full.len() - 1)?;
    let (y, batch) = if b_batch.is_empty() {
        (multiply(n.g(), a, w)?, a_batch.to_vec())
    } else {
        let Some(batch) = broadcast(a_batch, b_batch) else {
            return wrong(format!("{a_shape:?} and {b_shape:?} cannot be broadcast"));
        };
        let count = batch.iter().product();
        let a = n.g().expand(a, &dims(&[batch.as_slice(), &[m, k]].concat()))?;
        let w = n.g().expand(w, &dims(&[batch.as_slice(), &[width, b_full[b_full.len() - 2]]].concat()))?;
        let a = n.case.reshape(a, &[count, m, k])?;
        let w = n.case.reshape(w, &[count, width, b_full[b_full.len() - 2]])?;
        (multiply(n.g(), a, w)?, batch)
    };
    let rows: &[usize] = if a_shape.len() == 1 { &[] } else { &[m] };
    let columns: &[usize] = if b_shape.len() == 1 { &[] } else { &[width] };
    n.case.reshape(y, &[batch.as_slice(), rows, columns].concat())
}

/// The shape to which both can be broadcast.
pub(super) fn broadcast(a: &[usize], b: &[usize]) -> Option<Vec<usize>> {
    let rank = a.len().max(b.len());
    let at = |shape: &[usize], i: usize| (i + shape.len()).checked_sub(rank).map_or(1, |i| shape[i]);
    let one = |i| match (at(a, i), at(b, i)) {
        (x, y) if x == y => Some(x),
        (1, n) | (n, 1) => Some(n),
        _ => None,
    };
    (0..rank).map(one).collect()
}

/// alpha·A·B + beta·C, each of A and B transposed or not.
fn gemm(n: &mut Node<'_>) -> Built<ValueId> {
    n.floats_only()?;
    let (mut a, mut w) = (n.x(0)?, n.x(1)?);
    if n.case.shape(a).len() != 2 || n.case.shape(w).len() != 2 {
        return wrong("Gemm: A and B must have 2 axes");
    }
    if n.int("transA", 0)? != 0 {
        a = n.case.swap(a, 0, 1)?;
    }
    if n.int("transB", 0)? == 0 {
        w = n.case.swap(w, 0, 1)?;
    }
    let mut y = n.g().matmul(a, w)?;
    let (alpha, beta) = (n.float("alpha", 1.0)?, n.float("beta", 1.0)?);
    if alpha != 1.0 {
        y = n.scale(y, alpha)?;
    }
    if let Some(mut c) = n.maybe_x(2)? {
        if beta != 1.0 {
            c = n.scale(c, beta)?;
        }
        y = n.g().add(y, c)?;
    }
    Ok(y)
}

/// (a - a_zero)·(b - b_zero), exactly, as i32: the inputs at these places.
pub(super) fn integers(n: &mut Node<'_>, [a, b, a_zero, b_zero]: [usize; 4]) -> Built<ValueId> {
    let (x, w) = (n.quantized(a)?, n.quantized(b)?);
    let x_zero = match n.maybe(a_zero).map(Host::len) {
        None => None,
        Some(1) => Some(zero_point(n, a_zero, &[1])?),
        Some(rows) => Some(zero_point(n, a_zero, &[rows, 1])?),
    };
    let w_zero = match n.maybe(b_zero).map(Host::len) {
        None => None,
        Some(columns) => Some(zero_point(n, b_zero, &[columns])?),
    };
    product(n, x, w, &|g, x, w| g.matmul_integer(x, w, x_zero, w_zero))
}

fn zero_point(n: &mut Node<'_>, i: usize, shape: &[usize]) -> Built<ValueId> {
    let zero = n.quantized(i)?;
    n.case.reshape(zero, shape)
}
