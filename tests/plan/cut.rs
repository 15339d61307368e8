//! Weights that no binding holds: which pieces they are cut into, and that nobody who reads the results sees it.

use tachylite::plan::prepare::{Weights, prepare};
use tachylite::plan::{Plan, Policy, Role, WeightForm, plan};
use tachylite::profile::Limits;
use tachylite::{DType, Graph, Profile, Tensor};

fn small(binding_bytes: u64) -> Profile {
    let limits = Limits { storage_binding_bytes: binding_bytes, ..Limits::WEBGPU };
    Profile { limits, ..Profile::portable() }
}

fn product(n: usize, k: usize, dtype: DType) -> Graph {
    let mut g = Graph::new();
    let x = g.input("x", DType::F32, &[1.into(), k.into()]).unwrap();
    let w = g.weight("w", dtype, &[n, k]).unwrap();
    let bias = g.weight("bias", DType::F32, &[n]).unwrap();
    let y = g.matmul(x, w).unwrap();
    let y = g.add(y, bias).unwrap();
    g.output("y", y).unwrap();
    g
}

fn rows(p: &Plan) -> Vec<(usize, usize)> {
    let of = |w: &tachylite::plan::WeightSpec| w.rows.as_ref().map(|r| (r.start, r.end));
    p.weights.iter().filter_map(of).collect()
}

#[test]
fn a_weight_is_cut_where_panels_end_into_pieces_that_are_about_as_large() {
    // A row takes 64 bytes; what fits are 7 panels of 128 rows.
    let p = plan(&product(1800, 16, DType::F32), &small(60_000), &Policy::default()).unwrap();
    assert_eq!(rows(&p), [(0, 640), (640, 1280), (1280, 1800)]);
    assert!(p.buffers.iter().all(|b| b.bytes <= 60_000));
    let names: Vec<_> = p.steps.iter().map(|s| s.kernel_name.as_ref()).collect();
    assert!(names.iter().all(|n| *n == names[0]), "{names:?}");
    // All is done when the last piece is.
    let [first, second, last] = p.steps.as_slice() else { panic!("{names:?}") };
    assert!(first.nodes.is_empty() && first.writes.is_empty() && second.writes.is_empty());
    assert_eq!((last.nodes.len(), last.writes.len()), (2, 1));
    let y = |i: usize| p.steps[i].bindings.iter().find(|b| b.write).unwrap().buffer;
    assert_eq!([y(0), y(1)], [y(2), y(2)]);
    assert_eq!(p.buffers[y(0)].role, Role::Output(0));
}

#[test]
fn a_panel_that_is_too_large_is_cut_by_groups_of_columns_and_less_than_that_is_refused() {
    let g = product(30, 256, DType::F32);
    let p = plan(&g, &small(8 << 10), &Policy::default()).unwrap();
    assert_eq!(rows(&p), [(0, 8), (8, 16), (16, 24), (24, 30)]);
    let e = plan(&g, &small(2 << 10), &Policy::default()).unwrap_err().to_string();
    assert_eq!(e, "tensor `w` takes 30720 bytes, but the device's limit on what a kernel may bind is 2048");
}

#[test]
fn nothing_is_cut_that_fits_and_policy_cuts_earlier() {
    let g = product(300, 32, DType::Q8_0);
    assert!(rows(&plan(&g, &Profile::portable(), &Policy::default()).unwrap()).is_empty());
    let policy = Policy { weight_bytes: Some(4096), ..Policy::default() };
    let p = plan(&g, &Profile::portable(), &policy).unwrap();
    // Codes and scales of each piece.
    let pieces = [(0, 128), (128, 256), (256, 300)];
    assert_eq!(rows(&p), pieces.iter().flat_map(|p| [*p, *p]).collect::<Vec<_>>());
    let held: u64 = p.weights.iter().map(|w| w.bytes).sum();
    assert!(held <= (300 * 34 + 300 * 4) + 48 * 3, "{held}: pieces are padded by no more than a whole is");
    assert!(p.explain(&g).contains("rows 128..256 of the 300 of `w`"), "{}", p.explain(&g));
}

#[test]
fn pieces_hold_the_rows_that_they_say() {
    let policy = Policy { weight_bytes: Some(4096), ..Policy::default() };
    let p = plan(&product(300, 16, DType::F16), &Profile::portable(), &policy).unwrap();
    let values: Vec<f64> = (0..300 * 16).map(|i| f64::from(i % 2048)).collect();
    let w = Tensor::from_f64(DType::F16, &[300, 16], &values).unwrap();
    let bias = Tensor::zeros(DType::F32, &[300]).unwrap();
    let given = Weights::from([("w".to_owned(), w.clone()), ("bias".to_owned(), bias)]);
    for spec in p.weights.iter().filter(|s| s.form == WeightForm::Panels) {
        let rows = spec.rows.clone().unwrap();
        let alone = w.slice(0, rows.start, rows.end).unwrap();
        let mut whole = spec.clone();
        whole.rows = None;
        whole.sources[0].shape[0] = rows.len();
        let alone = Weights::from([("w".to_owned(), alone)]);
        assert_eq!(prepare(spec, &given).unwrap(), prepare(&whole, &alone).unwrap());
    }
}

#[test]
fn tables_are_cut_by_rows_and_the_last_piece_has_what_is_past_the_end() {
    let mut g = Graph::new();
    let idx = g.input("idx", DType::U32, &[5.into()]).unwrap();
    let table = g.weight("table", DType::F16, &[1000, 24]).unwrap();
    let y = g.embed(&[(idx, table)]).unwrap();
    g.output("y", y).unwrap();
    let p = plan(&g, &small(16 << 10), &Policy::default()).unwrap();
    assert_eq!(rows(&p), [(0, 256), (256, 512), (512, 768), (768, 1000)]);
    assert_eq!(p.inputs[0].below, Some(1000));
    let first = |i: usize| {
        let at = p.kernels[p.steps[i].kernel].params.iter().position(|d| d.name == "table0_first").unwrap();
        p.steps[i].params[at].clone()
    };
    assert_eq!(first(3), tachylite::plan::Param::U32(tachylite::Dim::from(768).into()));
    assert_eq!(p.kernels.len(), 1, "pieces share a text");
}

#[test]
fn what_is_not_cut_is_refused_as_before() {
    let mut g = Graph::new();
    let x = g.input("x", DType::F32, &[3.into(), 40.into()]).unwrap();
    let w = g.weight("w", DType::F32, &[2000, 40]).unwrap();
    let y = g.add(w, w).unwrap();
    let y = g.matmul(x, y).unwrap();
    g.output("y", y).unwrap();
    let e = plan(&g, &small(100_000), &Policy::default()).unwrap_err().to_string();
    assert!(e.starts_with("tensor `") && e.ends_with("what a kernel may bind is 100000"), "{e}");
}
