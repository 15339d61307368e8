//! A plan as a report that people read.

use std::fmt::Write;

use crate::graph::Graph;
use crate::kernel::Composed;
use crate::op::Axis;
use crate::plan::{Candidate, Numerics, Param, Plan, Role, Step};

impl Plan {
    /// The plan as a report: what each step does, at which sizes, what was fused into it and why,
    /// which kernels it was chosen over; then buffers, weights and totals. `graph` is the one it
    /// was made from.
    pub fn explain(&self, graph: &Graph) -> String {
        let mut text = String::new();
        self.write_ports(&mut text);
        for (i, step) in self.steps.iter().enumerate() {
            if self.segments.iter().any(|s| s.start == i && i > 0) {
                text.push_str("\n-- a new submit --\n");
            }
            self.write_step(&mut text, graph, i, step);
        }
        self.write_buffers(&mut text);
        self.write_weights(&mut text);
        self.write_totals(&mut text);
        text
    }

    fn write_ports(&self, text: &mut String) {
        let Self { policy, .. } = self;
        line(
            text,
            &format!(
                "policy    {:?}, {:?}, fuse {}, reuse {}{}{}",
                policy.numerics,
                policy.determinism,
                policy.fuse,
                policy.reuse,
                if policy.trusted.is_yes() { ", trusted" } else { "" },
                policy.kernel.as_ref().map_or(String::new(), |k| format!(", only {k}"))
            ),
        );
        let scalars: Vec<_> = self.scalars.iter().map(ToString::to_string).collect();
        line(text, &format!("scalars   {}", or_none(&scalars.join(", "))));
        for (what, ports) in [("input ", &self.inputs), ("output", &self.outputs)] {
            for port in ports {
                let below = port.below.map_or(String::new(), |n| format!(", each below {n}"));
                let shape = self.shape(&port.shape);
                line(
                    text,
                    &format!("{what}    {} {} {shape} in #{}{below}", port.name, port.dtype, port.buffer),
                );
            }
        }
    }

    fn write_step(&self, text: &mut String, graph: &Graph, i: usize, step: &Step) {
        let kernel = &self.kernels[step.kernel];
        line(text, &format!("\n{i:>3}  {}  {}", step.kernel_name, self.sizes(kernel, step)));
        let nodes = step.nodes.iter().map(|n| graph.nodes()[*n].op.name).collect::<Vec<_>>();
        let nodes =
            if step.candidates.is_empty() { "what the next step needs".into() } else { nodes.join(", ") };
        line(text, &format!("     does     {}", or_none(&nodes)));
        let value = |v: usize| {
            let value = &graph.values()[v];
            format!("{} {} {}", value.name, value.dtype, self.shape(&value.shape))
        };
        let reads: Vec<_> = step.reads.iter().map(|v| value(*v)).collect();
        line(text, &format!("     reads    {}", or_none(&reads.join("; "))));
        let values = step.writes.iter().map(|(v, buffer, _)| format!("{} in #{buffer}", value(*v)));
        let scratch = step.scratch.iter();
        let scratch =
            scratch.map(|s| format!("{} {} {} in #{}", s.name, s.dtype, self.shape(&s.shape), s.buffer));
        let writes: Vec<_> = values.chain(scratch).collect();
        line(text, &format!("     writes   {}", or_none(&writes.join("; "))));
        let binds: Vec<_> = step
            .bindings
            .iter()
            .map(|b| format!("{} {}#{}", b.name, if b.write { "to " } else { "" }, b.buffer))
            .collect();
        line(text, &format!("     binds    {}", binds.join(", ")));
        line(
            text,
            &format!(
                "     runs     {} workgroups of {}, at most {}",
                step.workgroups.show(&self.scalars),
                kernel.workgroup_size,
                step.workgroups.max(&self.scalars)
            ),
        );
        step.fused.iter().for_each(|why| line(text, &format!("     fused    {why}")));
        if step.numerics != Numerics::F32 {
            line(text, &format!("     computes as {:?}", step.numerics));
        }
        for (rank, candidate) in step.candidates.iter().enumerate() {
            line(
                text,
                &format!("     {:<6}   {}", if rank == 0 { "chosen" } else { "over" }, show(candidate)),
            );
        }
        line(text, &format!("     moves    at least {}", bytes(step.bytes)));
    }

