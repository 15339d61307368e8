use super::*;
use crate::dtype::DType;
use crate::graph::Graph;
use crate::ops::matmul::MATMUL;
use crate::plan::{Plan, Policy, plan};

/// x [m, k] · w [n, k], bias and gelu, m bounded.
fn graph(m: u64, n: usize, k: usize) -> Graph {
    let mut g = Graph::new();
    let rows = g.dim("M", m).unwrap();
    let x = g.input("x", DType::F32, &[rows, k.into()]).unwrap();
    let w = g.weight("w", DType::F32, &[n, k]).unwrap();
    let y = g.matmul(x, w).unwrap();
    let y = g.gelu(y).unwrap();
    g.output("y", y).unwrap();
    g
}

fn policy(determinism: Determinism) -> Policy {
    Policy { determinism, ..Policy::default() }
}

fn key(m: u64, n: usize, k: usize, determinism: Determinism) -> Key {
    let mut keys = Vec::new();
    let policy = policy(determinism);
    crate::plan::plan_watched(&graph(m, n, k), &Profile::portable(), &policy, &mut |s, _| {
        keys.push(Key::of(s))
    })
    .unwrap();
    keys.remove(0)
}

fn winner(kernel: &str, when: u64) -> Winner {
    Winner {
        kernel: kernel.into(),
        estimate: "matmul.tile".into(),
        ratio: 0.5,
        seconds: 1e-3,
        case: "a case".into(),
        texts: texts(kernel).unwrap_or_default(),
        when,
    }
}

fn rejected(when: u64) -> Rejected {
    let texts = texts(MATMUL.kernels[0].name).unwrap();
    Rejected { why: "`y` is off".into(), case: "a case".into(), texts, when }
}

const TYPES: &str = "x=f32,w=f32,y=f32";

fn planned(m: u64, tuning: &Tuning, policy: &Policy) -> Plan {
    let profile = Profile::portable().with_tuning(tuning.clone()).unwrap();
    plan(&graph(m, 1024, 1000), &profile, policy).unwrap()
}

#[test]
fn keys_put_neighbours_into_one_bucket_and_others_apart() {
    use Determinism::{BatchInvariant, Repeatable};
    let of = |m, n, k| key(m, n, k, Repeatable);
    assert_eq!(
        of(200, 1024, 1000).to_string(),
        "matmul x=f32,w=f32,y=f32 M=256,N=1024/64,K=1024/4 post+0 F32 Repeatable"
    );
    assert_eq!(of(200, 1024, 1024), of(256, 896, 832));
    assert_eq!(
        of(1, 512, 512).to_string(),
        "matmul x=f32,w=f32,y=f32 N=512/64,K=512/64 post+0 F32 Repeatable"
    );
    for other in [of(257, 1024, 1024), of(128, 1024, 1024), of(256, 1023, 1024), of(256, 1028, 1024)] {
        assert_ne!(other, of(256, 1024, 1024));
    }
    assert_ne!(of(256, 768, 64), of(256, 1024, 64));
    let invariant = |m| key(m, 1024, 1024, BatchInvariant);
    assert_eq!(invariant(1), invariant(5000));
    assert_ne!(invariant(256), of(256, 1024, 1024));
}

/// What the estimate thinks the least of, and would choose.
fn estimated(m: u64, determinism: Determinism) -> (String, String) {
    let p = planned(m, &Tuning::new(&Profile::portable()), &policy(determinism));
    let fit: Vec<_> = p.steps.last().unwrap().candidates.iter().filter(|c| c.estimate.is_ok()).collect();
    assert!(
        fit.iter().all(|c| c.tuned.is_none()) && fit.len() > 1,
        "{:?}",
        p.steps.last().unwrap().candidates
    );
    (fit[fit.len() - 1].kernel.to_string(), fit[0].kernel.to_string())
}

fn loser() -> &'static str {
    let name = estimated(250, Determinism::Repeatable).0;
    MATMUL.kernels.iter().find(|k| k.name == name).unwrap().name
}

