//! Views: layouts where strides can say them, copies where they cannot.

use tachylite::plan::{Param, Plan, Role};
use tachylite::{DType, Graph, ValueId};

use crate::random::{agrees, tensors};
use crate::{fixed, kernels, ops, portable};
use tachylite::ops::attention::Attention;

fn x(g: &mut Graph, shape: &[usize]) -> ValueId {
    g.input("x", DType::F32, &fixed(shape)).unwrap()
}

/// A parameter's value, where no dim of the call is in it.
fn param(p: &Plan, step: usize, name: &str) -> u64 {
    let kernel = &p.kernels[p.steps[step].kernel];
    let i = kernel.params.iter().position(|d| d.name == name).unwrap_or_else(|| panic!("no `{name}`"));
    match &p.steps[step].params[i] {
        Param::U32(e) => e.max(&[]),
        other => panic!("`{name}` is {other:?}"),
    }
}

#[test]
fn columns_at_a_multiple_of_four_are_read_in_place() {
    let mut g = Graph::new();
    let a = x(&mut g, &[6, 24]);
    let v = g.slice(a, 1, 8, 8).unwrap();
    let y = g.relu(v).unwrap();
    g.output("y", y).unwrap();
    let p = portable(&g);
    assert_eq!(kernels(&p), ["elementwise.rows"]);
    assert_eq!((param(&p, 0, "x_offset"), param(&p, 0, "x_R"), param(&p, 0, "C")), (2, 6, 8));
    let (buffer, layout) = p.values[v.index()].as_ref().unwrap();
    assert_eq!((p.inputs[0].buffer, 8), (*buffer, layout.offset));
}

#[test]
fn columns_elsewhere_and_rows_that_do_not_merge_are_copied() {
    let mut g = Graph::new();
    let a = x(&mut g, &[6, 24]);
    let v = g.slice(a, 1, 3, 8).unwrap();
    let y = g.relu(v).unwrap();
    g.output("y", y).unwrap();
    let p = portable(&g);
    assert_eq!(kernels(&p), ["copy.gather", "elementwise.rows"]);
    assert_eq!(ops(&g, &p, 0), ["slice"]);
    assert_eq!(p.steps[0].reads, [a.index()]);
    assert_eq!(p.steps[0].writes[0].0, v.index());
    let got = ["n4", "n5", "s4", "s5", "x_offset", "y_R"].map(|n| param(&p, 0, n));
    assert_eq!(got, [6, 8, 24, 1, 3, 2]);

    let mut g = Graph::new();
    let a = x(&mut g, &[2, 5, 8]);
    let v = g.slice(a, 1, 1, 3).unwrap();
    let y = g.relu(v).unwrap();
    g.output("y", y).unwrap();
    let p = portable(&g);
    assert_eq!(kernels(&p), ["copy.gather", "elementwise.rows"]);
    // 3 rows of 8 are 24 elements in a row
    let got = ["n3", "n4", "n5", "s3", "s4", "s5", "x_offset"].map(|n| param(&p, 0, n));
    assert_eq!(got, [1, 2, 24, 0, 40, 1, 8]);
}

#[test]
fn a_copy_serves_everybody_who_needs_it() {
    let mut g = Graph::new();
    let a = x(&mut g, &[6, 24]);
    let v = g.slice(a, 1, 3, 8).unwrap();
    for (i, f) in [Graph::relu, Graph::silu, Graph::tanh].into_iter().enumerate() {
        let y = f(&mut g, v).unwrap();
        g.output(&format!("y{i}"), y).unwrap();
    }
    assert_eq!(kernels(&portable(&g)).iter().filter(|k| **k == "copy.gather").count(), 1);
}

#[test]
fn heads_of_a_multiple_of_four_are_read_in_place_and_others_copied() {
    let attention = |width: usize| {
        let mut g = Graph::new();
        let a = x(&mut g, &[2, 5, 3 * 2 * width]);
        let parts = [0, 1, 2].map(|i| {
            let part = g.slice(a, 2, i * 2 * width, 2 * width).unwrap();
            g.reshape(part, &fixed(&[2, 5, 2, width])).unwrap()
        });
        let o = g.attention(parts[0], parts[1], parts[2], Attention::default()).unwrap();
        g.output("o", o).unwrap();
        portable(&g)
    };
    let p = attention(8);
    assert_eq!(kernels(&p), ["attention.online"]);
    assert_eq!(["k_offset", "k_B", "k_T", "k_G"].map(|n| param(&p, 0, n)), [4, 60, 12, 2]);
    assert_eq!(kernels(&attention(6)), ["copy.gather", "copy.gather", "copy.gather", "attention.online"]);
}

