//! The probes: measured, as a table, as JSON.

use serde_json::{Value, json};
use tachylite::Gpu;
use tachylite::gpu::{Effort, Reading, Watch};
use tachylite::probe::Unit;

/// Measures all probes, telling on stderr which.
pub(super) fn read(gpu: &Gpu, effort: &Effort) -> Result<Vec<Reading>, String> {
    gpu.probe(effort, &mut |reading| eprintln!("measured {}", reading.name)).map_err(|e| e.to_string())
}

/// A line each.
pub(super) fn table(readings: &[Reading]) -> String {
    let mut out = String::new();
    for r in readings {
        let value = match &r.value {
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

/// A number with its unit, in thousands.
pub(super) fn quantity(of: Unit, value: f64) -> String {
    if of == Unit::Seconds {
        return seconds(value);
    }
    let name = match of {
        Unit::Flops => "FLOP/s",
        Unit::Bytes => "B/s",
        _ => "/s",
    };
    let steps = [(1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")];
    let (step, prefix) = steps.into_iter().find(|(step, _)| value >= *step).unwrap_or((1.0, ""));
    format!("{:.2} {prefix}{name}", value / step)
}

/// A time in the unit that suits it.
pub(super) fn seconds(value: f64) -> String {
    match value {
        v if v >= 1.0 => format!("{v:.3} s"),
        v if v >= 1e-3 => format!("{:.3} ms", v * 1e3),
        v => format!("{:.2} µs", v * 1e6),
    }
}
