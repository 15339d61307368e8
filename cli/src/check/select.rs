//! Which cases were asked for.

use std::collections::BTreeSet;
use std::ops::Range;

use tachylite::check::Case;

use super::Arguments;

/// The cases that the arguments leave; a whole name of one that the list lacks adds it.
pub(super) fn select(arguments: &Arguments, mut cases: Vec<Case>) -> Result<Vec<Case>, String> {
    let there: BTreeSet<_> = cases.iter().map(ToString::to_string).collect();
    let others = arguments.case.iter().filter(|name| !there.contains(*name));
    cases.extend(others.filter_map(|name| Case::named(name)));
    let names = known("op", &arguments.op, cases.iter().map(Case::op))
        .and_then(|()| known_kernels(&arguments.kernel, &cases));
    names.map_err(|why| match arguments.random {
        Some(_) => format!("among what --random draws {why}"),
        None => why,
    })?;
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
    let chosen = match arguments.part {
        Some((k, n)) => {
            shares(&chosen).into_iter().skip(k - 1).step_by(n).flat_map(|r| chosen[r].to_vec()).collect()
        }
        None => chosen,
    };
    if chosen.is_empty() { Err("no case has all that was asked for".to_owned()) } else { Ok(chosen) }
}

/// `K/N`, K from 1 to N.
pub(super) fn part(text: &str) -> Result<(usize, usize), String> {
    let numbers = text.split_once('/').and_then(|(k, n)| Some((k.parse().ok()?, n.parse().ok()?)));
    let within = numbers.filter(|(k, n)| (1..=*n).contains(k));
    within.ok_or_else(|| "a part is K/N, with K from 1 to N, as 1/2".to_owned())
}

/// Cases that share pipelines stay together: those of one kernel, types and variant.
pub(super) fn shares(cases: &[Case]) -> Vec<Range<usize>> {
    let mut shares: Vec<Range<usize>> = Vec::new();
    let family = |case: &Case| {
        let name = case.plan_name();
        name.rsplit_once('/').map_or(name.clone(), |(family, _)| family.to_owned())
    };
    let mut last = String::new();
    for (i, case) in cases.iter().enumerate() {
        let family = family(case);
        match shares.last_mut() {
            Some(share) if family == last => share.end = i + 1,
            _ => shares.push(i..i + 1),
        }
        last = family;
    }
    shares
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
    fn parts_are_all_cases_once_and_keep_kernels_together() {
        let names = |line: &str| chosen(line).unwrap().iter().map(ToString::to_string).collect::<Vec<_>>();
        let whole = "--quick --op softmax --op matmul";
        let mut parts: Vec<_> = (1..=3).flat_map(|k| names(&format!("{whole} --part {k}/3"))).collect();
        let mut all = names(whole);
        assert!(names(&format!("{whole} --part 1/3")).len() > all.len() / 6);
        parts.sort();
        all.sort();
        assert_eq!(parts, all);
        for wrong in ["0/2", "3/2", "1", "1/0", "a/b"] {
            assert!(part(wrong).unwrap_err().starts_with("a part is K/N"), "{wrong}");
        }
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