#[test]
fn a_reshape_across_padding_is_copied_from_its_parent() {
    let mut g = Graph::new();
    let a = x(&mut g, &[4, 6]);
    let v = g.reshape(a, &fixed(&[3, 8])).unwrap();
    let y = g.relu(v).unwrap();
    g.output("y", y).unwrap();
    let p = portable(&g);
    assert_eq!(kernels(&p), ["copy.gather", "elementwise.rows"]);
    let got = ["R", "C", "n4", "n5", "s4", "s5"].map(|n| param(&p, 0, n));
    assert_eq!(got, [3, 8, 4, 6, 8, 1]);
}

#[test]
fn an_output_that_renames_a_whole_result_needs_no_copy() {
    let mut g = Graph::new();
    let a = x(&mut g, &[4, 6]);
    let y = g.relu(a).unwrap();
    let v = g.reshape(y, &fixed(&[2, 2, 6])).unwrap();
    g.output("v", v).unwrap();
    let p = portable(&g);
    assert_eq!(kernels(&p), ["elementwise.rows"]);
    assert_eq!(p.buffers.iter().filter(|b| b.role == Role::Scratch).count(), 0);
    assert_eq!(p.values[v.index()].as_ref().unwrap().0, p.outputs[0].buffer);
}

#[test]
fn other_views_and_inputs_as_outputs_are_copied() {
    let copies = |f: fn(&mut Graph, ValueId)| {
        let mut g = Graph::new();
        let a = x(&mut g, &[4, 8]);
        f(&mut g, a);
        let p = portable(&g);
        let buffers: Vec<_> = p.outputs.iter().map(|o| o.buffer).collect();
        assert!(buffers.iter().all(|b| matches!(p.buffers[*b].role, Role::Output(_))));
        kernels(&p).iter().filter(|k| **k == "copy.gather").count()
    };
    assert_eq!(copies(|g, a| g.output("same", a).unwrap()), 1);
    assert_eq!(
        copies(|g, a| {
            let y = g.relu(a).unwrap();
            let v = g.slice(y, 0, 1, 2).unwrap();
            g.output("v", v).unwrap();
        }),
        1
    );
    assert_eq!(
        copies(|g, a| {
            let y = g.relu(a).unwrap();
            let v = g.reshape(y, &fixed(&[2, 2, 8])).unwrap();
            g.output("v", v).unwrap();
            g.output("y", y).unwrap();
        }),
        1
    );
}

#[test]
fn an_output_that_had_to_be_copied_anyway_is_that_copy() {
    let mut g = Graph::new();
    let a = x(&mut g, &[4, 8]);
    let v = g.slice(a, 1, 1, 4).unwrap();
    let y = g.relu(v).unwrap();
    g.output("v", v).unwrap();
    g.output("y", y).unwrap();
    let p = portable(&g);
    assert_eq!(kernels(&p), ["copy.gather", "elementwise.rows"]);
    assert_eq!(p.steps[0].writes[0].1, p.outputs[0].buffer);
}

#[test]
fn what_no_copy_can_say_is_an_error_that_names_it() {
    let error = |g: &Graph| {
        tachylite::plan::plan(g, &tachylite::Profile::portable(), &Default::default()).unwrap_err()
    };
    let mut g = Graph::new();
    let mut v = x(&mut g, &[3, 3, 3, 3, 3, 3, 9]);
    for axis in 0..7 {
        v = g.slice(v, axis, 1, 2).unwrap();
    }
    let y = g.relu(v).unwrap();
    g.output("y", y).unwrap();
    assert!(
        error(&g).to_string().contains("`slice6.y` (f32, 7 axes that do not lie tight)"),
        "{}",
        error(&g)
    );

    let mut g = Graph::new();
    let ids = g.input("ids", DType::U32, &fixed(&[3, 4])).unwrap();
    let first = g.slice(ids, 1, 0, 2).unwrap();
    let table = g.weight("table", DType::F32, &[10, 8]).unwrap();
    let y = g.embed(&[(first, table)]).unwrap();
    g.output("y", y).unwrap();
    assert!(error(&g).to_string().contains("u32"), "{}", error(&g));
}

