//! Attention as suites mean it, from ops of ours: the fused op where it says what is meant, else its
//! parts. Who sees whom is worked out here, on the host, from whatever a suite says it with.

use tachylite::op::Attr;
use tachylite::ops::attention::{Attention, Reach};
use tachylite::{DType, Tensor, ValueId};

use super::build::{Built, Case, count, dims, wrong};
use super::data::MAX_ELEMENTS;

/// Lower than any score, and finite.
const LOW: f64 = -1e30;

/// One attention.
#[derive(Debug)]
pub(super) struct Attend {
    /// `[B, H, S, D]`.
    pub q: ValueId,
    /// `[B, G, T, D]`.
    pub k: ValueId,
    /// `[B, G, T, Dv]`.
    pub v: ValueId,
    /// What scores are multiplied by.
    pub scale: f64,
    /// c in c·tanh(score / c); 0 for none.
    pub softcap: f64,
    /// Who sees whom, and what is added to the scores.
    pub mask: Mask,
    /// A score of each head that goes with no key.
    pub sinks: Option<Vec<f64>>,
    /// How many keys before and after its own place a query sees, if that is bounded; the mask says so too.
    pub window: [Option<u32>; 2],
    /// What a key's score gains for each place further on, for each head; the mask's tilt is that.
    pub slopes: Option<Vec<f64>>,
}

/// Who sees whom.
#[derive(Debug, Clone)]
pub(super) struct Mask {
    /// `[B or 1, H or 1, S, T]`.
    pub shape: [usize; 4],
    /// Whether a query sees a key.
    pub visible: Vec<bool>,
    /// What is added to the score, where something is.
    pub bias: Option<Vec<f64>>,
    /// What slopes add to it besides.
    pub tilt: Option<Vec<f64>>,
}

/// What comes out.
#[derive(Debug)]
pub(super) struct Attended {
    /// `[B, H, S, Dv]`.
    pub o: ValueId,
    /// `[B, H, S]`, if it was asked for.
    pub lse: Option<ValueId>,
    /// `[B, H, S, T]`: scores scaled, then capped, then masked, then softmax; if they were made.
    pub stages: Option<[ValueId; 4]>,
}

impl Mask {
    /// A mask over all of a shape.
    pub fn new(shape: [usize; 4], see: impl Fn([usize; 4]) -> bool) -> Built<Self> {
        if count(&shape) > MAX_ELEMENTS {
            return wrong(format!("attention: a mask over {shape:?} is too large"));
        }
        let [_, h, s, t] = shape;
        let at = |i: usize| [i / (h * s * t), i / (s * t) % h, i / t % s, i % t];
        let visible = (0..shape.iter().product()).map(|i| see(at(i))).collect();
        Ok(Self { shape, visible, bias: None, tilt: None })
    }

    /// A number for each pair, told whether the query sees the key.
    pub fn each(&self, number: impl Fn([usize; 4], bool) -> f64) -> Vec<f64> {
        let [_, h, s, t] = self.shape;
        let at = |i: usize| [i / (h * s * t), i / (s * t) % h, i / t % s, i % t];
        self.visible.iter().enumerate().map(|(i, seen)| number(at(i), *seen)).collect()
    }

    fn hides(&self) -> bool {
        self.visible.iter().any(|v| !v)
    }

    /// Behind which key no query of a batch sees anything: what lies there may be anything.
    fn lengths(&self) -> Vec<usize> {
        let [b, h, s, t] = self.shape;
        let end = |row: usize| {
            let row = &self.visible[row * t..(row + 1) * t];
            row.iter().rposition(|v| *v).map_or(0, |last| last + 1)
        };
        (0..b).map(|b| (b * h * s..(b + 1) * h * s).map(end).max().unwrap_or(0)).collect()
    }

    /// Whether lengths and a window around where queries stand, if there is one, say all that the mask says about
    /// who sees whom.
    fn is(&self, lengths: &[usize], reach: Option<Reach>, [left, right]: [Option<u32>; 2]) -> bool {
        let [b, h, s, t] = self.shape;
        (0..b * h * s).all(|row| {
            let length = lengths[row / (h * s)];
            let away = |key: usize| self.away(row, key, length, reach.unwrap_or_default());
            let within = |key: usize| {
                let [left, right] = [left, right].map(|n| n.map_or(i64::MAX, i64::from));
                reach.is_none() || away(key) >= -left && away(key) <= right
            };
            let sees = |key: usize| key < length && within(key);
            self.visible[row * t..(row + 1) * t].iter().enumerate().all(|(key, v)| *v == sees(key))
        })
    }

