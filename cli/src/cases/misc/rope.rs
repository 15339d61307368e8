//! Rotary embeddings: exact angles, plain, partial and stretched.

use serde_json::Value;
use tachylite::Tensor;
use tachylite::ops::rope::{Positions, Rope};

use crate::cases::build::{Bound, Built, Case, Stop, unsupported, wrong};
use crate::cases::quant::Parts;

/// How far our frequencies may be from those of whoever made the cases, relatively: both are f64.
const FREQUENCY: f64 = 1e-14;

/// Builds the graph of a case, whose heads lie outside its tokens.
pub(super) fn build(case: &mut Case, parts: &Parts<'_>) -> Built<()> {
    let rope = rope(parts)?;
    let expected = parts.host("outputs", "inv_freq")?.numbers().map_err(Stop::Unsupported)?;
    let near = |(own, want): (&f64, &f64)| (own - want).abs() <= FREQUENCY * want;
    if rope.frequencies().len() != expected.len() || !rope.frequencies().iter().zip(&expected).all(near) {
        return wrong(format!("frequencies {:?}, but {expected:?} are expected", rope.frequencies()));
    }
    let x = case.carried("x", &parts.host("inputs", "x")?)?;
    let x = case.swap(x, 1, 2)?;
    let positions = parts.host("inputs", "positions")?;
    let words: Vec<u32> = positions.indices().map_err(Stop::Wrong)?.into_iter().map(|p| p as u32).collect();
    let positions = case.given("positions", Tensor::from_u32(&positions.shape, &words)?)?;
    let turns = rope.weight(&mut case.graph, "turns")?;
    case.tensors.insert("turns".into(), rope.tensor()?);
    let y = case.graph.rope(x, turns, &rope, Positions::Given(positions))?;
    let y = case.swap(y, 1, 2)?;
    case.expect("out", y, &parts.host("outputs", "out")?, Bound::Ours)
}

fn rope(parts: &Parts<'_>) -> Built<Rope> {
    let scaling = parts.json["params"]["scaling"].clone();
    let number = |name: &str| match scaling.get(name).and_then(Value::as_f64) {
        Some(n) => Ok(n),
        None => wrong(format!("params.scaling.{name}: must be a number")),
    };
    let rope = Rope::new(parts.param("rotary_dim")? as usize, parts.param("base")?);
    let rope = match scaling.get("type").and_then(Value::as_str) {
        None => rope,
        Some("linear") => rope.linear(number("factor")?),
        Some("llama3") => {
            let turns = (number("low_freq_factor")?, number("high_freq_factor")?);
            rope.llama3(number("factor")?, turns, number("original_max_position")?)
        }
        Some("yarn") => {
            let turns = (number("beta_fast")?, number("beta_slow")?);
            rope.yarn(number("factor")?, turns, number("original_max_position")?)
        }
        Some(other) => return unsupported(format!("scaling {other}")),
    };
    let scale = parts.param("attention_factor")?;
    if (f64::from(rope.scale) - scale).abs() > 1e-6 {
        return wrong(format!("attention_factor = {scale}, but ours is {}", rope.scale));
    }
    match parts.json["params"]["style"].as_str() {
        Some("neox") => Ok(rope),
        Some("interleaved") => Ok(rope.neighbours()),
        other => wrong(format!("params.style: {other:?}")),
    }
}