#[test]
fn indices_through_views_still_say_how_far_they_may_go() {
    let mut g = Graph::new();
    let ids = g.input("ids", DType::U32, &fixed(&[12])).unwrap();
    let grid = g.reshape(ids, &fixed(&[3, 4])).unwrap();
    let (small, large) =
        (g.weight("small", DType::F32, &[10, 8]).unwrap(), g.weight("large", DType::F32, &[100, 8]).unwrap());
    let y = g.embed(&[(grid, large), (grid, small)]).unwrap();
    g.output("y", y).unwrap();
    let p = portable(&g);
    assert_eq!(p.inputs[0].below, Some(10));
    assert_eq!(["V0", "V1", "table0_V"].map(|n| param(&p, 0, n)), [100, 10, 2]);
}

#[test]
fn an_offset_that_each_call_gives_is_copied_and_one_past_it_takes_two_copies() {
    let mut g = Graph::new();
    let b = g.dim("B", 3).unwrap();
    let a = g.input("x", DType::F32, &[4.into(), b, 12.into()]).unwrap();
    let v = g.slice(a, 0, 1, 2).unwrap();
    let w = g.slice(v, 2, 4, 8).unwrap();
    let y = g.relu(w).unwrap();
    g.output("y", y).unwrap();
    let p = portable(&g);
    assert_eq!(kernels(&p), ["copy.gather", "elementwise.rows"]);
    assert_eq!(ops(&g, &p, 0), ["slice"]);
    assert_eq!(param(&p, 1, "x_offset"), 1);
    for rows in [3.0, 2.0, 0.0] {
        let call = p.call(&[("B", rows)]).unwrap();
        agrees(&g, &p, &call, &tensors(&g, &call), "slices of slices");
    }
}

#[test]
fn a_view_that_one_kernel_reads_in_place_outlives_its_copy_for_another() {
    let mut g = Graph::new();
    let a = x(&mut g, &[2, 5, 8]);
    let lengths = g.input("lengths", DType::U32, &fixed(&[2])).unwrap();
    let h = g.tanh(a).unwrap();
    let v = g.slice(h, 1, 1, 3).unwrap();
    let pooled = g.mean_pool(v, lengths).unwrap();
    let y = g.silu(v).unwrap();
    let y = g.l2_normalize(y, 1e-6).unwrap();
    g.output("y", y).unwrap();
    g.output("pooled", pooled).unwrap();
    let p = portable(&g);
    let names =
        ["elementwise.rows", "mean_pool.columns", "copy.gather", "elementwise.rows", "l2_normalize.row"];
    assert_eq!(kernels(&p), names);
    // whoever looks at what step 3 read finds it where step 1 read it
    let looked = p.values[v.index()].as_ref().unwrap().0;
    assert_eq!(looked, p.steps[0].writes[0].1);
    assert_ne!(looked, p.steps[3].writes[0].1);
}

#[test]
fn scales_of_columns_need_not_start_their_buffer() {
    let mut g = Graph::new();
    let a = x(&mut g, &[3, 8]);
    let w = g.weight("w", DType::I8, &[12, 8]).unwrap();
    let scales = g.input("scales", DType::F32, &fixed(&[20])).unwrap();
    let some = g.slice(scales, 0, 8, 12).unwrap();
    let y = g.matmul_int8(a, w, some, None).unwrap();
    g.output("y", y).unwrap();
    let p = portable(&g);
    assert_eq!(p.steps.len(), 1);
    let call = p.call(&[]).unwrap();
    agrees(&g, &p, &call, &tensors(&g, &call), "scales of columns");
}

#[test]
fn a_copy_that_a_kernel_reads_is_where_the_view_is_found() {
    let mut g = Graph::new();
    let a = x(&mut g, &[4, 6]);
    let v = g.reshape(a, &fixed(&[3, 8])).unwrap();
    let y = g.relu(v).unwrap();
    g.output("y", y).unwrap();
    let p = portable(&g);
    assert_eq!(p.values[v.index()].as_ref().unwrap().0, p.steps[0].writes[0].1);
}

#[test]
fn axes_in_another_order_are_read_in_place_while_the_last_stays() {
    let mut g = Graph::new();
    let a = x(&mut g, &[2, 3, 5, 8]);
    let heads = g.transpose(a, &[0, 2, 1, 3]).unwrap();
    let o = g.attention(heads, heads, heads, Attention::default()).unwrap();
    g.output("o", o).unwrap();
    let p = portable(&g);
    assert_eq!(kernels(&p), ["attention.online"]);
    assert_eq!(["q_B", "q_S", "q_H"].map(|n| param(&p, 0, n)), [30, 2, 10]);

    let mut g = Graph::new();
    let a = x(&mut g, &[3, 8]);
    let turned = g.transpose(a, &[1, 0]).unwrap();
    let y = g.relu(turned).unwrap();
    g.output("y", y).unwrap();
    assert_eq!(kernels(&portable(&g)), ["copy.gather", "elementwise.rows"]);
}

