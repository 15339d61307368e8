//! What comes of small texts, and that every text of ours can be lowered.

use std::collections::{HashMap, HashSet};
use std::time::Instant;

use super::*;
use crate::check::cases;
use crate::plan::plan;
use crate::virtual_gpu::Personality;
use crate::virtual_gpu::program::{Node, Program};

mod meaning;

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
fn dump() {
    let text = std::fs::read_to_string("/tmp/dump.wgsl").unwrap();
    let how = Rewrites { contract: true, reassociate: true };
    match lower(&text, &[], None, how) {
        Ok(program) => println!("{program:#?}"),
        Err(e) => println!("{e:?}"),
    }
}
