//! What comes of small texts, and that every text of ours can be lowered.

use std::collections::{HashMap, HashSet};

use super::operands::{Role, in_place, visit};
use super::*;
use crate::check::cases;
use crate::kernel::extensions;
use crate::plan::plan;
use crate::virtual_gpu::Personality;
use crate::virtual_gpu::program::{BufferKind, Input, Inst, Node, Op, Program, Ty};

mod meaning;

/// Every text that any case runs, with a case that runs it.
fn texts() -> HashMap<String, String> {
    let (mut out, mut seen) = (HashMap::new(), HashSet::new());
    let profile = Personality::plain().profile();
    let processor = Personality::named("software-8").unwrap().profile();
    for case in cases() {
        if !seen.insert(case.plan_name()) {
            continue;
        }
        let (graph, _) = case.build().unwrap_or_else(|e| panic!("{case}: {e}"));
        let of = |profile| plan(&graph, profile, &case.policy());
        let plan = of(&profile).or_else(|_| of(&processor)).unwrap_or_else(|e| panic!("{case}: {e}"));
        for kernel in plan.kernels {
            let text = extensions::for_naga(&kernel.extensions) + &kernel.wgsl;
            out.entry(text).or_insert(case.to_string());
        }
    }
    out
}

/// All instructions, in the order of the text.
fn instructions(nodes: &[Node]) -> Vec<&Inst> {
    let mut all = Vec::new();
    for node in nodes {
        match node {
            Node::Run(insts) => all.extend(insts),
            Node::If { accept: first, reject: second, .. }
            | Node::Loop { body: first, continuing: second, .. } => {
                all.extend(instructions(first));
                all.extend(instructions(second));
            }
            Node::Scope { body, .. } => all.extend(instructions(body)),
            Node::Exit(_) => {}
        }
    }
    all
}

/// Whether no register is both read and written.
fn apart(op: &Op) -> bool {
    let (mut read, mut written) = (HashSet::new(), HashSet::new());
    visit(op, &mut |reg, role| {
        let of = if role == Role::Write { &mut written } else { &mut read };
        of.insert(*reg);
    });
    read.is_disjoint(&written)
}

#[test]
fn every_text_is_lowered_to_few_registers() {
    let how = Rewrites { contract: true, reassociate: true };
    for (text, case) in &texts() {
        let program = lower(text, &[], None, how).unwrap_or_else(|e| panic!("{case}: {e:?}"));
        // The most are those of matmul.int8, 400: sums of 16 rows and 4 columns, whole and as f32, what is loaded
        // of the rows, and codes on the way to int8. A cooperative matrix takes as many as a lane has elements
        // of it, a list of constants as it has entries, attention on processors as rows have that a lane keeps.
        let keeps = case.starts_with("attention.rows") || case.starts_with("attention.lanes");
        let many = keeps || text.contains(extensions::MATRICES) || text.contains("const WORDS = array");
        let most = if many { 3000 } else { 450 };
        assert!(program.registers < most, "{case}: {}", program.registers);
        for inst in instructions(&program.body) {
            assert!(in_place(&inst.op) || apart(&inst.op), "{case}: {inst:?}");
        }
    }
}

/// The instructions of a `main` that has `y`, to read and write, and `n`, to read.
fn lowered(body: &str, how: Rewrites) -> Program {
    let text = format!(
        "@group(0) @binding(0) var<storage, read_write> y: array<f32>;
@group(0) @binding(1) var<uniform> n: vec4<u32>;
@compute @workgroup_size(64) fn main(@builtin(local_invocation_index) i: u32) {{
{body}
}}"
    );
    lower(&text, &[], None, how).unwrap_or_else(|e| panic!("{e:?}\n{text}"))
}

fn named(program: &Program) -> Vec<String> {
    let name = |inst: &Inst| match &inst.op {
        Op::Unary { op, .. } => format!("{op:?}"),
        Op::Binary { op, .. } => format!("{op:?}"),
        Op::Ternary { op, .. } => format!("{op:?}"),
        other => format!("{other:?}").split(' ').next().unwrap_or_default().to_owned(),
    };
    instructions(&program.body).into_iter().map(name).collect()
}

