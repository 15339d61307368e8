use super::*;

/// The example of the help text.
fn example() -> String {
    let start = FORMAT.find('{').unwrap();
    let end = FORMAT.find("\n  }\n").unwrap() + 4;
    let text = &FORMAT[start..end];
    text.replace("sizes that each call gives, with their bounds", "")
        .replace("floats that each call gives", "")
}

#[test]
fn the_example_of_the_help_is_a_graph() {
    let g = graph(&example()).unwrap();
    assert_eq!(g.nodes().len(), 3);
    assert_eq!(g.scalars().len(), 2);
    assert_eq!(g.show_shape(g.outputs()[0]), "[B, 1536]");
}

#[test]
fn views_attention_and_products_of_dims_are_read() {
    let g = graph(
        r#"{"dims": {"B": 2, "S": 9},
            "inputs": [{"name": "x", "dtype": "f16", "shape": ["B", "S", 96]}],
            "nodes": [
              {"op": "slice", "inputs": ["x"], "attrs": {"axis": 2, "start": 32, "len": 32}, "name": "part"},
              {"op": "reshape", "inputs": ["part"], "attrs": {"shape": ["B", "S", 2, 16]}, "name": "q"},
              {"op": "attention", "inputs": ["q", "q", "q", null], "attrs": {"causal": true}, "name": "o"},
              {"op": "reshape", "inputs": ["o"], "attrs": {"shape": ["B*S*2", 16]}, "name": "y"}],
            "outputs": ["y"]}"#,
    )
    .unwrap();
    assert_eq!(g.show_shape(g.outputs()[0]), "[B·S·2, 16]");
    assert_eq!(
        g.nodes()[2].attrs,
        [
            ("reach", Attr::U32(1)),
            ("left", Attr::U32(u32::MAX)),
            ("right", Attr::U32(0)),
            ("softcap", Attr::F32(0.0)),
            ("lse", Attr::U32(0)),
            ("k_form", Attr::U32(0)),
            ("v_form", Attr::U32(0)),
            ("v_width", Attr::U32(0)),
            ("scale", Attr::F32(0.25))
        ]
    );
}

#[test]
fn what_is_wrong_is_one_sentence_with_the_place() {
    for (from, to, says) in [
        ("\"dims\"", "\"dim\"", "the graph: there is no field `dim`; there are dims, "),
        ("{\"B\": 32}", "{\"B\": -1}", "dims.B: the bound must be a whole number"),
        ("\"q8_0\"", "\"q9\"", "weights[0].dtype: there is no type `q9`"),
        ("[\"B\", 384]", "[\"C\", 384]", "inputs[0].shape[0]: there is no dim `C`"),
        ("[1536, 384]", "[1536, 385]", "weights[0]: weight `w`: tensor: the last axis of q8_0"),
        ("[\"x\", \"w\"]", "[\"x\", \"v\"]", "nodes[0].inputs[1]: there is no tensor `v`"),
        ("[\"x\", \"w\"]", "[\"x\", \"b\"]", "nodes[0]: matmul: `w` needs 2 axes"),
        ("\"alpha\"}", "\"beta\"}", "nodes[2].attrs.scale: there is no scalar `beta`"),
        ("{\"scale\"", "{\"size\"", "nodes[2].attrs.size: scale has no such attribute"),
        ("\"matmul\"", "\"conv\"", "nodes[0].op: there is no op `conv`; there are matmul, "),
        ("[\"y\"]", "[7]", "outputs[0]: must be the name of a tensor"),
        ("\"scalars\": [", "\"scalars\": ", "expected"),
    ] {
        let broken = example().replacen(from, to, 1);
        assert_ne!(broken, example(), "{from}");
        let error = graph(&broken).unwrap_err();
        assert!(error.contains(says) && !error.contains('\n'), "{error}\nwanted: {says}");
    }
}

#[test]
fn methods_that_are_no_ops_are_nodes_too() {
    let text = r#"{"dims": {"B": 2},
        "inputs": [{"name": "x", "dtype": "f32", "shape": ["B", 3, 8]},
                   {"name": "i", "dtype": "u32", "shape": [5]}],
        "weights": [{"name": "scale", "dtype": "f32", "shape": [8]}],
        "nodes": [
          {"op": "transpose", "inputs": ["x"], "attrs": {"order": [1, 0, 2]}, "name": "t"},
          {"op": "mean", "inputs": ["x"], "attrs": {"axes": [2], "keep": true}, "name": "m"},
          {"op": "sub", "inputs": ["x", "m"], "name": "centred"},
          {"op": "softmax", "inputs": ["centred"], "name": "p"},
          {"op": "where", "inputs": ["p", "x", "m"], "name": "chosen"},
          {"op": "concat", "inputs": ["chosen", "p", "x"], "attrs": {"axis": 1}, "name": "c"},
          {"op": "gather", "inputs": ["c", "i"], "attrs": {"axis": 1}, "name": "g"},
          {"op": "quantize", "inputs": ["g", "scale", null], "attrs": {"to": "i8"}, "name": "q"}],
        "outputs": ["t", "q"]}"#;
    let g = graph(text).unwrap();
    assert_eq!(g.show_shape(g.outputs()[0]), "[3, B, 8]");
    assert_eq!(
        (g.show_shape(g.outputs()[1]).as_str(), g.value(g.outputs()[1]).dtype),
        ("[B, 5, 8]", DType::I8)
    );
    for (from, to, says) in [
        ("[1, 0, 2]", "[1, -1]", "nodes[0].attrs.order: must be a list of whole numbers"),
        ("\"keep\": true", "\"keep\": 1", "nodes[1].attrs.keep: must be true or false"),
        (
            "[\"centred\"]",
            "[\"centred\", \"x\"]",
            "nodes[3].inputs: softmax takes 1 tensors, but 2 were given",
        ),
        ("\"i8\"", "\"i9\"", "nodes[7].attrs.to: must be a type"),
    ] {
        let error = graph(&text.replacen(from, to, 1)).unwrap_err();
        assert!(error.contains(says), "{error}\nwanted: {says}");
    }
}
