//! Rows of a bench as lines for people, and as CSV.

use crate::bench::{Change, Outcome, Row, Timed, Verdict};
use crate::probe::Unit;

/// The columns of [`line()`].
pub const COLUMNS: &str = "    kernel                 heat               median        min        p90      \
                           MAD           rate  of probe             error  bits";
/// The columns of [`csv`].
pub const CSV_COLUMNS: &str = "group,op,kernel,shape,case,heat,checks,chosen,status,median_s,min_s,p90_s,mad_s,\
                               samples,repeats,clock,flop_per_s,byte_per_s,probe,of_probe,error,bits,why";

/// A row in a line, without its shape: `*` marks what a plan would take.
pub fn line(row: &Row) -> String {
    let mark = if row.chosen { "*" } else { " " };
    let heat = format!("{}{}", heat(row), if row.trusted { " unchecked" } else { "" });
    let head = format!("  {mark} {:<22} {heat:<14}", row.kernel);
    let t = match &row.outcome {
        Outcome::Timed(t) => t,
        Outcome::Wrong(why) => return format!("{head}  WRONG: {why}"),
        Outcome::Unable(why) => return format!("{head}  not measured: {why}"),
    };
    let (s, (rate, unit)) = (t.samples(), t.rate());
    let mad = format!("{:.1} %", 100.0 * s.mad() / s.median());
    let times: String = [s.median(), s.min(), s.p90()].map(|t| format!(" {:>10}", seconds(t))).concat();
    let rest = format!(
        "{:>14}  {:<20} {:.3}  {}",
        quantity(unit, rate),
        of_probe(t),
        t.error,
        t.bits.get(..8).unwrap_or(&t.bits)
    );
    let clock = if t.clock == "timestamps" { "" } else { "  (wall clock)" };
    format!("{head}{times} {mad:>8} {rest}{clock}")
}

fn heat(row: &Row) -> &'static str {
    if row.cold { "cold" } else { "warm" }
}

/// `81 % of read`.
fn of_probe(t: &Timed) -> String {
    match (t.fraction(), &t.beside) {
        (Some(f), Some(b)) => format!("{:.0} % of {}", f * 100.0, b.probe.trim_start_matches("probe.")),
        _ => "no probe".into(),
    }
}

/// A row as a line of CSV, in the order of [`CSV_COLUMNS`]; what is not there is empty.
pub fn csv(row: &Row) -> String {
    let text = |s: &str| format!("\"{}\"", s.replace('"', "\"\"").replace(['\n', '\r'], " "));
    let checks = if row.trusted { "off" } else { "on" };
    let (status, why) = match &row.outcome {
        Outcome::Timed(_) => ("timed", ""),
        Outcome::Wrong(why) => ("wrong", why.as_str()),
        Outcome::Unable(why) => ("unable", why.as_str()),
    };
    let mut fields: Vec<String> =
        [&row.group, &row.op, &row.kernel, &row.shape, &row.case].map(|s| text(s)).into();
    fields.extend([heat(row), checks, if row.chosen { "yes" } else { "no" }, status].map(str::to_owned));
    match row.timed() {
        Some(t) => {
            let s = t.samples();
            fields.extend([s.median(), s.min(), s.p90(), s.mad()].map(|n| format!("{n:e}")));
            fields.extend([t.seconds.len().to_string(), t.repeats.to_string(), text(&t.clock)]);
            fields.extend([t.flops, t.bytes].map(|n| format!("{:e}", n / s.median())));
            fields.push(t.beside.as_ref().map_or(String::new(), |b| b.probe.clone()));
            fields.push(t.fraction().map_or(String::new(), |f| format!("{f:.4}")));
            fields.extend([format!("{:.4}", t.error), t.bits.clone()]);
        }
        None => fields.extend(vec![String::new(); 13]),
    }
    fields.push(text(why));
    fields.join(",")
}

/// What became of a row since an older run, in a line.
pub fn change_line(row: &Row, change: &Change) -> String {
    let checks = if row.trusted { " unchecked" } else { "" };
    let name = format!("{:<48} {:<22} {}{checks}", row.shape, row.kernel, heat(row));
    let what = match change {
        Change::Compared { comparison: c, other_bits } => {
            let bits = if *other_bits { ", other bits" } else { "" };
            let said = if c.verdict == Verdict::Slower { "SLOWER" } else { c.verdict.name() };
            format!("{:>6.3} ({:.3} to {:.3})  {said}{bits}", c.ratio, c.low, c.high)
        }
        Change::New => "new".into(),
        Change::Gone => "not measured this time".into(),
        Change::Broken(why) => format!("BROKEN: {why}"),
        Change::Mended => "was not timed before".into(),
        Change::Untimed => "not timed in either".into(),
        Change::Incomparable(why) => format!("cannot be compared: {why}"),
    };
    format!("{name:<78} {what}")
}

/// A number with its unit, in thousands.
pub fn quantity(of: Unit, value: f64) -> String {
    let name = match of {
        Unit::Seconds => return seconds(value),
        Unit::Flops => "FLOP/s",
        Unit::Bytes => "B/s",
        Unit::Items => "/s",
    };
    let steps = [(1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")];
    let (step, prefix) = steps.into_iter().find(|(step, _)| value >= *step).unwrap_or((1.0, ""));
    format!("{:.2} {prefix}{name}", value / step)
}

/// A time in the unit that suits it.
pub fn seconds(value: f64) -> String {
    match value {
        v if v >= 1.0 => format!("{v:.3} s"),
        v if v >= 1e-3 => format!("{:.3} ms", v * 1e3),
        v => format!("{:.2} µs", v * 1e6),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::row::tests::row;
    use crate::bench::versus::change;

    #[test]
    fn a_row_is_a_line_and_a_wrong_one_says_why() {
        let timed = row(&[1e-3, 1.1e-3, 1.2e-3], &[1e-3; 3]);
        let said = line(&timed);
        assert!(said.starts_with("  * matmul.tile            warm"), "{said}");
        assert!(
            said.contains("1.100 ms") && said.contains("45 % of fma") && said.contains("45.45 kFLOP/s"),
            "{said}"
        );
        let wrong = Row { outcome: Outcome::Wrong("`y` is off".into()), chosen: false, ..timed.clone() };
        assert!(line(&wrong).ends_with("WRONG: `y` is off"));
        assert_eq!(line(&timed).lines().count(), 1);
    }

    #[test]
    fn csv_has_as_many_fields_as_columns() {
        // Commas inside quotes are no ends of fields.
        let fields = |line: &str| {
            let mut quoted = false;
            1 + line
                .chars()
                .filter(|c| {
                    quoted ^= *c == '"';
                    *c == ',' && !quoted
                })
                .count()
        };
        let timed = row(&[1.0], &[1.0]);
        let wrong = Row { outcome: Outcome::Wrong("a \"b\", c".into()), ..timed.clone() };
        for row in [timed, wrong] {
            assert_eq!(fields(&csv(&row)), fields(CSV_COLUMNS), "{}", csv(&row));
        }
    }

    #[test]
    fn a_change_is_a_line() {
        let (old, new) = (row(&[1.0; 9], &[1.0; 9]), row(&[1.2; 9], &[1.0; 9]));
        let said = change_line(&new, &change(&old, &new));
        assert!(said.ends_with("1.200 (1.200 to 1.200)  SLOWER"), "{said}");
        assert!(change_line(&new, &Change::Gone).ends_with("not measured this time"));
    }
}