#[test]
fn vectors_and_variables_cost_nothing() {
    let text = "var v = vec4(y[i], 1f, 2f, 3f); let w = v.wzyx; v.x = w.w + 1.0; var s = v; y[0] = s.x;";
    assert_eq!(named(&lowered(text, Rewrites::default())), ["Load", "Add", "Store"]);
    let text = "var s = 0f; for (var k = 0u; k < 4u; k++) { s += y[k]; } y[i] = s;";
    let names = ["Copy", "Copy", "Lt", "Load", "Add", "Add", "Store"];
    assert_eq!(named(&lowered(text, Rewrites::default())), names);
    let text = "let a = i + 1u; if (i > 3u && (a < n.x || a == 9u)) { y[0] = 1.0; }";
    let names = ["Load", "Add", "Gt", "Lt", "Not", "Eq", "Select", "Select", "Store"];
    assert_eq!(named(&lowered(text, Rewrites::default())), names);
    let text = "let unused = y[i] * 2.0; y[0] = 1.0;";
    assert_eq!(named(&lowered(text, Rewrites::default())), ["Load", "Store"], "loads may find something");
}

#[test]
fn compilers_fuse_and_reassociate_what_they_may() {
    let (plain, both) = (Rewrites::default(), Rewrites { contract: true, reassociate: true });
    let check = |text: &str, before: &[&str], after: &[&str]| {
        assert_eq!(named(&lowered(text, plain)), before, "{text}");
        assert_eq!(named(&lowered(text, both)), after, "{text}");
    };
    let (load, store) = ("Load", "Store");
    check("y[0] = y[i] * y[1] + 2.0;", &[load, load, "Mul", "Add", store], &[load, load, "Fma", store]);
    check(
        "y[0] = y[i] * y[1] - y[2];",
        &[load, load, "Mul", load, "Sub", store],
        &[load, load, load, "Neg", "Fma", store],
    );
    check("let a = y[i]; y[0] = 2.0 - a * a;", &[load, "Mul", "Sub", store], &[load, "Neg", "Fma", store]);
    // The product is of what `a` was: it cannot wait for the sum.
    let overtaken = "var a = y[i]; let p = a * a; a = y[1]; y[0] = p + a;";
    let kept = [load, "Mul", load, "Add", store];
    check(overtaken, &kept, &kept);
    let twice = "let p = y[i] * 3.0; y[0] = p + 1.0; y[1] = p;";
    let kept = [load, "Mul", "Add", store, store];
    check(twice, &kept, &kept);
    check("y[0] = (y[i] + 4.0) - 4.0;", &[load, "Add", "Sub", store], &[load, store]);
    check("y[0] = 1.0 - (y[i] + 4.0);", &[load, "Add", "Sub", store], &[load, "Sub", store]);
    check("y[0] = f32((i + 4u) - 4u);", &["Add", "Sub", "Convert", store], &["Add", "Sub", "Convert", store]);
    check(
        "let a = y[i]; y[0] = a * a * a + 1.0;",
        &[load, "Mul", "Mul", "Add", store],
        &[load, "Mul", "Fma", store],
    );
}

#[test]
fn instructions_know_where_they_stand() {
    let program = lowered("let a = y[i];\n  if (a > 1.0) {\n    y[0] = a / 2.0;\n  }", Rewrites::default());
    let at = |inst: &Inst| program.sites[inst.site.0 as usize].to_string();
    let places: Vec<_> = instructions(&program.body).into_iter().map(at).collect();
    assert_eq!(places, ["4:9", "5:7", "6:12", "6:5"]);
    let unicode = lowered("/* \u{e9}\u{e9} */ y[0] = 1.0;", Rewrites::default());
    assert_eq!(unicode.sites[instructions(&unicode.body)[0].site.0 as usize].to_string(), "4:10");
}

#[test]
fn lanes_meet_in_subgroups_and_matrices() {
    let text = "enable wgpu_cooperative_matrix;
        @group(0) @binding(0) var<storage, read_write> y: array<f32>;
        @compute @workgroup_size(32) fn main(
            @builtin(subgroup_invocation_id) i: u32, @builtin(subgroup_size) s: u32
        ) {
            let a = coopLoad<coop_mat8x8<f32, A>>(&y[0], 8u);
            let b = coopLoadT<coop_mat8x8<f32, B>>(&y[64], 8u);
            var c = coopMultiplyAdd(a, b, coop_mat8x8<f32, C>());
            coopStoreT(coopMultiplyAdd(a, b, c), &y[128u + i / s * 8u], 8u);
        }";
    let program = lower(text, &[], None, Rewrites::default()).unwrap();
    let names =
        ["CoopLoad", "CoopLoad", "CoopMultiplyAdd", "CoopMultiplyAdd", "Div", "Mul", "Add", "CoopStore"];
    assert_eq!(named(&program), names);
    let transposed = |inst: &&Inst| match inst.op {
        Op::CoopLoad { row_major, rows: 8, columns: 8, ty: Ty::F32, .. } => row_major,
        Op::CoopStore { row_major, .. } => row_major,
        _ => false,
    };
    assert_eq!(instructions(&program.body).into_iter().filter(transposed).count(), 2);
    let inputs: Vec<_> = program.inputs.iter().map(|(_, input)| *input).collect();
    assert_eq!(inputs, [Input::SubgroupInvocationId, Input::SubgroupSize]);
}

