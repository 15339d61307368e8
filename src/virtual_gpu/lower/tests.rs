//! What comes of small texts, and that every text of ours can be lowered.

use std::collections::{HashMap, HashSet};
use std::time::Instant;

use super::*;
use crate::check::cases;
use crate::plan::plan;
use crate::virtual_gpu::Personality;
use crate::virtual_gpu::program::{Node, Program};

/// Every text that any case runs, with a case that runs it.
fn texts() -> HashMap<String, String> {
    let (mut out, mut seen) = (HashMap::new(), HashSet::new());
    let profile = Personality::plain().profile();
    for case in cases() {
        if !seen.insert(case.plan_name()) {
            continue;
        }
        let (graph, _) = case.build().unwrap_or_else(|e| panic!("{case}: {e}"));
        let plan = plan(&graph, &profile, &case.policy()).unwrap_or_else(|e| panic!("{case}: {e}"));
        for kernel in plan.kernels {
            out.entry(kernel.wgsl.clone()).or_insert(case.to_string());
        }
    }
    out
}

fn instructions(nodes: &[Node]) -> usize {
    nodes
        .iter()
        .map(|node| match node {
            Node::Run(insts) => insts.len(),
            Node::If { accept, reject, .. } => instructions(accept) + instructions(reject),
            Node::Scope { body, .. } => instructions(body),
            Node::Loop { body, continuing, .. } => instructions(body) + instructions(continuing),
            Node::Exit(_) => 0,
        })
        .sum()
}

#[test]
fn every_text_is_lowered() {
    let all = texts();
    let mut worst = Vec::new();
    for (text, case) in &all {
        for how in [Rewrites::default(), Rewrites { contract: true, reassociate: true }] {
            let start = Instant::now();
            let program = lower(text, &[], None, how).unwrap_or_else(|e| panic!("{case}: {e:?}"));
            let took = start.elapsed();
            worst.push((took, program.registers, instructions(&program.body), case.clone()));
        }
    }
    worst.sort();
    worst.reverse();
    let total: std::time::Duration = worst.iter().map(|w| w.0).sum();
    println!("{} texts, {total:?}", all.len());
    for w in worst.iter().take(8) {
        println!("{w:?}");
    }
    worst.sort_by_key(|w| std::cmp::Reverse(w.1));
    for w in worst.iter().take(8) {
        println!("{w:?}");
    }
}
