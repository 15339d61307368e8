//! The `attention` suite: softmax(q·kᵀ)·v with everything that is asked of it.

use serde_json::Value;
use tachylite::ops::attention::{Attention, Reach};
use tachylite::{Tensor, ValueId};

use super::attend::{Attend, Attended, Mask, attend};
use super::build::{Bound, Built, Case, Stop, unsupported, wrong};
use super::data::Data;
use super::quant::Parts;

/// Builds the graph of a case.
pub(super) fn build(case: &mut Case, data: &Data, json: &Value) -> Built<()> {
    let parts = Parts { data, json };
    case.keeps_nan = true;
    match json.get("kind").and_then(Value::as_str).unwrap_or_default() {
        "sdpa" => dense(case, &parts),
        "varlen" => packed(case, &parts),
        "paged_decode" => paged(case, &parts),
        other => unsupported(format!("there is no op `{other}`")),
    }
}

/// The parameters that every kind has.
struct Params {
    scale: f64,
    softcap: f64,
    causal: bool,
    left: f64,
    right: f64,
}

impl Params {
    fn new(parts: &Parts<'_>) -> Built<Self> {
        Ok(Self {
            scale: parts.param("scale")?,
            softcap: parts.param("softcap")?,
            causal: parts.param("causal")? != 0.0,
            left: parts.param("window_left")?,
            right: parts.param("window_right")?,
        })
    }

    /// How many keys before and after its own place a query sees.
    fn window(&self) -> [Option<u32>; 2] {
        let side = |n: f64| (n >= 0.0).then_some(n as u32);
        [side(self.left), if self.causal { Some(0) } else { side(self.right) }]
    }

    /// Whether a query that stands at `at` among the keys sees one of them.
    fn sees(&self, at: i64, key: usize) -> bool {
        let away = key as f64 - at as f64;
        (!self.causal || away <= 0.0)
            && (self.left < 0.0 || away >= -self.left)
            && (self.right < 0.0 || away <= self.right)
    }
}

/// Queries, keys or values.
fn rows(case: &mut Case, parts: &Parts<'_>, name: &str) -> Built<ValueId> {
    let host = parts.host("inputs", name)?;
    case.carried(&format!("{name}_in"), &host)
}

fn optional(parts: &Parts<'_>, name: &str) -> Built<Option<Vec<f64>>> {
    let host = parts.maybe("inputs", name)?;
    host.map(|h| h.numbers().map_err(Stop::Unsupported)).transpose()
}

fn expect(case: &mut Case, parts: &Parts<'_>, o: ValueId, lse: ValueId) -> Built<()> {
    for (name, id) in [("o", o), ("lse", lse)] {
        case.expect(name, id, &parts.host("outputs", name)?, Bound::Ours)?;
    }
    Ok(())
}

/// Both outputs of an attention that was asked for both.
fn both(done: &Attended) -> Built<(ValueId, ValueId)> {
    match done.lse {
        Some(lse) => Ok((done.o, lse)),
        None => unsupported("log-sum-exp"),
    }
}

fn dense(case: &mut Case, parts: &Parts<'_>) -> Built<()> {
    let params = Params::new(parts)?;
    let lengths = optional(parts, "kv_len")?;
    let q = rows(case, parts, "q")?;
    let (k, v) = (rows(case, parts, "k")?, rows(case, parts, "v")?);
    let (&[b, h, s, _], &[_, _, t, _]) = (&case.shape(q)[..], &case.shape(k)[..]) else {
        return wrong("q and k must have 4 axes");
    };
    let offsets = optional(parts, "causal_offset")?;
    let length = |b: usize| lengths.as_ref().map_or(t, |l| l.get(b).map_or(0, |n| n.min(1e9) as usize));
    let offset = |b: usize| match &offsets {
        Some(o) => o.get(b).or(o.first()).map_or(0, |o| o.clamp(-1e9, 1e9) as i64),
        None => length(b) as i64 - s as i64,
    };
    let given = parts.maybe("inputs", "mask")?;
    let slopes = optional(parts, "slopes")?;
    let added = match &given {
        Some(host) => Some((host.shape.clone(), host.numbers().map_err(Stop::Unsupported)?)),
        None => None,
    };
    let batches = if lengths.is_some() || offsets.is_some() { b } else { 1 };
    let (mut batches, mut heads) = (batches, if slopes.is_some() { h } else { 1 });
    if let Some((shape, _)) = &added {
        let [mb, mh, ms, mt] = shape[..] else { return wrong("mask: must have 4 axes") };
        if (mb != 1 && mb != b) || (mh != 1 && mh != h) || (ms != 1 && ms != s) || (mt != 1 && mt != t) {
            return wrong(format!("mask is {shape:?}, but there are {s} queries and {t} keys"));
        }
        (batches, heads) = (batches.max(mb), heads.max(mh));
    }
    let adds = |[b, h, s, t]: [usize; 4]| {
        let Some((shape, values)) = &added else { return 0.0 };
        let place = |i: usize, axis: usize| if shape[axis] == 1 { 0 } else { i };
        let row = (place(b, 0) * shape[1] + place(h, 1)) * shape[2] + place(s, 2);
        values[row * shape[3] + place(t, 3)]
    };
    let tilts = |[b, h, s, t]: [usize; 4]| {
        let slope = slopes.as_ref().map_or(0.0, |l| l.get(h).copied().unwrap_or(0.0));
        slope * (t as f64 - (s as i64 + offset(b)) as f64)
    };
    let mut mask = Mask::new([batches, heads, s, t], |i| {
        i[3] < length(i[0]) && params.sees(i[2] as i64 + offset(i[0]), i[3]) && adds(i) != f64::NEG_INFINITY
    })?;
    mask.bias = added.is_some().then(|| mask.each(|i, seen| if seen { adds(i) } else { 0.0 }));
    mask.tilt = slopes.is_some().then(|| mask.each(|i, seen| if seen { tilts(i) } else { 0.0 }));
    let sinks = optional(parts, "sinks")?;
    let (window, Params { scale, softcap, .. }) = (params.window(), params);
    let a = Attend { q, k, v, scale, softcap, mask, sinks, window, slopes };
    let done = attend(case, &a, true, false)?;
    let (o, lse) = both(&done)?;
    expect(case, parts, o, lse)
}

