//! Which cases were asked for.

use std::collections::BTreeSet;

use tachylite::check::Case;

use super::Arguments;

/// The cases that the arguments leave; a whole name of one that the list lacks adds it.
pub(super) fn select(arguments: &Arguments, mut cases: Vec<Case>) -> Result<Vec<Case>, String> {
    let there: BTreeSet<_> = cases.iter().map(ToString::to_string).collect();
    let others = arguments.case.iter().filter(|name| !there.contains(*name));
    cases.extend(others.filter_map(|name| Case::named(name)));
    known("op", &arguments.op, cases.iter().map(Case::op))?;
    known_kernels(&arguments.kernel, &cases)?;
    let named: Vec<_> = cases.iter().map(ToString::to_string).collect();
    for part in &arguments.case {
        if !named.iter().any(|name| name.contains(part)) {
            return Err(format!("there is no case `{part}`; `tachylite check --list` prints all of them"));
        }
    }
    let exact: BTreeSet<_> = arguments.case.iter().filter(|c| named.contains(c)).collect();
    let is_asked = |name: &String| {
        let by_part = |part: &String| if exact.contains(part) { name == part } else { name.contains(part) };
        arguments.case.is_empty() || arguments.case.iter().any(by_part)
    };
    let one_of = |list: &[String], name: &str| list.is_empty() || list.iter().any(|l| l == name);
    let chosen: Vec<Case> = cases
        .into_iter()
        .zip(&named)
        .filter(|(case, name)| {
            one_of(&arguments.op, case.op())
                && one_of(&arguments.kernel, case.kernel())
                && is_asked(name)
                && (case.quick || !arguments.quick)
        })
        .map(|(case, _)| case)
        .collect();
    if chosen.is_empty() { Err("no case is all that was asked for".to_owned()) } else { Ok(chosen) }
}

/// Graphs are asked for like kernels, but are none.
fn known_kernels(asked: &[String], cases: &[Case]) -> Result<(), String> {
    let graphs: BTreeSet<_> = cases.iter().filter(|c| c.op() == "graph").map(Case::kernel).collect();
    let asked: Vec<_> = asked.iter().filter(|a| !graphs.contains(a.as_str())).cloned().collect();
    known("kernel", &asked, cases.iter().map(Case::kernel).filter(|k| !graphs.contains(k)))
}

fn known<'a>(what: &str, asked: &[String], there: impl Iterator<Item = &'a str>) -> Result<(), String> {
    let there: BTreeSet<_> = there.collect();
    match asked.iter().find(|a| !there.contains(a.as_str())) {
        None => Ok(()),
        Some(name) => {
            let there: Vec<_> = there.into_iter().collect();
            Err(format!("there is no {what} `{name}`; there are {}", there.join(", ")))
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use tachylite::check::cases;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        arguments: Arguments,
    }

    fn chosen(line: &str) -> Result<Vec<Case>, String> {
        let line = Line::try_parse_from(std::iter::once("check").chain(line.split_whitespace())).unwrap();
        select(&line.arguments, cases())
    }

    #[test]
    fn a_whole_name_chooses_one_case_and_a_part_chooses_many() {
        let name = "relu/elementwise.rows/f32/plain/R=3,C=5/random";
        assert_eq!(chosen(&format!("--case {name}")).unwrap().len(), 1);
        let other = name.replace("R=3", "R=1234");
        assert_eq!(chosen(&format!("--case {other}")).unwrap()[0].to_string(), other);
        assert!(chosen("--case relu/elementwise.rows").unwrap().len() > 10);
        let ops: BTreeSet<_> = chosen("--op attention --op embed").unwrap().iter().map(Case::op).collect();
        assert_eq!(ops.into_iter().collect::<Vec<_>>(), ["attention", "embed"]);
        let quick = chosen("--quick --kernel matmul.tile").unwrap();
        assert!(quick.iter().all(|c| c.quick && c.kernel() == "matmul.tile") && !quick.is_empty());
    }

    #[test]
    fn what_is_not_there_is_named() {
        assert!(chosen("--op conv").unwrap_err().contains("no op `conv`; there are abs, add, "));
        let e = chosen("--kernel x").unwrap_err();
        assert!(e.contains("no kernel `x`; there are ") && !e.contains("graph."), "{e}");
        assert!(!chosen("--kernel graph.siblings").unwrap().is_empty());
        assert!(chosen("--kernel x").is_err() && chosen("--case x/y/z").is_err());
        assert!(chosen("--op relu --kernel matmul.tile").is_err());
    }
}
