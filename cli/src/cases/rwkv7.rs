//! The `rwkv7` suite: the recurrence, and the two blocks of a layer put together from ops.

use serde_json::Value;
use tachylite::op::Attr;
use tachylite::{DType, Tensor, ValueId};

use super::build::{Bound, Built, Case, Stop, unsupported, wrong};
use super::data::Data;
use super::quant::Parts;

mod fused;

/// How far off the blocks may be, relative to the largest result: what the suite suggests.
const RELATIVE: f64 = 1e-5;

/// Builds the graph of a case.
pub(super) fn build(case: &mut Case, data: &Data, json: &Value) -> Built<()> {
    let parts = Parts { data, json };
    match json.get("kind").and_then(Value::as_str).unwrap_or_default() {
        "wkv7" => recurrence(case, &parts),
        "rwkv7_time_mix" => time_mix(&mut Block { case, parts }),
        "rwkv7_channel_mix" => channel_mix(&mut Block { case, parts }),
        other => unsupported(format!("there is no op `{other}`")),
    }
}

/// The recurrence; where states in between are expected, in as many calls.
fn recurrence(case: &mut Case, parts: &Parts<'_>) -> Built<()> {
    let give = |case: &mut Case, name: &str| case.carried(name, &parts.host("inputs", name)?);
    let all = ["r", "w_raw", "k", "v", "a", "b"].map(|name| give(case, name));
    let [r, w, k, v, a, b] = all;
    let all = [r?, w?, k?, v?, a?, b?];
    let mut state = give(case, "state_in")?;
    let Some(&end) = case.shape(all[0]).get(1) else { return wrong("inputs.r: must have 4 axes") };
    let outputs = parts.json.get("outputs").and_then(Value::as_object);
    let after = |name: &String| name.strip_prefix("state_after_")?.parse::<usize>().ok();
    let mut cuts: Vec<usize> = outputs.into_iter().flat_map(|o| o.keys()).filter_map(after).collect();
    cuts.sort_unstable();
    cuts.push(end);
    let (mut from, mut y) = (0, None);
    for cut in cuts {
        if cut <= from && end > 0 || cut > end {
            return wrong(format!("outputs.state_after_{cut}: there are {end} positions"));
        }
        let mut part = all;
        if (from, cut) != (0, end) {
            for x in &mut part {
                *x = case.graph.slice(*x, 1, from, cut - from)?;
            }
        }
        let [r, w, k, v, a, b] = part;
        let (out, left) = case.graph.wkv7(r, w, k, v, a, b, state)?;
        let name = if cut == end { "state_out".to_owned() } else { format!("state_after_{cut}") };
        case.expect(&name, left, &parts.host("outputs", &name)?, Bound::Ours)?;
        y = Some(match y {
            None => out,
            Some(before) => case.graph.concat(&[before, out], 1)?,
        });
        (from, state) = (cut, left);
    }
    let Some(y) = y else { return wrong("no positions") };
    case.expect("y", y, &parts.host("outputs", "y")?, Bound::Ours)
}

/// A block with its tensors.
struct Block<'a> {
    case: &'a mut Case,
    parts: Parts<'a>,
}