    /// How much further on than a row's query a key lies.
    fn away(&self, row: usize, key: usize, length: usize, reach: Reach) -> i64 {
        let [_, _, s, t] = self.shape;
        let last = match reach {
            Reach::Keys => t,
            Reach::Queries => s,
            Reach::Lengths => length,
        };
        (key + s) as i64 - (row % s + last) as i64
    }

    /// Whether slopes say what the tilt says, if there are some.
    fn slopes(&self, lengths: &[usize], reach: Option<Reach>, slopes: &Option<Vec<f64>>) -> bool {
        let (Some(slopes), Some(tilt), Some(reach)) = (slopes, &self.tilt, reach) else {
            return slopes.is_none();
        };
        let [_, h, s, t] = self.shape;
        let says = |i: usize| {
            let row = i / t;
            slopes[row / s % h] * self.away(row, i % t, lengths[row / (h * s)], reach) as f64
        };
        (0..tilt.len()).all(|i| !self.visible[i] || tilt[i] == says(i))
    }
}

/// Builds it. `lse` and `stages` say what is wanted besides `o`.
pub(super) fn attend(case: &mut Case, a: &Attend, lse: bool, stages: bool) -> Built<Attended> {
    let (q, k, v) = (case.shape(a.q), case.shape(a.k), case.shape(a.v));
    let (&[b, h, s, d], &[kb, g, t, kd], &[vb, vg, vt, dv]) = (&q[..], &k[..], &v[..]) else {
        return wrong("attention: q, k and v must have 4 axes");
    };
    let fits = kb == b && vb == b && kd == d && vg == g && vt == t && g > 0 && h % g == 0;
    if !fits || a.mask.shape[2..] != [s, t] {
        return wrong(format!("attention: q is {q:?}, k is {k:?}, v is {v:?}: they do not go together"));
    }
    if !stages {
        return fused(case, a, lse, [b, h]);
    }
    composed(case, a, lse, [b, h, g, s, t, d, dv])
}

/// One op.
fn fused(case: &mut Case, a: &Attend, lse: bool, [batch, heads]: [usize; 2]) -> Built<Attended> {
    let [q, k, v] = [case.swap(a.q, 1, 2)?, case.swap(a.k, 1, 2)?, case.swap(a.v, 1, 2)?];
    let softcap = Some(a.softcap as f32).filter(|c| *c != 0.0);
    let mut how = Attention { scale: Some(a.scale as f32), softcap, ..Attention::default() };
    let ends = a.mask.lengths();
    if ends.iter().any(|end| *end < a.mask.shape[3]) {
        let each = |i: usize| ends[if ends.len() == 1 { 0 } else { i }] as u32;
        let lengths: Vec<u32> = (0..batch).map(each).collect();
        how.lengths = Some(case.given("lengths", Tensor::from_u32(&[batch], &lengths)?)?);
    }
    let of_heads = |case: &mut Case, name: &str, values: &Option<Vec<f64>>| -> Built<Option<ValueId>> {
        let Some(values) = values else { return Ok(None) };
        if values.len() != heads {
            return wrong(format!("attention: {} {name} for {heads} heads", values.len()));
        }
        Ok(Some(case.given(name, Tensor::from_f64(DType::F32, &[heads], values)?)?))
    };
    how.sinks = of_heads(case, "sinks", &a.sinks)?;
    let reaches = [Reach::Keys, Reach::Queries, Reach::Lengths].map(Some);
    let causal = [None].into_iter().chain(reaches).map(|reach| (reach, [None, Some(0)]));
    let ways = causal.chain(reaches.into_iter().map(|reach| (reach, a.window)));
    let fits = |(reach, window): &(Option<Reach>, [Option<u32>; 2])| {
        a.mask.slopes(&ends, *reach, &a.slopes) && a.mask.is(&ends, *reach, *window)
    };
    let way = { ways }.find(fits);
    if let Some((Some(reach), [left, right])) = way {
        (how.reach, how.left, how.right) = (reach, left, right);
        how.slopes = of_heads(case, "slopes", &a.slopes)?;
    }
    let tilt = a.mask.tilt.as_ref().filter(|_| how.slopes.is_none());
    let bias = match (&a.mask.bias, tilt) {
        (Some(bias), Some(tilt)) => Some(bias.iter().zip(tilt).map(|(b, t)| b + t).collect()),
        (bias, tilt) => bias.as_ref().or(tilt).cloned(),
    };
    let added = match (&bias, way) {
        (bias, Some(_)) => bias.clone(),
        (None, None) => Some(a.mask.each(|_, seen| if seen { 0.0 } else { f64::NEG_INFINITY })),
        (Some(bias), None) => {
            let hide = |(bias, seen): (&f64, &bool)| if *seen { *bias } else { f64::NEG_INFINITY };
            Some(bias.iter().zip(&a.mask.visible).map(hide).collect())
        }
    };
    if let Some(added) = added {
        how.mask = Some(case.numbers("mask", &a.mask.shape, &added)?);
    }
    let (o, lse) = if lse {
        let (o, lse) = case.graph.attention_lse(q, k, v, how)?;
        (o, Some(lse))
    } else {
        (case.graph.attention(q, k, v, how)?, None)
    };
    Ok(Attended { o: case.swap(o, 1, 2)?, lse, stages: None })
}

