//! What each line of each shader has to do with which cases: found by planning every case once.

use std::collections::{HashMap, HashSet};

use tachylite::check::{Case, Subject, cases};
use tachylite::kernel::{Composed, extensions, with_source};
use tachylite::plan::plan;
use tachylite::profile::{DeviceKind, Profile};

use super::operators::Mutant;

/// So many texts of a mutant are shown to the compiler before it counts as valid.
const SHOWN: usize = 4;

/// Cases that share a plan.
struct Group {
    /// One of them, to plan it again.
    case: Case,
    names: Vec<String>,
    /// Indices into the texts.
    texts: Vec<usize>,
    /// Whether something is computed at all.
    works: bool,
    bytes: u64,
}

/// The short list of cases, by what their texts are made of.
pub(super) struct Reach {
    groups: Vec<Group>,
    /// Of each text, the lines it has of each file.
    lines: Vec<HashSet<(String, u32)>>,
}

impl Reach {
    /// Plans every case of the short list.
    pub fn new() -> Result<Self, String> {
        let (mut groups, mut at): (Vec<Group>, HashMap<String, usize>) = Default::default();
        let (mut lines, mut known): (Vec<HashSet<_>>, HashMap<String, usize>) = Default::default();
        for case in cases().into_iter().filter(|c| c.quick) {
            let name = case.to_string();
            if let Some(group) = at.get(&case.plan_name()) {
                groups[*group].names.push(name);
                continue;
            }
            let (kernels, bytes) = planned(&case)?;
            let mut texts = Vec::new();
            for kernel in kernels {
                let next = lines.len();
                let text = *known.entry(kernel.wgsl).or_insert(next);
                if text == next {
                    lines.push(kernel.lines.iter().map(|(file, n)| (file.to_string(), *n)).collect());
                }
                texts.push(text);
            }
            at.insert(case.plan_name(), groups.len());
            let works = match case.subject {
                Subject::Kernel { op, shape, .. } => {
                    op.cases.axes.iter().all(|(a, _)| shape.sizes.get(*a) > 0)
                }
                Subject::Graph { .. } | Subject::Drawn(_) => true,
            };
            groups.push(Group { case, names: vec![name], texts, works, bytes });
        }
        Ok(Self { groups, lines })
    }

    /// The groups whose texts hold the line that a mutant changes.
    fn of(&self, mutant: &Mutant) -> Vec<&Group> {
        let line = (mutant.file.to_owned(), mutant.line as u32);
        let holds: Vec<bool> = self.lines.iter().map(|lines| lines.contains(&line)).collect();
        self.groups.iter().filter(|g| g.texts.iter().any(|t| holds[*t])).collect()
    }

    /// A small group for each text that holds the line, small ones first.
    fn each_text<'a>(&self, reached: &[&'a Group]) -> Vec<&'a Group> {
        let mut by_size = reached.to_vec();
        by_size.sort_by_key(|g| (!g.works, g.bytes));
        let mut seen = HashSet::new();
        by_size.retain(|g| g.texts.iter().filter(|t| seen.insert(**t)).count() > 0);
        by_size
    }

    /// The cases that could notice a mutant, in the order to ask them: the smallest of each text, so that
    /// types and variants come early, then all others, large ones first, those that share a plan side by side.
    pub fn cases(&self, mutant: &Mutant) -> Vec<String> {
        let mut reached = self.of(mutant);
        let first = self.each_text(&reached).into_iter().filter_map(|g| g.names.first());
        let mut out: Vec<String> = first.cloned().collect();
        let asked: HashSet<String> = out.iter().cloned().collect();
        reached.sort_by_key(|g| std::cmp::Reverse(g.bytes));
        out.extend(reached.iter().flat_map(|g| &g.names).filter(|n| !asked.contains(*n)).cloned());
        out
    }

    /// Whether the texts that a mutant changes are still WGSL, as far as a few of them show. One that
    /// reaches no text is.
    pub fn is_valid(&self, mutant: &Mutant) -> bool {
        let shown = self.each_text(&self.of(mutant));
        // From end to end: the smallest are often alike.
        let step = shown.len().div_ceil(SHOWN).max(1);
        shown.iter().step_by(step).all(|group| {
            let kernels = with_source(mutant.file, &mutant.text, || planned(&group.case));
            kernels.is_ok_and(|(kernels, _)| {
                kernels.iter().all(|k| is_wgsl(&(extensions::for_naga(&k.extensions) + &k.wgsl)))
            })
        })
    }
}

/// The texts of a case on devices that can do nothing and everything, and on processors, and the bytes it needs.
fn planned(case: &Case) -> Result<(Vec<Composed>, u64), String> {
    let (graph, _) = case.build().map_err(|e| format!("{case}: {e}"))?;
    let plan_for = |profile| plan(&graph, &profile, &case.policy());
    let processor = |profile| Profile { kind: DeviceKind::Cpu, ..profile };
    let eight = Profile { subgroup_sizes: (8, 8), ..Profile::capable() };
    let processors = [Profile::portable(), eight.clone()].map(processor);
    // Some kernels are for processors alone.
    let able = plan_for(Profile::capable()).or_else(|_| plan_for(processor(eight)));
    let able = able.map_err(|e| format!("{case}: {e}"))?;
    let (mut kernels, mut bytes) = (able.kernels, able.peak_bytes);
    // Some kernels need what a portable device does not have.
    for plan in [Profile::portable()].into_iter().chain(processors).flat_map(plan_for) {
        bytes = bytes.max(plan.peak_bytes);
        kernels.extend(plan.kernels);
    }
    Ok((kernels, bytes))
}

fn is_wgsl(text: &str) -> bool {
    use naga::valid::{Capabilities, ValidationFlags, Validator};
    naga::front::wgsl::parse_str(text).is_ok_and(|module| {
        Validator::new(ValidationFlags::all(), Capabilities::all()).validate(&module).is_ok()
    })
}