impl Block<'_> {
    fn input(&mut self, name: &str) -> Built<ValueId> {
        // Outputs have names of their own.
        self.case.carried(&format!("{name}_in"), &self.parts.host("inputs", name)?)
    }

    fn weight(&mut self, name: &str) -> Built<ValueId> {
        let host = self.parts.host("inputs", name)?;
        let values = host.numbers().map_err(Stop::Unsupported)?;
        self.case.weight(name, Tensor::from_f64(DType::F32, &host.shape, &values)?)
    }

    /// x·W of a weight `[in, out]`, as products here have `[out, in]`.
    fn product(&mut self, x: ValueId, name: &str) -> Built<ValueId> {
        let host = self.parts.host("inputs", name)?;
        let &[k, n] = &host.shape[..] else { return wrong(format!("inputs.{name}: must have 2 axes")) };
        let values = host.numbers().map_err(Stop::Unsupported)?;
        let turned: Vec<f64> = (0..n * k).map(|i| values[i % k * n + i / k]).collect();
        let w = self.case.weight(name, Tensor::from_f64(DType::F32, &[n, k], &turned)?)?;
        Ok(self.case.graph.matmul(x, w)?)
    }

    fn linear(&mut self, x: ValueId, name: &str) -> Built<ValueId> {
        let w = self.weight(name)?;
        Ok(self.case.graph.matmul(x, w)?)
    }

    /// The product of two low ranks with something between them, and a bias after them.
    fn low_rank(
        &mut self,
        x: ValueId,
        names: [&str; 2],
        between: fn(&mut tachylite::Graph, ValueId) -> tachylite::Result<ValueId>,
        bias: Option<&str>,
    ) -> Built<ValueId> {
        let y = self.product(x, names[0])?;
        let y = between(&mut self.case.graph, y)?;
        let y = self.product(y, names[1])?;
        let Some(bias) = bias else { return Ok(y) };
        let bias = self.weight(bias)?;
        Ok(self.case.graph.add(y, bias)?)
    }

    /// x + (x one position before - x)·mix, for each of the mixes.
    fn shifted<const N: usize>(&mut self, x: ValueId, mixes: [&str; N]) -> Built<[ValueId; N]> {
        let &[t, width] = &self.case.shape(x)[..] else { return wrong("inputs.x: must have 2 axes") };
        let last = self.input("last_x")?;
        let last = self.case.reshape(last, &[1, width])?;
        let all = self.case.graph.concat(&[last, x], 0)?;
        let before = self.case.graph.slice(all, 0, 0, t)?;
        let step = self.case.graph.sub(before, x)?;
        let mut out = [x; N];
        for (y, mix) in out.iter_mut().zip(mixes) {
            let mix = self.weight(mix)?;
            let part = self.case.graph.mul(step, mix)?;
            *y = self.case.graph.add(x, part)?;
        }
        Ok(out)
    }

    /// Expects what the case has under a name, if it has it.
    fn out(&mut self, name: &str, id: ValueId) -> Built<()> {
        let Some(host) = self.parts.maybe("outputs", name)? else { return Ok(()) };
        let id = self.case.reshape(id, &host.shape)?;
        let values = host.numbers().map_err(Stop::Unsupported)?;
        let atol = RELATIVE * values.iter().fold(0.0, |most: f64, v| most.max(v.abs()));
        self.case.expect(name, id, &host, Bound::Tolerance { rtol: 0.0, atol })
    }
}

