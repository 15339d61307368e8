//! What `tachylite tune` leaves in a file, as other commands meet it.

use std::process::{Command, Output};

use tachylite::plan::Policy;
use tachylite::tune::{Tasks, Tuning, Winner, texts};
use tachylite::{DType, Graph, Profile};

fn program(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_tachylite")).args(arguments).output().unwrap()
}

const GRAPH: &str = r#"{"inputs": [{"name": "x", "dtype": "f32", "shape": [64, 512]}],
    "weights": [{"name": "w", "dtype": "f32", "shape": [256, 512]}],
    "nodes": [{"op": "matmul", "inputs": ["x", "w"], "name": "y"}], "outputs": ["y"]}"#;

fn product() -> Graph {
    let mut g = Graph::new();
    let x = g.input("x", DType::F32, &[64.into(), 512.into()]).unwrap();
    let w = g.weight("w", DType::F32, &[256, 512]).unwrap();
    let y = g.matmul(x, w).unwrap();
    g.output("y", y).unwrap();
    g
}

#[test]
fn a_graph_is_explained_with_what_won_and_a_damaged_file_is_named() {
    let folder = std::env::temp_dir().join(format!("tachylite-tune-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let [graph, file] = ["graph.json", "tuning.json"].map(|name| folder.join(name));
    let [graph_name, file_name] = [&graph, &file].map(|p| p.to_str().unwrap().to_owned());
    std::fs::write(&graph, GRAPH).unwrap();

    let portable = Profile::portable();
    let task = Tasks::of_graph(&product(), &portable, &Policy::default()).unwrap().tasks.remove(0);
    let last = *task.kernels.last().unwrap();
    let mut tuning = Tuning::new(&portable);
    let winner = Winner {
        kernel: last.name.into(),
        estimate: task.kernels[0].name.into(),
        ratio: 0.5,
        seconds: 2e-3,
        case: task.case(last).to_string(),
        texts: texts(last.name).unwrap(),
        when: 1,
    };
    tuning.won(task.key, winner);
    tuning.merge_into(&file).unwrap();
    let output = program(&["explain", &graph_name, "--tuning", &file_name]);
    let said = String::from_utf8(output.stdout).unwrap();
    let expected = format!("chosen   {}, tuned, measured 2.00 ms; about ", last.name);
    assert!(said.contains(&expected), "{said} {}", String::from_utf8_lossy(&output.stderr));

    std::fs::write(&file, "{").unwrap();
    let output = program(&["explain", &graph_name, "--tuning", &file_name]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), said.lines().count()), (Some(2), 1), "{said}");
    assert!(said.contains(&file_name) && said.contains("this is no tuning"), "{said}");
    std::fs::remove_dir_all(folder).unwrap();
}