    /// The sizes that a kernel is given, by axis: `M = B·S, N = 384`.
    fn sizes(&self, kernel: &Composed, step: &Step) -> String {
        let is_axis = |name: &str| Axis::ALL.iter().any(|a| a.name() == name);
        let sizes = kernel.params.iter().zip(&step.params).filter_map(|(decl, param)| match param {
            Param::U32(e) if is_axis(&decl.name) => {
                Some(format!("{} = {}", decl.name, e.show(&self.scalars)))
            }
            _ => None,
        });
        sizes.collect::<Vec<_>>().join(", ")
    }

    fn write_buffers(&self, text: &mut String) {
        text.push('\n');
        for (i, buffer) in self.buffers.iter().enumerate() {
            let role = match &buffer.role {
                Role::Input(p) => format!("input `{}`", self.inputs[*p].name),
                Role::State(p) => format!("state `{}`", self.inputs[*p].name),
                Role::Output(p) => format!("output `{}`", self.outputs[*p].name),
                Role::Weight(w) => format!("weight {w}"),
                Role::Scratch => {
                    let uses = self.steps.iter().enumerate();
                    let writes = uses.filter(|(_, s)| s.bindings.iter().any(|b| b.write && b.buffer == i));
                    let writes: Vec<_> = writes.map(|(n, _)| n.to_string()).collect();
                    format!("scratch, written by {}", writes.join(", "))
                }
            };
            line(text, &format!("#{i:<3} {:>12}  {role}", bytes(buffer.bytes)));
        }
    }

    fn write_weights(&self, text: &mut String) {
        text.push('\n');
        for (i, weight) in self.weights.iter().enumerate() {
            let source = |s: &crate::plan::WeightSource| format!("{} {} {:?}", s.name, s.dtype, s.shape);
            let sources: Vec<_> = weight.sources.iter().map(source).collect();
            let rows = weight.rows.as_ref().map_or(String::new(), |rows| format!(", rows {rows:?}"));
            line(text, &format!("weight {i}: {}{rows} as {:?}", sources.join(" + "), weight.form));
        }
    }

    fn write_totals(&self, text: &mut String) {
        let moved = self.steps.iter().fold(0u64, |sum, s| sum.saturating_add(s.bytes));
        line(
            text,
            &format!(
                "\n{} dispatches of {} kernels in {} submits; at the bounds they move at least {}; \
                 {} held at the peak",
                self.steps.len(),
                self.kernels.len(),
                self.segments.len(),
                bytes(moved),
                bytes(self.peak_bytes)
            ),
        );
    }

    fn shape(&self, shape: &[crate::Dim]) -> String {
        let dims: Vec<_> = shape.iter().map(|d| d.show(&self.scalars)).collect();
        format!("[{}]", dims.join(", "))
    }
}

fn line(text: &mut String, content: &str) {
    // writing to a string cannot fail
    let _ = writeln!(text, "{content}");
}

fn or_none(text: &str) -> &str {
    if text.is_empty() { "none" } else { text }
}

fn show(candidate: &Candidate) -> String {
    match &candidate.estimate {
        Ok(seconds) => {
            let tuned = candidate.tuned.map_or(String::new(), |s| format!("tuned, measured {}; ", time(s)));
            format!("{}, {tuned}about {} by the estimate", candidate.kernel, time(*seconds))
        }
        Err(why) => format!("{}, which was refused: {why}", candidate.kernel),
    }
}

fn time(seconds: f64) -> String {
    match seconds {
        s if s >= 1.0 => format!("{s:.2} s"),
        s if s >= 1e-3 => format!("{:.2} ms", s * 1e3),
        s => format!("{:.1} µs", s * 1e6),
    }
}

fn bytes(n: u64) -> String {
    match n {
        0..1024 => format!("{n} B"),
        1024..1_048_576 => format!("{:.1} KiB", n as f64 / 1024.0),
        1_048_576..1_073_741_824 => format!("{:.1} MiB", n as f64 / 1_048_576.0),
        _ => format!("{:.2} GiB", n as f64 / 1_073_741_824.0),
    }
}
