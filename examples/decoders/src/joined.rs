//! Weights that a graph has in one tensor and a model in several: rows below rows.
//!
//! An op that does at once what were several reads them so. They are put together while they are uploaded, a few
//! rows at a time.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::Range;

use tachylite::plan::prepare::{Store, Weights};
use tachylite::{DType, Tensor};

/// A weight as a model has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leaf {
    /// Its name.
    pub name: String,
    /// Its type.
    pub dtype: DType,
    /// Its shape; of a vector all of it is one row.
    pub shape: Vec<usize>,
}

impl Leaf {
    fn is_not(&self, found: Option<(DType, Vec<usize>)>) -> tachylite::Error {
        let Self { name, dtype, shape } = self;
        tachylite::Error::Shape(match found {
            Some((other, found)) => {
                format!("weight `{name}` is {other} {found:?}, but the model needs {dtype} {shape:?}")
            }
            None => format!("weight `{name}` was not given"),
        })
    }
}

/// Rows of a joined weight.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// What they are; rows of zeros, without it.
    pub leaf: Option<Leaf>,
    /// How many rows there are; those that the leaf has not are zeros.
    pub rows: usize,
    /// Elements of a row of the leaf's; those that it has not are zeros.
    pub width: usize,
}

/// A weight that is several of a model's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Joined {
    /// Its type: that of its parts, or f32 or f16.
    pub dtype: DType,
    /// Its shape.
    pub shape: Vec<usize>,
    /// Elements of a row.
    pub width: usize,
    /// From the first row to the last.
    pub parts: Vec<Part>,
}

impl Joined {
    /// The bytes of some rows.
    fn rows(&self, rest: &dyn Store, rows: Range<usize>) -> tachylite::Result<Vec<u8>> {
        let row = self.width / self.dtype.block() * self.dtype.block_bytes();
        let mut out = Vec::with_capacity(rows.len() * row);
        let mut first = 0;
        for part in &self.parts {
            let wanted = rows.start.max(first)..rows.end.min(first + part.rows);
            if !wanted.is_empty() {
                // All types have blocks of which zero bytes stand for zeros.
                let end = out.len() + wanted.len() * row;
                self.leaf(part, rest, wanted.start - first..wanted.end - first, &mut out)?;
                out.resize(end, 0);
            }
            first += part.rows;
        }
        Ok(out)
    }

    /// Those of some rows that a leaf has.
    fn leaf(
        &self,
        part: &Part,
        rest: &dyn Store,
        rows: Range<usize>,
        out: &mut Vec<u8>,
    ) -> tachylite::Result<()> {
        let Some(leaf) = &part.leaf else { return Ok(()) };
        match rest.about(&leaf.name)? {
            Some((dtype, shape)) if dtype == leaf.dtype && shape == leaf.shape => {}
            found => return Err(leaf.is_not(found)),
        }
        let has = leaf.shape.iter().product::<usize>() / part.width;
        let rows = rows.start.min(has)..rows.end.min(has);
        let row = part.width / leaf.dtype.block() * leaf.dtype.block_bytes();
        let bytes = rest.bytes(&leaf.name, (rows.start * row) as u64..(rows.end * row) as u64)?;
        if leaf.dtype == self.dtype && part.width == self.width {
            out.extend_from_slice(&bytes);
            return Ok(());
        }
        let values = Tensor::new(leaf.dtype, &[rows.len(), part.width], bytes.as_ref())?.to_f64();
        let mut wide = vec![0.0; rows.len() * self.width];
        for (to, from) in wide.chunks_exact_mut(self.width).zip(values.chunks_exact(part.width)) {
            to[..part.width].copy_from_slice(from);
        }
        out.extend(Tensor::from_f64(self.dtype, &[rows.len(), self.width], &wide)?.to_bytes());
        Ok(())
    }
}

/// What a graph's weights are made of.
#[derive(Debug)]
pub struct Layered<'a> {
    /// Tensors that are there, looked at first.
    pub own: Weights,
    /// What is put together of the others.
    pub joined: &'a BTreeMap<String, Joined>,
    /// And then this.
    pub rest: Rest<'a>,
}

/// A store behind others.
#[derive(Clone, Copy)]
pub struct Rest<'a>(pub &'a dyn Store);

impl std::fmt::Debug for Rest<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Rest(..)")
    }
}

impl Layered<'_> {
    /// Those of a model, joined or not.
    fn whole(&self) -> Whole<'_> {
        Whole { own: &self.own, rest: self.rest.0 }
    }
}

/// A model's weights as it has them.
struct Whole<'a> {
    own: &'a Weights,
    rest: &'a dyn Store,
}