/// Sequences one behind the other, each attended to by itself.
fn packed(case: &mut Case, parts: &Parts<'_>) -> Built<()> {
    let params = Params::new(parts)?;
    let bounds = |name: &str| -> Built<Vec<usize>> {
        let list = parts.host("inputs", name)?.indices().map_err(Stop::Wrong)?;
        let list: Vec<usize> = list.into_iter().map(|n| usize::try_from(n).unwrap_or(usize::MAX)).collect();
        if list.is_empty() || !list.is_sorted() {
            wrong(format!("{name}: must not descend"))
        } else {
            Ok(list)
        }
    };
    let (q_bounds, k_bounds) = (bounds("cu_seqlens_q")?, bounds("cu_seqlens_k")?);
    if q_bounds.len() != k_bounds.len() {
        return wrong("cu_seqlens_q and cu_seqlens_k are not of one length");
    }
    let [q, k, v] = [rows(case, parts, "q")?, rows(case, parts, "k")?, rows(case, parts, "v")?];
    let (mut os, mut lses) = (Vec::new(), Vec::new());
    for (n, (q_ends, k_ends)) in q_bounds.windows(2).zip(k_bounds.windows(2)).enumerate() {
        let (s, t) = (q_ends[1] - q_ends[0], k_ends[1] - k_ends[0]);
        if s == 0 {
            continue;
        }
        let mut part = |x: ValueId, start: usize, len: usize| -> Built<ValueId> {
            let x = case.graph.slice(x, 0, start, len)?;
            let [rows, heads, width] = case.shape(x)[..] else { return wrong("q, k and v must have 3 axes") };
            let x = case.reshape(x, &[1, rows, heads, width])?;
            case.swap(x, 1, 2)
        };
        let [q, k, v] = [part(q, q_ends[0], s)?, part(k, k_ends[0], t)?, part(v, k_ends[0], t)?];
        let behind = t as i64 - s as i64;
        let mask = Mask::new([1, 1, s, t], |[_, _, s, t]| params.sees(s as i64 + behind, t))?;
        let Params { scale, softcap, .. } = params;
        let window = params.window();
        let a = Attend { q, k, v, scale, softcap, mask, sinks: None, window, slopes: None };
        let (o, lse) = both(&attend(case.part(n), &a, true, false)?)?;
        let o = case.swap(o, 1, 2)?;
        let [_, s, h, d] = case.shape(o)[..] else { return wrong("the result has not 4 axes") };
        os.push(case.reshape(o, &[s, h, d])?);
        let lse = case.swap(lse, 1, 2)?;
        lses.push(case.reshape(lse, &[s, h])?);
    }
    let (o, lse) = (case.graph.concat(&os, 0)?, case.graph.concat(&lses, 0)?);
    expect(case, parts, o, lse)
}

/// One query over keys that lie in blocks, which a table names.
fn paged(case: &mut Case, parts: &Parts<'_>) -> Built<()> {
    let params = Params::new(parts)?;
    let q = rows(case, parts, "q")?;
    let (k, v) = (rows(case, parts, "k_cache")?, rows(case, parts, "v_cache")?);
    let table = parts.host("inputs", "block_table")?;
    let lengths = parts.host("inputs", "seq_lens")?.indices().map_err(Stop::Wrong)?;
    let &[b, blocks] = &table.shape[..] else { return wrong("block_table must have 2 axes") };
    // Unused entries are -1, which is no page. Nothing is appended, so that it does not matter where that begins.
    let entries: Vec<u32> = table.indices().map_err(Stop::Wrong)?.into_iter().map(|i| i as u32).collect();
    let entries: Vec<u32> = entries.chunks(blocks.max(1)).flat_map(|row| [&[0], row].concat()).collect();
    let lengths: Vec<u32> = lengths.into_iter().map(|n| n.clamp(0, 1 << 31) as u32).collect();
    let [left, right] = params.window();
    let how = Attention {
        pages: Some(case.given("pages", Tensor::from_u32(&[b, 1 + blocks], &entries)?)?),
        lengths: Some(case.given("lengths", Tensor::from_u32(&[lengths.len()], &lengths)?)?),
        reach: Reach::Lengths,
        left,
        right,
        softcap: Some(params.softcap as f32).filter(|c| *c != 0.0),
        scale: Some(params.scale as f32),
        ..Attention::default()
    };
    let q = case.swap(q, 1, 2)?;
    let (o, lse) = case.graph.attention_lse(q, k, v, how)?;
    let o = case.swap(o, 1, 2)?;
    expect(case, parts, o, lse)
}
