//! The probes: measured, as a table, as JSON.

use serde_json::{Value, json};
use tachylite::Gpu;
use tachylite::bench::Reached;
use tachylite::bench::text::quantity;
use tachylite::gpu::{Effort, Reading, Watch};
use tachylite::probe::Unit;

use crate::note;

/// Measures all probes, telling on stderr which.
pub(super) fn read(gpu: &Gpu, effort: &Effort) -> Result<Vec<Reading>, String> {
    let mut tell = |reading: &Reading| note(&format!("measured {}\n", reading.name));
    gpu.probe(effort, &mut tell).map_err(|e| e.to_string())
}

/// As the file of a bench keeps it.
pub(super) fn reached(r: &Reading) -> Reached {
    let (value, why_not) = (r.value.as_ref().ok().copied(), r.value.as_ref().err().cloned());
    Reached { name: r.name.into(), unit: r.unit, value, why_not }
}

/// A line each.
pub(super) fn table(readings: &[Reading]) -> String {
    let mut out = String::new();
    for r in readings {
        let value = match &r.value {
            Ok(value) if r.unit == Unit::Seconds && *value == 0.0 => "too short to tell".to_owned(),
            Ok(value) => {
                let best = quantity(r.unit, r.best);
                let clock = if r.watch == Watch::Timestamps { "timestamps" } else { "wall clock" };
                format!(
                    "{:>16}  best {best:>14}  ±{:.1} %, {clock}",
                    quantity(r.unit, *value),
                    r.noise * 100.0
                )
            }
            Err(why) => format!("not measured: {why}"),
        };
        let name = r.name.trim_start_matches("probe.");
        out.push_str(&format!("  {name:<12} {:<32} {value}\n", r.what));
    }
    out
}

pub(super) fn to_json(r: &Reading) -> Value {
    json!({
        "name": r.name,
        "what": r.what,
        "unit": unit(r.unit),
        "value": r.value.as_ref().ok(),
        "best": if r.best.is_finite() { Some(r.best) } else { None },
        "noise": if r.noise.is_finite() { Some(r.noise) } else { None },
        "why_not": r.value.as_ref().err(),
        "clock": match &r.watch {
            Watch::Timestamps => "timestamps".to_owned(),
            Watch::Wall(why) => format!("wall clock: {why}"),
        },
    })
}

fn unit(unit: Unit) -> &'static str {
    match unit {
        Unit::Flops => "flop/s",
        Unit::Bytes => "B/s",
        Unit::Items => "1/s",
        Unit::Seconds => "s",
    }
}