/// Products, softmax, products.
fn composed(case: &mut Case, a: &Attend, lse: bool, sizes: [usize; 7]) -> Built<Attended> {
    let [b, h, g, s, t, d, dv] = sizes;
    let full = [b, h, s, t];
    // Every query head gets its keys.
    let spread = |case: &mut Case, x: ValueId, width: usize| -> Built<ValueId> {
        let x = case.reshape(x, &[b, g, 1, t, width])?;
        let x = case.graph.expand(x, &dims(&[b, g, h / g, t, width]))?;
        case.reshape(x, &[b * h, t, width])
    };
    let q = case.reshape(a.q, &[b * h, s, d])?;
    let (k, v) = (spread(case, a.k, d)?, spread(case, a.v, dv)?);
    let scores = case.graph.matmul(q, k)?;
    let scores = case.graph.scale(scores, Attr::F32(a.scale as f32))?;
    let scaled = case.reshape(scores, &full)?;
    let capped = if a.softcap == 0.0 {
        scaled
    } else {
        let y = case.graph.scale(scaled, Attr::F32((1.0 / a.softcap) as f32))?;
        let y = case.graph.tanh(y)?;
        case.graph.scale(y, Attr::F32(a.softcap as f32))?
    };
    let mut masked = capped;
    if let Some(bias) = &a.mask.bias {
        let bias = case.numbers("bias", &a.mask.shape, bias)?;
        masked = case.graph.add(masked, bias)?;
    }
    let seen = if a.mask.hides() { Some(visible(case, &a.mask)?) } else { None };
    let hide = |case: &mut Case, x: ValueId, name: &str, by: f64| -> Built<ValueId> {
        let Some([each, _]) = seen else { return Ok(x) };
        let by = case.numbers(name, &[1], &[by])?;
        Ok(case.graph.select(each, x, by)?)
    };
    let hidden = hide(case, masked, "low", LOW)?;
    let (mut weights, with_sink) = softmax(case, a, hidden, full)?;
    if let Some([each, _]) = seen {
        weights = case.graph.mul(weights, each)?;
    }
    let p = case.reshape(weights, &[b * h, s, t])?;
    let v = case.swap(v, 1, 2)?;
    let o = case.graph.matmul(p, v)?;
    let o = case.reshape(o, &[b, h, s, dv])?;
    let lse = if lse { Some(log_sum_exp(case, with_sink, seen.map(|s| s[1]), full)?) } else { None };
    let shown = hide(case, masked, "hidden", f64::NEG_INFINITY)?;
    Ok(Attended { o, lse, stages: Some([scaled, capped, shown, weights]) })
}

/// 1 where a query sees a key, and where it sees any.
fn visible(case: &mut Case, mask: &Mask) -> Built<[ValueId; 2]> {
    let [b, h, s, t] = mask.shape;
    let number = |v: bool| f64::from(u8::from(v));
    let each: Vec<f64> = mask.visible.iter().map(|v| number(*v)).collect();
    let any: Vec<f64> = mask.visible.chunks(t.max(1)).map(|row| number(row.contains(&true))).collect();
    Ok([case.numbers("visible", &mask.shape, &each)?, case.numbers("sees_any", &[b, h, s, 1], &any)?])
}

