//! Measuring on every adapter there is. Nothing here says how fast anything is: on a busy machine that
//! would be a matter of luck. Without an adapter each test says `SKIPPED`.
#![cfg(feature = "gpu")]

use std::io::Write;
use std::time::Duration;

use tachylite::bench::{Verdict, compare};
use tachylite::gpu::{Effort, Executable, Io, Subject, Watch};
use tachylite::plan::prepare::Weights;
use tachylite::plan::{Policy, plan};
use tachylite::{Call, DType, Error, Gpu, Graph, Tensor};

fn on_each_gpu(test: &str, run: impl Fn(Gpu)) {
    let adapters = Gpu::adapters_blocking();
    let mut out = std::io::stdout();
    if adapters.is_empty() {
        writeln!(out, "SKIPPED 1 test: {test} (no adapter)").unwrap();
    }
    for a in adapters {
        writeln!(out, "{test} on {} {} ({})", a.backend, a.name, a.driver).unwrap();
        run(Gpu::open_blocking(&format!("{}:{}", a.backend, a.name)).unwrap());
    }
}

/// `x[rows, 64] · w[64, 64]ᵀ`, with buffers of its own.
fn product(gpu: &Gpu, rows: usize) -> ((Executable, Io), Call) {
    let mut graph = Graph::new();
    let x = graph.input("x", DType::F32, &[rows.into(), 64.into()]).unwrap();
    let w = graph.weight("w", DType::F32, &[64, 64]).unwrap();
    let y = graph.matmul(x, w).unwrap();
    graph.output("y", y).unwrap();
    let plan = plan(&graph, gpu.profile(), &Policy::default()).unwrap();
    let weights: Weights = [("w".to_owned(), Tensor::zeros(DType::F32, &[64, 64]).unwrap())].into();
    let mut exe = gpu.load_blocking(&plan, &weights, Default::default()).unwrap();
    let io = pollster::block_on(exe.own_io()).unwrap();
    ((exe, io), plan.call(&[]).unwrap())
}

#[test]
fn subjects_are_measured_in_turn_and_each_run_counts() {
    on_each_gpu("subjects_are_measured_in_turn", |gpu| {
        let (small, call) = product(&gpu, 16);
        let (large, _) = product(&gpu, 1600);
        let fork = small.0.fork_blocking().unwrap();
        let mut fork = (fork, small.1.clone());
        fork.1 = pollster::block_on(fork.0.own_io()).unwrap();
        let (mut first, mut second, mut third) = ([small, fork], [large], [product(&gpu, 16).0]);
        let mut subjects = [
            Subject { runs: &mut first, call: &call, repeats: None },
            Subject { runs: &mut second, call: &call, repeats: None },
            Subject { runs: &mut third, call: &call, repeats: Some(3) },
        ];
        let effort = Effort { budget: Duration::from_millis(300), ..Effort::quick() };
        let measured = gpu.measure(&mut subjects, &effort).unwrap();
        let counts: Vec<_> = measured.iter().map(|m| m.samples.seconds().len()).collect();
        assert!(counts[0] >= 1 && counts.iter().all(|n| *n == counts[0]), "{counts:?}");
        assert_eq!(measured[2].repeats, 3);
        for m in &measured {
            assert!(m.samples.min() > 0.0 && m.samples.seconds().len() == m.wall.seconds().len());
            if m.watch == Watch::Timestamps {
                assert!(gpu.profile().features.timestamp_query);
                assert!(m.samples.median() <= m.wall.median() * 1.05, "{m:?}");
            }
        }
        // A hundred times the work shows through any noise.
        let said = compare(&measured[0].samples, &measured[1].samples, 0.03);
        assert_eq!(said.verdict, Verdict::Slower, "{said:?} {measured:?}");
        writeln!(std::io::stdout(), "  {:?} {:?} x{}", said.ratio, measured[0].watch, measured[0].repeats)
            .unwrap();
    });
}

#[test]
fn what_cannot_be_measured_is_an_error() {
    on_each_gpu("what_cannot_be_measured", |gpu| {
        let (run, call) = product(&gpu, 16);
        let mut none = [Subject { runs: &mut [], call: &call, repeats: None }];
        assert!(matches!(gpu.measure(&mut none, &Effort::quick()), Err(Error::Argument(_))));
        let other = Gpu::open_blocking(&format!("{}:{}", gpu.profile().backend, gpu.profile().name)).unwrap();
        let mut runs = [run];
        let mut foreign = [Subject { runs: &mut runs, call: &call, repeats: None }];
        assert!(matches!(other.measure(&mut foreign, &Effort::quick()), Err(Error::Argument(_))));
        let mut unlike = Graph::new();
        unlike.scalar("s").unwrap();
        let wrong = Call::new(unlike.scalars(), &[("s", 1.0)]).unwrap();
        let mut unfit = [Subject { runs: &mut runs, call: &wrong, repeats: None }];
        assert!(matches!(gpu.measure(&mut unfit, &Effort::quick()), Err(Error::Argument(_))));
    });
}
