use super::*;

const HEAD: &str = "@group(0) @binding(0) var<storage, read> a: array<a_group>;
@group(0) @binding(1) var<storage, read> b: array<b_group>;
struct Params { R: u32, C: u32, x_offset: u32, x_R: u32, eps: f32, }
const BLOCK: u32 = 64u;
";

/// What an operator makes of the lines of a function, by the lines that change.
fn made(operator: &str, body: &str) -> Vec<String> {
    let text = format!("{HEAD}fn f(a: u32) {{\n{body}\n}}\n");
    mutants("f.wgsl", &text).into_iter().filter(|m| m.operator == operator).map(|m| m.after).collect()
}

#[test]
fn barriers_guards_and_masks_are_dropped() {
    assert_eq!(
        made("barrier", "workgroupBarrier(); // all is there"),
        ["/* not workgroupBarrier( */ // all is there"]
    );
    assert_eq!(made("guard", "if i >= p.R {\nreturn;\n}"), ["if false {"]);
    assert_eq!(made("guard", "if i < p.R {\nstore4_y(i, v);\n}"), ["if true {"]);
    assert_eq!(made("never", "if i < p.R {\nstore4_y(i, v);\n}"), ["if false {"]);
    assert_eq!(made("mask", "let v = select(vec4<f32>(0.0), x, live);"), ["let v = (x);"]);
    assert_eq!(made("unmask", "let v = select(vec4<f32>(0.0), x, live);"), ["let v = (vec4<f32>(0.0));"]);
    let dropped = made("post", "store4_y(i, apply4_post(v / n, r, c4));");
    assert_eq!(dropped, ["store4_y(i, (v / n) /* not apply4_post( */);"]);
}

#[test]
fn indices_and_bounds_are_shifted_by_one() {
    assert_eq!(made("index_up", "s[i * 2u] = 0.0;"), ["s[(i * 2u) + 1] = 0.0;"]);
    assert_eq!(made("index_down", "let v = load4_x(i + c, d);"), ["let v = load4_x((i + c) - 1, d);"]);
    let head = "for (var i = 0u; i < p.R; i++) {\n}";
    assert_eq!(made("bound_up", head), ["for (var i = 0u; i < (p.R) + 1; i++) {"]);
    assert_eq!(made("bound_down", head), ["for (var i = 0u; i < (p.R) - 1; i++) {"]);
    assert_eq!(made("start_up", head), ["for (var i = (0u) + 1; i < p.R; i++) {"]);
    assert_eq!(made("less", head), ["for (var i = 0u; i <= p.R; i++) {"]);
    let unrolled = "//@unroll i 0..4\nfor (var i = 0u; i < 4u; i++) {\n}";
    assert!(mutants("f.wgsl", &format!("fn f() {{\n{unrolled}\n}}")).is_empty());
}

#[test]
fn signs_are_told_from_operators_and_brackets_of_types_from_comparisons() {
    assert_eq!(
        made("less", "let live = vec4<u32>(i) < vec4<u32>(n);"),
        ["let live = vec4<u32>(i) <= vec4<u32>(n);"]
    );
    assert_eq!(made("plus", "let v = -a + b;"), ["let v = -a - b;"]);
    assert_eq!(made("negate", "let v = -a - b;"), ["let v = a - b;"]);
    assert!(made("plus", "return -a;").is_empty());
    assert_eq!(made("extremum", "let v = min(a, max(b, c));").len(), 2);
    assert_eq!(
        made("component", "let v = wg.y * wgs.x + z;"),
        ["let v = wg.x * wgs.x + z;", "let v = wg.y * wgs.y + z;"]
    );
    assert!(made("component", "let x = y;").is_empty());
}

#[test]
fn statements_and_first_values_are_changed() {
    assert_eq!(made("initial", "var sum = 0.0;"), ["var sum = (0.0) + 1;"]);
    assert_eq!(made("initial", "var top = HIDDEN;"), ["var top = (HIDDEN) - (HIDDEN);"]);
    assert_eq!(made("omit", "parts[lane] = top;"), [";"]);
    assert!(made("omit", "let a = b;").is_empty() && made("omit", "workgroupBarrier();").is_empty());
    assert_eq!(made("constant", "let v = i * 4u + 0.5 * x[3] + 0.0;").len(), 3);
}

#[test]
fn tensors_and_parameters_are_mistaken_for_their_neighbours() {
    let text = format!("{HEAD}fn f() {{\n  let v = load4_a(i) - load4_b(i);\n}}\n");
    let exchanged: Vec<_> =
        mutants("f.wgsl", &text).into_iter().filter(|m| m.operator == "exchange").collect();
    assert_eq!(exchanged.len(), 1);
    assert_eq!((exchanged[0].line, exchanged[0].after.as_str()), (2, "let v = load4_b(i) - load4_a(i);"));
    assert_eq!(
        made("parameter", "let at = p.x_R + p.R;"),
        ["let at = p.x_offset + p.R;", "let at = p.x_R + p.C;"]
    );
}

#[test]
fn nothing_but_bodies_is_changed_and_ids_are_one_of_a_kind() {
    assert!(mutants("f.wgsl", HEAD).is_empty());
    for (file, source) in tachylite::kernel::sources() {
        let all = mutants(file, source);
        let ids: std::collections::HashSet<_> = all.iter().map(Mutant::id).collect();
        assert_eq!(ids.len(), all.len(), "{file}");
    }
}

#[test]
fn what_only_touches_memory_is_left_alone() {
    let text =
        |name: &str| format!("\nfn {name}(i: u32) -> u32 {{\n  return i / 2u + 1u;\n}}\n\nfn g() {{\n}}\n");
    assert!(mutants("f.wgsl", &text("touch_a")).is_empty());
    assert!(!mutants("f.wgsl", &text("load_a")).is_empty());
}