#[test]
fn what_won_goes_before_every_estimate_and_says_so() {
    let policy = policy(Determinism::Repeatable);
    let (last, first) = estimated(250, Determinism::Repeatable);
    let own = key(256, 1024, 1000, Determinism::Repeatable);
    let mut tuning = Tuning::new(&Profile::portable());
    let untuned = planned(250, &tuning, &policy);
    tuning.won(own.clone(), winner(&last, 1));
    let p = planned(250, &tuning, &policy);
    assert_eq!(
        (&*p.steps.last().unwrap().kernel_name, p.steps.last().unwrap().candidates[0].tuned),
        (&*last, Some(1e-3))
    );
    let said = p.explain(&graph(250, 1024, 1000));
    assert!(said.contains(&format!("{last}, tuned, measured 1.00 ms; about ")), "{said}");
    assert_eq!(p.steps.last().unwrap().candidates.len(), untuned.steps.last().unwrap().candidates.len());
    // another bucket, and a kernel that is named
    assert_eq!(planned(500, &tuning, &policy).steps.last().unwrap().candidates[0].tuned, None);
    let named = Policy { kernel: Some(first.clone()), ..policy.clone() };
    assert_eq!(planned(250, &tuning, &named).steps.last().unwrap().kernel_name, first);
    // a winner that is not there
    tuning.won(own, winner("matmul.gone", 2));
    assert_eq!(planned(250, &tuning, &policy).steps.last().unwrap().kernel_name, first);
}

#[test]
fn what_was_refused_is_not_chosen_at_any_size_unless_named() {
    let policy = policy(Determinism::Repeatable);
    let first = estimated(250, Determinism::Repeatable).1;
    let mut tuning = Tuning::new(&Profile::portable());
    tuning.reject(&first, TYPES, rejected(1));
    tuning.won(key(256, 1024, 1000, Determinism::Repeatable), winner(&first, 1));
    for m in [250, 5000] {
        let p = planned(m, &tuning, &policy);
        assert_ne!(p.steps.last().unwrap().kernel_name, first);
        let why = p.steps.last().unwrap().candidates.iter().find(|c| c.kernel == first).unwrap();
        let why = why.estimate.as_ref().unwrap_err();
        assert_eq!(why, "it was wrong on this device: `y` is off (`a case`)");
    }
    let named = Policy { kernel: Some(first.clone()), ..policy };
    assert_eq!(planned(250, &tuning, &named).steps.last().unwrap().kernel_name, first);
}

#[test]
fn batch_invariant_choices_are_tuned_without_rows() {
    let policy = policy(Determinism::BatchInvariant);
    let last = estimated(250, Determinism::BatchInvariant).0;
    let mut tuning = Tuning::new(&Profile::portable());
    tuning.won(key(7, 1024, 1000, Determinism::BatchInvariant), winner(&last, 1));
    for m in [1, 250, 5000] {
        assert_eq!(planned(m, &tuning, &policy).steps.last().unwrap().kernel_name, last);
    }
}

#[test]
fn the_newer_of_two_measurements_stays() {
    let of = |kernel, when| {
        let mut t = Tuning::new(&Profile::portable());
        t.won(key(256, 1024, 1000, Determinism::Repeatable), winner(kernel, when));
        t
    };
    for (a, b) in [(of("a", 1), of("b", 2)), (of("b", 2), of("a", 1))] {
        let mut all = a.clone();
        all.merge(&b).unwrap();
        assert_eq!(all.winners().next().unwrap().1.kernel, "b");
    }
    let other = Tuning::new(&Profile { driver: "another".into(), ..Profile::portable() });
    let said = of("a", 1).merge(&other).unwrap_err().to_string();
    assert!(said.contains("it is of any:portable (another), tachylite "), "{said}");
    assert!(Profile::portable().with_tuning(other).is_err());
}

#[test]
fn the_steps_of_a_graph_become_tasks_with_cases_that_stand_for_them() {
    for determinism in [Determinism::Repeatable, Determinism::BatchInvariant] {
        let policy = policy(determinism);
        let tasks = Tasks::of_graph(&graph(250, 1024, 1000), &Profile::portable(), &policy).unwrap();
        assert!(tasks.others.is_empty(), "{:?}", tasks.others);
        assert_eq!(tasks.tasks.len(), 1);
        let task = &tasks.tasks[0];
        assert_eq!(task.key, key(250, 1024, 1000, determinism));
        let case = task.case(task.op.kernels[0]).to_string();
        let rows = if determinism == Determinism::Repeatable { 250 } else { 256 };
        let kernel = task.op.kernels[0].name;
        assert_eq!(case, format!("{kernel}/f32.f32/smooth/M={rows},N=1024,K=1000/random"));
    }
}

#[test]
fn another_text_of_a_kernel_is_another_hash() {
    let [first, .., last] = MATMUL.kernels else { panic!("matmul has several kernels") };
    let hash = texts(first.name);
    assert_eq!(hash, texts(last.name));
    assert_ne!(hash, texts("embed.rows"));
    assert_eq!(texts("no.kernel"), None);
    for file in [first.file, "lib/load_f32.wgsl"] {
        assert_ne!(crate::kernel::with_source(file, "other", || texts(last.name)), hash, "{file}");
    }
    assert_eq!(crate::kernel::with_source("embed.wgsl", "other", || texts(last.name)), hash);
}

#[cfg(all(feature = "json", not(target_arch = "wasm32")))]
mod files;
