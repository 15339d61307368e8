//! The checker checked: shaders and plans broken on purpose, one way each, must turn a case red
//! that passes unbroken. On the first adapter there is; without one this says `SKIPPED`.
#![cfg(feature = "gpu")]

use std::cell::Cell;
use std::io::Write;

use tachylite::check::{Case, Event, Inputs, Status, cases, run_altered};
use tachylite::plan::{Param, Plan, Role};
use tachylite::{Expr, Gpu};

/// A breakage: what is broken, the cases that should notice (by the start of their names), and how
/// to break a plan; the result is how many places were broken.
struct Breakage(&'static str, &'static [&'static str], fn(&mut Plan) -> usize);

const BREAKAGES: &[Breakage] = &[
    Breakage("the last group along K missed", &["matmul.vector/f32.f32/plain/M=5"], |p| {
        edit(p, "first < k4s;", "first + 1u < k4s;")
    }),
    Breakage("dropped barrier between softmax and output", &["attention.online/f32/full"], |p| {
        edit(p, "workgroupBarrier(); // every part is there, and what else was written", "")
    }),
    Breakage("wrong tail mask", &["layer_norm.row/f32.f32/plain"], |p| {
        edit(p, "+ c4 * 4u < vec4<u32>(p.C)", "+ c4 * 4u <= vec4<u32>(p.C)")
    }),
    Breakage("exponentials of what the largest was not taken from", &["softmax.row/f32/plain"], |p| {
        edit(p, " - top, counts(", ", counts(")
    }),
    Breakage("half a workgroup left out of a reduction", &["reduce.row/f32/sum"], |p| {
        edit(p, "var step = LANES / 2u;", "var step = LANES / 4u;")
    }),
    Breakage("the last element of an axis missed", &["reduce_columns.walk/f32/sum"], |p| {
        edit(p, "k < p.K;", "k + 1u < p.K;")
    }),
    Breakage("swapped strides", &["matmul.tile/f32.f32/plain"], |p| {
        edit(p, "column[at] + k4 * along", "column[at] * along + k4")
    }),
    Breakage("the neighbour's expert", &["matmul_experts.vector/f32.f32/plain"], |p| {
        edit(p, "ids[p.ids_offset + pair]", "ids[p.ids_offset + pair / 2u]")
    }),
    Breakage("an expert's pairs without the last", &["matmul_experts.tile/f32.f32/plain"], |p| {
        edit(p, "mine += select(0u, 1u, id == e);", "mine += select(0u, 1u, id == e && i + 1u < end);")
    }),
    Breakage("missing scale per column", &["matmul.tile/f32.i8/plain"], |p| {
        edit(
            p,
            "vec4<f32>(scale_at(0u, n.x), scale_at(0u, n.y), scale_at(0u, n.z), scale_at(0u, n.w))",
            "vec4<f32>(1.0)",
        )
    }),
    Breakage("zero points of the first column for all", &["matmul.tile/f32.u8/channel_zero"], |p| {
        edit(p, "p.w_zero_offset + n * p.w_zero_N", "p.w_zero_offset")
    }),
    Breakage("scale of the first group for all", &["matmul.vector/f32.i8/group/"], |p| {
        edit(p, "scale_at(block, n + r)", "scale_at(0u, n + r)")
    }),
    Breakage("the mean of one square more", &["graph.norms/f32/M=3"], |p| {
        edit(p, "total / f32(p.K) + EPS", "total / f32(p.K + 1u) + EPS")
    }),
    Breakage("a gate for what it gates", &["graph.gates/f32/M=3"], |p| {
        edit(p, "let h0 = half * columns + n0;", "let h0 = n0;")
    }),
    Breakage("missing scale per block", &["matmul.vector/f32.q8_0/plain"], |p| {
        edit(p, "vec4<f32>(unpack4xI8(word)) * block.x", "vec4<f32>(unpack4xI8(word))")
    }),
    Breakage("the first word of a pair for both", &["matmul.vector/f32.q4_k/plain"], |p| {
        edit(p, "i / each + r / each] >> (r % each * bits)", "i / each + r / each] >> (0u * bits)")
            + edit(p, "[i / each + r / each], r % each * bits", "[i / each], r % each * bits")
    }),
    Breakage("an element of x for its neighbour", &["matmul.vector/f32.q8_0/plain"], |p| {
        edit(p, "u32(both.y >> 32u)", "u32(both.x >> 32u)") + edit(p, "return x[i];", "return x[i].xyzx;")
    }),
    Breakage("a code's place in its word forgotten", &["matmul.vector/f32.q4_0/plain"], |p| {
        edit(p, "block.x * less", "vec4<f32>(block.x)")
    }),
    Breakage("scale of the neighbouring block", &["matmul.tile/f32.q8_0/plain"], |p| {
        edit(p, "block * w_step(n) + n % PANEL", "n % PANEL")
    }),
    Breakage("dropped post-op", &["matmul.tile/f32.f32/bias_gelu_add"], |p| edit(p, "v = gelu(v);", "")),
    Breakage("operands of a chain swapped", &["matmul.tile/f32.f32/relu_scale_mul_add"], |p| {
        edit(p, " - v;", " + v;")
    }),
    Breakage("keys past the length seen", &["attention.online/f32/lengths"], |p| {
        edit(p, "let length = kv_length(b);", "let length = p.T;")
    }),
    Breakage("shares of keys joined as they are", &["attention.split/f32/full/B=5"], |p| {
        edit(p, "relative_weight(of_share.x, largest)", "1.0")
    }),
    Breakage("the first lane's key for all lanes", &["attention.lanes/f32/full/B=5"], |p| {
        edit(p, "min(t0 + i + lane, end - 1u)", "min(t0 + i, end - 1u)")
    }),
    Breakage("only the last key weighed", &["attention.rows/f32/full/B=5"], |p| {
        edit(p, "fma(vec4<f32>(e), value, sums)", "vec4<f32>(e) * value")
    }),
    Breakage("rows appended one too far", &["append.rows/f32/both/"], |p| {
        edit(p, "let at = first_row(b) + s;", "let at = first_row(b) + s + 1u;")
    }),
    Breakage("the start of a sequence taken for its first page", &["append.rows/f32/pages/"], |p| {
        edit(p, "p.N + 1u + min(", "p.N + min(")
    }),
    Breakage("the middle of two codes a half too low", &["append.rows/f32/q4_0/"], |p| {
        edit(p, "* inverse + 8.5,", "* inverse + 8.0,")
    }),
    Breakage("scale of a row's first block for the next", &["append.rows/f32/q8_0/"], |p| {
        edit(p, "let block = min(first, BLOCKS - 1u);", "let block = 0u;")
    }),
    Breakage("rows copied the other way", &["copy_rows.groups/f32/plain/"], |p| {
        edit(
            p,
            "x[own + to * p.x_V] = x[own + source * p.x_V];",
            "x[own + source * p.x_V] = x[own + to * p.x_V];",
        )
    }),
    Breakage(
        "keys turned as if they were a position on",
        &["rope_append.rows/f32/neighbours_starts/"],
        |p| edit(p, "first_row(token / p.S) + token % p.S", "first_row(token / p.S) + token % p.S + 1u"),
    ),
    Breakage("mask of the neighbouring query", &["attention.online/f32/mask"], |p| {
        edit(p, "s * p.mask_S", "(s + 1u) % p.S * p.mask_S")
    }),
    Breakage("-inf taken for a number", &["attention.online/f16/mask/"], |p| {
        edit(p, "0xff800000u);", "0u);")
    }),
    Breakage("log-sum-exp of the largest score alone", &["attention.online/f32/lse"], |p| {
        edit(p, "largest + log(select(sum, 1.0, sum == 0.0))", "largest")
    }),
    Breakage("hidden values added up", &["attention.online/f32/mask/"], |p| {
        edit(p, "HIDES && e == 0.0", "false")
    }),
    Breakage("causal mask off by one", &["attention.online/f32/causal"], |p| {
        edit(p, "key + p.S <= last + right", "key + p.S < last + right")
    }),
    Breakage("the scale of a row's first block for all", &["attention.online/f32/q8_0_paged"], |p| {
        edit(p, "scale_v(v_at, c4 / 8u)", "scale_v(v_at, 0u)")
    }),
    Breakage("the first page for all", &["attention.split/f32/q8_0_paged"], |p| {
        edit(p, "p.pages_B + 1u + t / PAGE]", "p.pages_B + 1u]")
    }),
    Breakage("codes of 4 bits in another order", &["attention.online/f32/int8_q4_0"], |p| {
        edit(p, "(0u, 4u, 8u, 12u) + vec4<u32>(c4", "(4u, 0u, 8u, 12u) + vec4<u32>(c4")
    }),
    Breakage("what was learnt kept from one decay", &["wkv7.chunked/f32/plain/"], |p| {
        edit(p, "            key *= decays[at];\n", "")
    }),
    Breakage("the first decay behind a key left out", &["linear_attention.chunked/f32/gated_delta/"], |p| {
        edit(p, "if DECAY && t > e {", "if DECAY && t > e + 1u {")
    }),
    Breakage("decays of the position behind", &["linear_attention.columns/f32/gated/"], |p| {
        edit(p, "rate = decays[t % 2u", "rate = decays[(t + 1u) % 2u")
    }),
    Breakage("parts weighed alike", &["merge.rows/f32"], |p| edit(p, "exp(max(x, -87.0))", "1.0")),
    Breakage("a column's element taken for its neighbour", &["mul/elementwise.rows/f32/column/R=3"], |p| {
        edit(p, "[at0 & 3u]", "[(at0 + 1u) & 3u]")
    }),
    Breakage("halves rounded the other way", &["round_away/elementwise.rows/f32/plain/R=3"], |p| {
        edit(p, ">= vec4<f32>(0.5)", "> vec4<f32>(0.5)")
    }),
    Breakage("a power's last factor left out", &["pow/elementwise.rows/f32/full"], |p| {
        edit(p, "i < 7;", "i < 2;")
    }),
    Breakage("the joint of two tensors off by one", &["concat.pick/f32/columns"], |p| {
        edit(p, "if k < p.M {", "if k <= p.M {")
    }),
    Breakage("padding one place too far", &["pad.pick/f32/rows"], |p| {
        edit(p, "% p.N - p.before;", "% p.N - p.before - 1u;")
    }),
    Breakage("a condition the wrong way round", &["where.rows/f32/full"], |p| {
        edit(p, "select(no, yes, holds)", "select(yes, no, holds)")
    }),
    Breakage(
        "views taken from the start of what they share",
        &["sub/elementwise.rows/f32/full/R=3,C=5/views"],
        |p| edit(p, "p.post0_offset + r", "r"),
    ),
    Breakage("stray writes past the end", &["relu/elementwise.rows/f32/plain/R=3,C=5"], |p| {
        edit(p, "if i < p.R * groups {", "if i < p.R * groups + 2u {")
    }),
    Breakage("a workgroup too few", &["gelu/elementwise.rows/f32/plain"], |p| {
        for step in &mut p.steps {
            step.workgroups = Expr::CeilDiv(Box::new(step.workgroups.clone()), 2);
        }
        p.steps.len()
    }),
    Breakage("a step left out", &["graph.reused_buffers/f32"], |p| {
        let whole = p.segments.len();
        p.steps.remove(0);
        if let Some(last) = p.segments.last_mut() {
            last.end -= 1;
        }
        whole
    }),
    Breakage(
        "stale buffer reuse",
        &["graph.reused_buffers/f32", "graph.shared_operands/f32"],
        merge_live_buffers,
    ),
    Breakage("a scalar's slot used for another", &["graph.call_scalars/f32"], |p| {
        let params = || Cell::new(None);
        let first = params();
        let mut changed = 0;
        for param in p.steps.iter_mut().flat_map(|s| &mut s.params) {
            if let Param::Scalar(id) = param {
                match first.get() {
                    None => first.set(Some(*id)),
                    Some(other) if other != *id => {
                        *id = other;
                        changed += 1;
                    }
                    Some(_) => {}
                }
            }
        }
        changed
    }),
    Breakage("two inputs exchanged", &["sub/elementwise.rows/f32/full"], |p| {
        let mut changed = 0;
        for step in &mut p.steps {
            let inputs: Vec<_> = (0..step.bindings.len()).filter(|i| !step.bindings[*i].write).collect();
            if let [a, b] = inputs[..] {
                let buffer = step.bindings[a].buffer;
                step.bindings[a].buffer = std::mem::replace(&mut step.bindings[b].buffer, buffer);
                changed += 1;
            }
        }
        changed
    }),
];

/// Replaces text in every kernel; how many times.
fn edit(plan: &mut Plan, from: &str, to: &str) -> usize {
    let mut found = 0;
    for kernel in &mut plan.kernels {
        found += kernel.wgsl.matches(from).count();
        kernel.wgsl = kernel.wgsl.replace(from, to);
    }
    found
}

/// Lets one scratch buffer serve for another while both hold something that is still to be read.
fn merge_live_buffers(plan: &mut Plan) -> usize {
    let scratch: Vec<_> =
        (0..plan.buffers.len()).filter(|b| plan.buffers[*b].role == Role::Scratch).collect();
    let uses = |b: usize| -> Vec<usize> {
        let binds = |s: &usize| plan.steps[*s].bindings.iter().any(|x| x.buffer == b);
        (0..plan.steps.len()).filter(binds).collect()
    };
    for &a in &scratch {
        for &b in &scratch {
            let (ua, ub) = (uses(a), uses(b));
            let (Some(a0), Some(a1), Some(b0), Some(b1)) = (ua.first(), ua.last(), ub.first(), ub.last())
            else {
                continue;
            };
            let room = plan.buffers[a].bytes >= plan.buffers[b].bytes;
            if a != b && room && a0 < b0 && b0 < a1 && b1 >= b0 && !ua.iter().any(|s| ub.contains(s)) {
                for binding in plan.steps.iter_mut().flat_map(|s| &mut s.bindings).filter(|x| x.buffer == b) {
                    binding.buffer = a;
                }
                for write in plan.steps.iter_mut().flat_map(|s| &mut s.writes).filter(|w| w.1 == b) {
                    write.1 = a;
                }
                for value in plan.values.iter_mut().flatten().filter(|v| v.0 == b) {
                    value.0 = a;
                }
                return 1;
            }
        }
    }
    0
}

fn statuses(gpu: &Gpu, cases: &[Case], alter: &dyn Fn(&mut Plan)) -> Vec<(String, Status)> {
    let mut out = Vec::new();
    run_altered(gpu, cases, None, alter, &mut |event| {
        if let Event::End(case, outcome) = event {
            out.push((case.to_string(), outcome.status.clone()));
        }
    });
    out
}

#[test]
fn every_breakage_turns_something_red() {
    let Ok(gpu) = Gpu::open_blocking("gpu") else {
        assert!(!std::env::var("TACHYLITE_REQUIRE").unwrap_or_default().contains("mesa22"), "no adapter");
        writeln!(std::io::stdout(), "SKIPPED 1 test: breakages (no adapter)").unwrap();
        return;
    };
    let all = cases();
    let mut unnoticed = Vec::new();
    for Breakage(what, names, alter) in BREAKAGES {
        let named = |c: &&Case| names.iter().any(|n| c.to_string().starts_with(n));
        let named: Vec<_> = all.iter().filter(named).cloned().collect();
        // Of a variant that the short list has in f32 alone, a few of the others.
        let any_quick = named.iter().any(|c| c.quick);
        let small = |c: &Case| if any_quick { c.quick } else { c.inputs == Inputs::Random };
        let chosen: Vec<_> = named.into_iter().filter(small).collect();
        assert!(!chosen.is_empty(), "{what}: there are no cases {names:?}");
        for (case, status) in statuses(&gpu, &chosen, &|_| ()) {
            assert_eq!(status, Status::Pass, "{case}, unbroken");
        }
        let places = Cell::new(0);
        let broken = statuses(&gpu, &chosen, &|plan| places.set(places.get() + alter(plan)));
        assert!(places.get() > 0, "{what}: nothing was broken in {names:?}");
        let red: Vec<_> = broken.iter().filter(|(_, s)| *s == Status::Fail).collect();
        writeln!(std::io::stdout(), "{what}: {} of {} cases red", red.len(), broken.len()).unwrap();
        if red.is_empty() {
            unnoticed.push(*what);
        }
    }
    assert!(unnoticed.is_empty(), "nobody noticed: {unnoticed:?}");
}