#[test]
fn rows_and_columns_join_a_chain_and_what_else_is_broadcast_is_read_through_strides_or_copied() {
    let steps = |other: &[usize]| {
        let mut g = Graph::new();
        let a = x(&mut g, &[2, 3, 8]);
        let y = g.silu(a).unwrap();
        let b = g.input("b", DType::F32, &fixed(other)).unwrap();
        let y = g.sub(b, y).unwrap();
        g.output("y", y).unwrap();
        let p = portable(&g);
        let last = p.steps.len() - 1;
        let row = param(&p, last, "post0_R");
        (kernels(&p).into_iter().map(str::to_owned).collect::<Vec<_>>(), row, p.kernels[last].wgsl.clone())
    };
    for other in [&[8][..], &[1, 1, 8]] {
        let (kernels, row, _) = steps(other);
        assert_eq!((kernels.as_slice(), row), (&["elementwise.rows".to_owned()][..], 0), "{other:?}");
    }
    let (names, row, wgsl) = steps(&[2, 3, 1]);
    assert_eq!((names.len(), row), (1, 4), "a column, in elements");
    assert!(wgsl.contains("v = vec4<f32>(load4_post0(at0 >> 2u)[at0 & 3u]) - v;"), "{wgsl}");
    for other in [&[2, 1, 8][..], &[3, 1], &[1]] {
        let (names, row, _) = steps(other);
        assert_eq!((names.len(), row), (2, 2), "{other:?} is copied");
        assert_eq!(names[0], "copy.gather");
    }
}

#[test]
fn shapes_that_do_not_broadcast_are_named() {
    let mut g = Graph::new();
    let a = x(&mut g, &[2, 3, 8]);
    let b = g.input("b", DType::F32, &fixed(&[2, 8])).unwrap();
    assert_eq!(
        g.add(a, b).unwrap_err().to_string(),
        "add: [2, 3, 8] and [2, 8] cannot be broadcast to one shape: axis 0 of `b` is 2, but another's is 3"
    );
    let message = |e: Result<ValueId, tachylite::Error>| e.unwrap_err().to_string();
    assert_eq!(
        message(g.expand(b, &fixed(&[2, 9]))),
        "expand: `x` is [2, 8], which cannot be broadcast to [2, 9]"
    );
    assert_eq!(
        message(g.transpose(a, &[0, 2])),
        "transpose: `order` is [0, 2], but it must name each of the 3 axes of `x` once"
    );
    assert_eq!(
        message(g.concat(&[a, b], 1)),
        "concat: `x0` is [2, 3, 8] and `x1` is [2, 8], which do not differ in axis 1 alone"
    );
    assert_eq!(message(g.pad(b, 2, 1, 1, 0.0)), "pad: `x` has 2 axes, but axis 2 was asked for");
    assert_eq!(
        message(g.pad(b, 1, 1, 1, f32::INFINITY)),
        "pad: attribute `value` is inf, but it must be finite"
    );
    assert_eq!(message(g.gather(a, b, 3)), "gather: `x` has 3 axes, but axis 3 was asked for");
    assert_eq!(message(g.clamp(a, 1.0, 0.0)), "clamp: `min` is 1, but `max` is 0");
    assert_eq!(message(g.cast(a, DType::U32)), "cast: u32 is no type that a tensor can be cast to");
    let rows = g.dim("rows", 9).unwrap();
    let c = g.input("c", DType::F32, &[rows, 7.into()]).unwrap();
    assert!(
        message(g.add(c, b)).starts_with("add: [rows, 7] and [2, 8] cannot be broadcast to one shape: axis ")
    );
    let scale = g.weight("scale", DType::F32, &[3]).unwrap();
    assert_eq!(
        message(g.quantize(b, scale, None, DType::F16, Default::default())),
        "quantize: to f16, but it must be to i8 or u8"
    );
    assert!(
        message(g.dequantize(b, scale, None, DType::F32)).starts_with("dequantize: [2, 8] and [3] cannot")
    );
}