/// Softmax over the keys, and over the sink if there is one, whose weight goes nowhere. Also the
/// scores with the sink.
fn softmax(case: &mut Case, a: &Attend, scores: ValueId, full: [usize; 4]) -> Built<(ValueId, ValueId)> {
    let [b, h, s, t] = full;
    let Some(sinks) = &a.sinks else { return Ok((case.graph.softmax(scores, 3)?, scores)) };
    if sinks.len() != h {
        return wrong(format!("attention: {} sinks for {h} heads", sinks.len()));
    }
    let sinks = case.given("sinks", Tensor::from_f64(DType::F32, &[1, h, 1, 1], sinks)?)?;
    let sinks = case.graph.expand(sinks, &dims(&[b, h, s, 1]))?;
    let all = case.graph.concat(&[scores, sinks], 3)?;
    let weights = case.graph.softmax(all, 3)?;
    Ok((case.graph.slice(weights, 3, 0, t)?, all))
}

/// The natural logarithm of Σ exp(score), sinks and all; -∞ where no key is seen.
fn log_sum_exp(
    case: &mut Case,
    scores: ValueId,
    sees_any: Option<ValueId>,
    full: [usize; 4],
) -> Built<ValueId> {
    let [b, h, s, _] = full;
    let mut y = log_sum(case, scores, 3)?;
    if let Some(any) = sees_any {
        let none = case.numbers("nothing", &[1], &[f64::NEG_INFINITY])?;
        y = case.graph.select(any, y, none)?;
    }
    case.reshape(y, &[b, h, s])
}

/// ln Σ exp(x) along an axis, which is kept: log-softmax is x minus that, so the largest of both differ
/// by it.
pub(super) fn log_sum(case: &mut Case, x: ValueId, axis: usize) -> Built<ValueId> {
    let largest = case.graph.max(x, &[axis], true)?;
    let below = case.graph.log_softmax(x, axis)?;
    let below = case.graph.max(below, &[axis], true)?;
    Ok(case.graph.sub(largest, below)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CAUSAL: [Option<u32>; 2] = [None, Some(0)];

    #[test]
    fn lengths_and_causality_are_recognised_and_other_masks_are_not() {
        let keys = Mask::new([1, 1, 3, 5], |[_, _, s, t]| t <= s + 2).unwrap();
        assert_eq!(keys.lengths(), [5]);
        assert!(
            keys.is(&[5], Some(Reach::Keys), CAUSAL)
                && !keys.is(&[5], Some(Reach::Queries), CAUSAL)
                && !keys.is(&[5], None, CAUSAL)
        );
        let queries = Mask::new([1, 1, 3, 5], |[_, _, s, t]| t <= s).unwrap();
        assert_eq!(queries.lengths(), [3]);
        assert!(
            queries.is(&[3], Some(Reach::Queries), CAUSAL) && !queries.is(&[3], Some(Reach::Keys), CAUSAL)
        );
        let lengths = Mask::new([2, 1, 1, 5], |[b, _, _, t]| t < 2 * b + 1).unwrap();
        assert_eq!(lengths.lengths(), [1, 3]);
        assert!(lengths.is(&[1, 3], None, CAUSAL) && lengths.is(&[1, 3], Some(Reach::Lengths), CAUSAL));
        let window = Mask::new([1, 1, 4, 4], |[_, _, s, t]| t <= s && t + 1 >= s).unwrap();
        let ways = [None, Some(Reach::Keys), Some(Reach::Queries), Some(Reach::Lengths)];
        assert!(ways.into_iter().all(|way| !window.is(&[4], way, CAUSAL)));
        let nothing = Mask::new([1, 1, 2, 3], |_| false).unwrap();
        assert!(nothing.lengths() == [0] && nothing.is(&[0], None, CAUSAL));
    }

    #[test]
    fn what_does_not_go_together_is_named() {
        let mut case = Case::default();
        let mut give = |name: &str, shape: [usize; 4]| {
            case.numbers(name, &shape, &vec![0.0; shape.iter().product()]).unwrap()
        };
        let (q, k, v) = (give("q", [1, 3, 2, 8]), give("k", [1, 2, 4, 8]), give("v", [1, 2, 4, 8]));
        let mask = Mask::new([1, 1, 2, 4], |_| true).unwrap();
        assert!(Mask::new([1, 1, 1 << 20, 1 << 20], |_| true).is_err());
        let a =
            Attend { q, k, v, scale: 1.0, softcap: 0.0, mask, sinks: None, window: [None; 2], slopes: None };
        let stop = attend(&mut case, &a, false, false).unwrap_err();
        assert_eq!(
            stop,
            crate::cases::build::Stop::Wrong(
                "attention: q is [1, 3, 2, 8], k is [1, 2, 4, 8], v is [1, 2, 4, 8]: they do not go together"
                    .into()
            )
        );
    }
}