impl Store for Whole<'_> {
    fn about(&self, name: &str) -> tachylite::Result<Option<(DType, Vec<usize>)>> {
        if self.own.contains_key(name) { self.own.about(name) } else { self.rest.about(name) }
    }

    fn bytes(&self, name: &str, range: Range<u64>) -> tachylite::Result<Cow<'_, [u8]>> {
        if self.own.contains_key(name) { self.own.bytes(name, range) } else { self.rest.bytes(name, range) }
    }
}

impl Store for Layered<'_> {
    fn about(&self, name: &str) -> tachylite::Result<Option<(DType, Vec<usize>)>> {
        match self.joined.get(name) {
            Some(joined) => Ok(Some((joined.dtype, joined.shape.clone()))),
            None => self.whole().about(name),
        }
    }

    fn bytes(&self, name: &str, range: Range<u64>) -> tachylite::Result<Cow<'_, [u8]>> {
        let Some(joined) = self.joined.get(name) else {
            let own = self.own.contains_key(name);
            return if own { self.own.bytes(name, range) } else { self.rest.0.bytes(name, range) };
        };
        let row = joined.width / joined.dtype.block() * joined.dtype.block_bytes();
        let all = joined.parts.iter().map(|p| p.rows).sum::<usize>() * row;
        if range.start > range.end || range.end > all as u64 {
            return Err(tachylite::Error::Argument(format!(
                "weight `{name}`: it has {all} bytes, and no bytes {range:?}"
            )));
        }
        let (from, to) = (range.start as usize, range.end as usize);
        let rows = from / row..to.div_ceil(row);
        let at = rows.start * row;
        let mut bytes = joined.rows(&self.whole(), rows)?;
        bytes.truncate(to - at);
        bytes.drain(..from - at);
        Ok(bytes.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Any bytes of a joined weight are those of its parts below one another, filled up with zeros.
    #[test]
    fn parts_of_several_types_and_widths_are_rows_of_one() {
        let leaf =
            |name: &str, dtype, shape: &[usize]| Leaf { name: name.into(), dtype, shape: shape.to_vec() };
        let tensor = |dtype, shape: &[usize], from: i32| {
            let n = shape.iter().product::<usize>() as i32;
            let values: Vec<f64> = (from..from + n).map(f64::from).collect();
            Tensor::from_f64(dtype, shape, &values).unwrap()
        };
        let own = Weights::from([("a".to_owned(), tensor(DType::F32, &[2, 4], 1))]);
        let rest = Weights::from([
            ("b".to_owned(), tensor(DType::F16, &[3, 2], 9)),
            ("c".to_owned(), tensor(DType::F32, &[4], 15)),
        ]);
        let part = |leaf, rows, width| Part { leaf, rows, width };
        let parts = vec![
            part(Some(leaf("a", DType::F32, &[2, 4])), 3, 4),
            part(None, 1, 4),
            part(Some(leaf("b", DType::F16, &[3, 2])), 3, 2),
            part(Some(leaf("c", DType::F32, &[4])), 1, 4),
        ];
        let joined = Joined { dtype: DType::F32, shape: vec![2, 4, 4], width: 4, parts };
        let joined = BTreeMap::from([("w".to_owned(), joined)]);
        let store = Layered { own, joined: &joined, rest: Rest(&rest) };
        assert_eq!(store.about("w").unwrap(), Some((DType::F32, vec![2, 4, 4])));
        assert_eq!(store.about("b").unwrap(), Some((DType::F16, vec![3, 2])));
        let rows: [[i8; 4]; 8] = [
            [1, 2, 3, 4],
            [5, 6, 7, 8],
            [0; 4],
            [0; 4],
            [9, 10, 0, 0],
            [11, 12, 0, 0],
            [13, 14, 0, 0],
            [15, 16, 17, 18],
        ];
        let want: Vec<u8> = rows.as_flattened().iter().flat_map(|v| f32::from(*v).to_le_bytes()).collect();
        for (from, to) in [(0, 128), (0, 0), (4, 20), (20, 36), (28, 100), (100, 128), (64, 68)] {
            let got = store.bytes("w", from..to).unwrap();
            assert_eq!(*got, want[from as usize..to as usize], "{from}..{to}");
        }
        let said = store.bytes("w", 4..132).unwrap_err().to_string();
        assert_eq!(said, "weight `w`: it has 128 bytes, and no bytes 4..132");
        let rest = Weights::from([("b".to_owned(), tensor(DType::F16, &[2, 3], 9))]);
        let said = Layered { rest: Rest(&rest), ..store }.bytes("w", 0..128).unwrap_err().to_string();
        assert_eq!(said, "weight `b` is f16 [2, 3], but the model needs f16 [3, 2]");
    }
}
