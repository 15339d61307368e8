//! The time-mix again, by the ops that do it in few dispatches: its states change where they lie.

use tachylite::op::Unary;
use tachylite::ops::rwkv7::Rwkv7;
use tachylite::{DType, Tensor, ValueId};

use super::{Block, Bound, Built, RELATIVE, Stop, wrong};

/// Rows of a weight: products here have `[out, in]`.
type Rows = Vec<Vec<f64>>;

/// A slice of the mixes, and what it is projected by: a weight as it is, and then a low rank, with the function of
/// its sums.
type Slice = (&'static str, Option<&'static str>, Option<&'static str>, Option<Unary>);

const SLICES: [Slice; 6] = [
    ("x_r", Some("receptance"), None, None),
    ("x_k", Some("key"), None, None),
    ("x_v", Some("value"), Some("v"), None),
    ("x_w", None, Some("w"), Some(Unary::Tanh)),
    ("x_a", None, Some("a"), None),
    ("x_g", None, Some("g"), Some(Unary::Sigmoid)),
];

impl Block<'_> {
    fn rows(&self, name: &str) -> Built<Rows> {
        let host = self.parts.host("inputs", name)?;
        let Some(width) = host.shape.last().copied().filter(|w| *w > 0) else {
            return wrong(format!("inputs.{name}: must have elements"));
        };
        let values = host.numbers().map_err(Stop::Unsupported)?;
        Ok(values.chunks(width).map(<[f64]>::to_vec).collect())
    }

    /// Rows of a weight that the suite has as `[in, out]`, each filled up to so many columns.
    fn turned(&self, name: &str, width: usize) -> Built<Rows> {
        let rows = self.rows(name)?;
        let of = |j: usize| (0..width).map(|i| rows.get(i).map_or(0.0, |row| row[j])).collect();
        Ok((0..rows.first().map_or(0, Vec::len)).map(of).collect())
    }

    fn given_weight(&mut self, name: &str, shape: &[usize], rows: Rows) -> Built<ValueId> {
        self.case.weight(name, Tensor::from_f64(DType::F32, shape, &rows.concat())?)
    }

    /// The time-mix of `x [T, C]` with heads `[T, H, D]`.
    pub(super) fn fused(&mut self, x: ValueId, first: Option<ValueId>, heads: &[usize; 3]) -> Built<()> {
        let &[t, h, d] = heads;
        let c = h * d;
        let slices =
            SLICES.map(|(mix, whole, low, f)| (mix, whole, low.filter(|l| *l != "v" || first.is_some()), f));
        let ranks: Vec<&str> = slices.iter().filter_map(|s| s.2).collect();
        let mut rank = 1;
        for low in &ranks {
            rank = rank.max(self.rows(&format!("{low}2"))?.len());
        }
        let rank = rank.next_multiple_of(32);
        let (mut mixes, mut down, mut up, mut widths) = (Rows::new(), Rows::new(), Rows::new(), Vec::new());
        for (mix, whole, low, f) in slices {
            mixes.extend(self.rows(mix)?);
            let before = down.len();
            if let Some(whole) = whole {
                down.extend(self.rows(whole)?);
            }
            if let Some(low) = low {
                let of = self.turned(&format!("{low}1"), c)?;
                down.extend((0..rank).map(|i| of.get(i).cloned().unwrap_or_else(|| vec![0.0; c])));
                up.extend(self.turned(&format!("{low}2"), rank)?);
            }
            widths.push((down.len() - before, f));
        }
        let mut vectors = Rows::new();
        for name in ["w0", "a0", "v0_bias", "k_k", "k_a", "r_k", "ln_x_w", "ln_x_b"] {
            match self.parts.maybe("inputs", name)? {
                Some(_) => vectors.extend(self.rows(name)?),
                None => vectors.push(vec![0.0; c]),
            }
        }
        let n = down.len();
        let mix = self.given_weight("fused.mix", &[6, c], mixes)?;
        let down = self.given_weight("fused.down", &[n, c], down)?;
        let up = self.given_weight("fused.up", &[ranks.len(), c, rank], up)?;
        let vectors = self.given_weight("fused.vectors", &[8, h, d], vectors)?;

        let x = self.case.reshape(x, &[1, t, c])?;
        let shift =
            self.state("fused.shift", "last_x", &[1, c], self.rows("x")?.pop().unwrap_or_default(), 0.0)?;
        let (z, _) = self.case.graph.token_shift(x, None, mix, shift)?;
        let all = self.case.graph.matmul_slices(z, down, &widths)?;
        let rkv = self.case.graph.slice(all, 2, 0, 3 * c)?;
        let rkv = self.case.reshape(rkv, &[1, t, 3, h, d])?;
        let low = self.case.graph.slice(all, 2, 3 * c, ranks.len() * rank)?;
        let low = self.case.reshape(low, &[t, ranks.len(), rank])?;
        let low = self.case.swap(low, 0, 1)?;
        let gates = self.case.graph.matmul(low, up)?;
        let gates = self.case.reshape(gates, &[ranks.len(), 1, t, h, d])?;
        let first = first.map(|v| self.case.reshape(v, &[1, t, h, d])).transpose()?;
        let [eps, norm_eps] =
            ["ln_x_eps", "kk_norm_eps"].map(|name| self.parts.param(name).map(|v| v as f32));
        let left = self.parts.host("outputs", "state_out")?.numbers().map_err(Stop::Unsupported)?;
        let off = RELATIVE * left.iter().fold(0.0, |most: f64, v| most.max(v.abs()));
        let state = self.state("fused.state", "state_in", &[1, h, d, d], left, off)?;
        let of = Rwkv7 { rkv, gates, vectors, first, eps: eps?, norm_eps: norm_eps? };
        let (y, _) = self.case.graph.rwkv7(of, state)?;
        let y = self.case.reshape(y, &[t, c])?;
        let w = self.rows("output")?;
        let w = self.given_weight("fused.output", &[c, c], w)?;
        let y = self.case.graph.matmul(y, w)?;
        let host = self.parts.host("outputs", "out")?;
        let y = self.case.reshape(y, &host.shape)?;
        let values = host.numbers().map_err(Stop::Unsupported)?;
        let atol = RELATIVE * values.iter().fold(0.0, |most: f64, v| most.max(v.abs()));
        self.case.expect("fused.out", y, &host, Bound::Tolerance { rtol: 0.0, atol })
    }

    /// A state that is an input of the suite's, and what it must be in the end.
    fn state(
        &mut self,
        name: &str,
        from: &str,
        shape: &[usize],
        left: Vec<f64>,
        atol: f64,
    ) -> Built<ValueId> {
        let values = self.parts.host("inputs", from)?.numbers().map_err(Stop::Unsupported)?;
        let tensor = Tensor::from_f64(DType::F32, shape, &values)?;
        self.case.state(name, tensor, left, Bound::Tolerance { rtol: 0.0, atol })
    }
}