fn time_mix(b: &mut Block<'_>) -> Built<()> {
    let x = b.input("x")?;
    let state = b.input("state_in")?;
    let &[h, n, _] = &b.case.shape(state)[..] else { return wrong("inputs.state_in: must have 3 axes") };
    let t = b.case.shape(x)[0];
    let heads = [t, h, n];
    let [xr, xw, xk, xv, xa, xg] = b.shifted(x, ["x_r", "x_w", "x_k", "x_v", "x_a", "x_g"])?;
    let same = |_: &mut tachylite::Graph, y| Ok(y);

    let r = b.linear(xr, "receptance")?;
    b.out("r", r)?;
    let w = b.low_rank(xw, ["w1", "w2"], |g, y| g.tanh(y), Some("w0"))?;
    let w = b.case.graph.neg(w)?;
    let w = b.case.graph.softplus(w)?;
    let w = b.case.graph.neg(w)?;
    let w = b.case.graph.offset(w, Attr::F32(-0.5))?;
    b.out("w_raw", w)?;
    let a = b.low_rank(xa, ["a1", "a2"], same, Some("a0"))?;
    let a = b.case.graph.sigmoid(a)?;
    b.out("gate_a", a)?;
    let g = b.low_rank(xg, ["g1", "g2"], |g, y| g.sigmoid(y), None)?;
    b.out("g", g)?;

    let mut v = b.linear(xv, "value")?;
    let mut v_first = None;
    if b.parts.maybe("inputs", "v_first")?.is_some() {
        let first = b.input("v_first")?;
        v_first = Some(first);
        let gate = b.low_rank(xv, ["v1", "v2"], same, Some("v0_bias"))?;
        let gate = b.case.graph.sigmoid(gate)?;
        let step = b.case.graph.sub(first, v)?;
        let step = b.case.graph.mul(gate, step)?;
        v = b.case.graph.add(v, step)?;
    }
    b.out("v", v)?;
    let k = b.linear(xk, "key")?;
    let scale = b.weight("k_k")?;
    let kk = b.case.graph.mul(k, scale)?;
    let kk = b.case.reshape(kk, &heads)?;
    let kk = b.case.graph.l2_normalize(kk, b.parts.param("kk_norm_eps")? as f32)?;
    b.out("kk", kk)?;
    let less = b.case.graph.offset(a, Attr::F32(-1.0))?;
    let scale = b.weight("k_a")?;
    let less = b.case.graph.mul(less, scale)?;
    let less = b.case.graph.offset(less, Attr::F32(1.0))?;
    let k = b.case.graph.mul(k, less)?;
    b.out("k", k)?;

    // (S·a)·b is the same with both signs changed.
    let a = b.case.reshape(a, &heads)?;
    let back = b.case.graph.mul(kk, a)?;
    let back = b.case.graph.neg(back)?;
    let [r, w, k, v] = [r, w, k, v].map(|x| b.case.reshape(x, &heads));
    let [r, k, v] = [r?, k?, v?];
    let four = [r, w?, k, v, kk, back].map(|x| b.case.reshape(x, &[1, t, h, n]));
    let [r4, w4, k4, v4, kk4, back4] = four;
    let state = b.case.reshape(state, &[1, h, n, n])?;
    let (y, left) = b.case.graph.wkv7(r4?, w4?, k4?, v4?, kk4?, back4?, state)?;
    b.out("state_out", left)?;
    b.out("wkv", y)?;

    let y = read_out(b, y, [r, k, v], &heads)?;
    let g = b.case.reshape(g, &heads)?;
    let y = b.case.graph.mul(y, g)?;
    let y = b.case.reshape(y, &[t, h * n])?;
    let y = b.linear(y, "output")?;
    b.out("out", y)?;
    b.fused(x, v_first, &heads)
}

/// What was recalled, normalised head by head, and the bonus of the token itself.
fn read_out(b: &mut Block<'_>, y: ValueId, [r, k, v]: [ValueId; 3], heads: &[usize; 3]) -> Built<ValueId> {
    let &[_, h, n] = heads;
    let y = b.case.reshape(y, heads)?;
    let one = b.case.numbers("one", &[n], &vec![1.0; n])?;
    let none = b.case.numbers("none", &[n], &vec![0.0; n])?;
    let mut y = b.case.graph.layer_norm(y, one, none, b.parts.param("ln_x_eps")? as f32)?;
    let [scale, bias, bonus] = ["ln_x_w", "ln_x_b", "r_k"].map(|name| b.weight(name));
    let by_head = |b: &mut Block<'_>, w: ValueId| b.case.reshape(w, &[h, n]);
    let (scale, bias) = (by_head(b, scale?)?, by_head(b, bias?)?);
    y = b.case.graph.mul(y, scale)?;
    y = b.case.graph.add(y, bias)?;
    let same = b.case.graph.mul(r, k)?;
    let same = b.case.graph.mul(same, bonus?)?;
    let same = b.case.graph.sum(same, &[2], true)?;
    let same = b.case.graph.mul(v, same)?;
    Ok(b.case.graph.add(y, same)?)
}

fn channel_mix(b: &mut Block<'_>) -> Built<()> {
    let x = b.input("x")?;
    let [xk] = b.shifted(x, ["x_k"])?;
    let k = b.linear(xk, "key")?;
    let k = b.case.graph.relu(k)?;
    let k = b.case.graph.square(k)?;
    let y = b.linear(k, "value")?;
    b.out("out", y)
}