#[test]
fn programs_say_what_they_bind() {
    let text = "struct S { n: vec3<f32>, k: u32, tail: array<vec3<u32>> }
        @group(1) @binding(2) var<storage> s: S;
        @group(0) @binding(3) var<storage, read_write> unused: array<u32>;
        var<immediate> p: vec2<u32>;
        var<workgroup> a: array<u32, 3>; var<workgroup> b: bool;
        @compute @workgroup_size(4, 2) fn main() { a[0] = s.tail[p.x].y; b = true; }";
    let program = lower(text, &[], None, Rewrites::default()).unwrap();
    let [s, p] = &program.buffers[..] else { panic!("{:?}", program.buffers) };
    assert_eq!((s.name.as_str(), s.binding, s.kind), ("s", Some((1, 2)), BufferKind::Read));
    assert_eq!((s.min_bytes, s.runtime), (32, Some((16, 16))));
    assert_eq!(s.scalars, [(0, Ty::U32), (4, Ty::U32), (8, Ty::U32)]);
    assert_eq!((p.binding, p.kind, p.min_bytes), (None, BufferKind::Uniform, 8));
    assert_eq!(program.workgroup_variables, [("a".into(), 0, 12), ("b".into(), 16, 4)]);
    assert_eq!((program.workgroup_bytes, program.workgroup_size), (20, [4, 2, 1]));
}

#[test]
fn overrides_and_entry_points_are_chosen() {
    let text = "override N: u32; override M = 2 * N; var<workgroup> a: array<u32, M>;
        @compute @workgroup_size(N) fn one() { a[1] = M; }
        @compute @workgroup_size(1) fn two() { a[0] = 1u; }";
    let values = [("N".to_owned(), 3.0)];
    let how = Rewrites::default();
    let program = lower(text, &values, Some("one"), how).unwrap();
    assert_eq!((program.workgroup_size, program.workgroup_bytes), ([3, 1, 1], 24));
    let refused = |values: &[(String, f64)], entry| lower(text, values, entry, how).unwrap_err().message;
    assert!(refused(&[], Some("one")).contains("'N'"), "{}", refused(&[], Some("one")));
    assert!(refused(&[("K".to_owned(), 1.0)], Some("one")).contains("'K'"));
    assert_eq!(refused(&values, None), "which entry point is meant is not said: there are one, two");
    assert_eq!(refused(&values, Some("main")), "there is no compute entry point main, but one, two");
}

#[test]
fn what_is_not_known_is_named() {
    let refused = |source: &str, body: &str| {
        let text = format!("{source}\n@compute @workgroup_size(1) fn main() {{\n{body}\n}}");
        let rejected = lower(&text, &[], None, Rewrites::default()).unwrap_err();
        format!("{}: {}", rejected.place.map_or_else(|| "-".to_owned(), |p| p.to_string()), rejected.message)
    };
    let texture = "@group(0) @binding(0) var t: texture_2d<f32>;";
    let message = refused(texture, "_ = textureLoad(t, vec2(0, 0), 0);");
    assert_eq!(message, "1:23: the virtual GPU does not know textures");
    let message = refused("", "var a = 1li; a += 1li;");
    assert_eq!(message, "3:9: the virtual GPU does not know the type i64");
    assert!(refused("", "let a = 1u + ;").starts_with("3:14: "), "{}", refused("", "let a = 1u + ;"));
    assert!(refused("", "let a: u32 = 1.5;").starts_with("3:"));
    let many = refused("var<private> a: array<u32, 2000000>;", "a[1] = 1u;");
    assert_eq!(many, "1:1: the virtual GPU does not know values of 2000000 scalars");
}

#[test]
fn a_directive_that_only_naga_refuses_is_no_obstacle() {
    let source = "enable f16, subgroups; // both\n@group(0) @binding(0) var<storage, read_write> y: array<f32>;\n\
                  @compute @workgroup_size(32) fn main() { y[0] = subgroupAdd(1.0); }";
    let dialect = naga_dialect(source);
    assert!(dialect.starts_with("enable f16;            // both\n"), "{dialect}");
    assert_eq!(dialect.len(), source.len());
    assert!(lower(source, &[], None, Rewrites::default()).is_ok());
}

#[test]
fn overrides_go_by_their_names() {
    let source = "@id(3) override n: u32;\n@group(0) @binding(0) var<storage, read_write> y: array<u32>;\n\
                  @compute @workgroup_size(1) fn main() { y[0] = n; }";
    assert!(lower(source, &[("n".into(), 2.0)], None, Rewrites::default()).is_ok());
}
