//! This run against an older one.

use tachylite::bench::{Change, Entry, Report, Row, Verdict, changes, text, versus};
use tachylite::gpu::Bench;

use super::progress;

/// How often rows that do not look the same are measured once more.
const LOOKS: usize = 3;

/// Measures rows that are not as before once more, which gives them more rounds, since a row may have been
/// unlucky; says what became of every row; gives how many are worse.
pub(super) fn run(
    bench: &mut Bench,
    entries: &[Entry],
    old: &Report,
    rows: &mut [Row],
    say: &dyn Fn(&str),
) -> Result<usize, String> {
    for look in 1..=LOOKS {
        let doubtful: Vec<String> = changes(&old.rows, rows)
            .into_iter()
            .filter(|(_, change)| change.is_doubtful())
            .map(|(row, _)| row.id())
            .collect();
        if doubtful.is_empty() {
            break;
        }
        say(&format!(
            "{}not as before: {}, measured again, {look} of {LOOKS}\n",
            if look == 1 { "\n" } else { "" },
            crate::count(doubtful.len(), "row")
        ));
        let is_doubtful = |row: &Row| doubtful.contains(&row.id());
        let again = |entry: &&Entry| {
            let case = entry.task.case(entry.kernel).to_string();
            rows.iter().any(|r| r.case == case && is_doubtful(r))
        };
        let entries: Vec<Entry> = entries.iter().filter(again).cloned().collect();
        let mut tell = |entry: &Entry, made: Option<Vec<Row>>| {
            progress(if made.is_none() { entry.kernel.name } else { "" });
            for again in made.unwrap_or_default() {
                if let Some(row) = rows.iter_mut().find(|r| r.id() == again.id() && is_doubtful(&again)) {
                    row.add(again);
                }
            }
        };
        bench.rows_in_turn(&entries, &mut tell).map_err(|e| e.to_string())?;
    }
    let changed = changes(&old.rows, rows);
    say(&format!(
        "\nagainst the older run, by {}: the new time as a fraction of the old, both as multiples of the\n\
         probe measured in turn with the kernel, so that a slower machine does not count; in brackets where\n\
         it lies, by rounds, or what sittings span where these decided; a difference of {:.0} % or less is none\n",
        old.device,
        100.0 * versus::MARGIN
    ));
    for (row, change) in &changed {
        say(&format!("{}\n", text::change_line(row, change)));
    }
    let compared = |c: &Change| matches!(c, Change::Compared { .. } | Change::Broken(_));
    if !changed.iter().any(|(_, c)| compared(c)) {
        return Err("bench: no row of this run was compared with one of the older run".into());
    }
    say(&summary(&changed));
    Ok(changed.iter().filter(|(_, c)| c.is_regression()).count())
}

fn summary(changed: &[(&Row, Change)]) -> String {
    let count = |wanted: Verdict| {
        let is =
            |c: &Change| matches!(c, Change::Compared { comparison, .. } if comparison.verdict == wanted);
        changed.iter().filter(|(_, c)| is(c)).count()
    };
    let all = [Verdict::Same, Verdict::Faster, Verdict::Slower, Verdict::TooNoisy];
    let counts: Vec<String> = all.iter().map(|v| format!("{} {}", count(*v), v.name())).collect();
    let broken = changed.iter().filter(|(_, c)| matches!(c, Change::Broken(_))).count();
    let others =
        changed.len() - changed.iter().filter(|(_, c)| matches!(c, Change::Compared { .. })).count() - broken;
    let broken = if broken > 0 { format!(", {broken} BROKEN") } else { String::new() };
    let decided = all[..3].iter().any(|v| count(*v) > 0);
    let nothing = if decided { "" } else { ": nothing is decided, which takes a quieter machine" };
    format!("{}{broken}, {others} not compared{nothing}\n", counts.join(", "))
}
