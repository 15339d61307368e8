//! Hundreds of steps of one session: nothing is planned, loaded or bound again, and nothing of ours allocated.
//! Alone in its process, because it counts what the allocator is asked for.

use decoders::Session;
use decoders::config::Family;
use decoders::session::Options;
use tachylite::DType;

mod common;
#[path = "../../../tests/counting/mod.rs"]
mod counting;

use counting::allocations;

const STEPS: usize = 300;

#[test]
fn steps_of_a_transformer_allocate_nothing_of_ours_and_plan_nothing() {
    steps_allocate_nothing(common::FAMILIES[0]);
}

#[test]
fn steps_of_a_recurrence_allocate_nothing_of_ours_and_plan_nothing() {
    steps_allocate_nothing(common::FAMILIES[5]);
}

fn steps_allocate_nothing((family, dtype): (Family, DType)) {
    common::on_mesa22(&format!("steps_allocate_nothing {family:?}"), |gpu| {
        let model = common::tiny(family, dtype);
        let options = Options { positions: STEPS + 8, ..common::options(1) };
        let mut session = Session::new(gpu, &model, &options).unwrap();
        session.prefill(&[5, 6, 7]).unwrap();
        let plan: *const _ = session.plan();
        let before = session.plan().clone();
        let mut taken = Vec::with_capacity(STEPS);
        for step in 0..STEPS {
            taken.push(allocations(|| session.step().unwrap()));
            let (executable, call) = session.parts();
            let steps = 0..executable.plan().steps.len();
            // Parameters and grids, which is all that a step works out, wherever it is.
            assert_eq!(allocations(|| executable.resolve(call, steps).unwrap()), 0, "step {step}");
            if step % 50 == 49 {
                session.wait().unwrap();
            }
        }
        assert!(std::ptr::eq(plan, session.plan()) && *session.plan() == before);
        // wgpu allocates for a command buffer and what is written: for the last steps no more than for the first.
        let least = |steps: &[u64]| steps.iter().min().copied().unwrap();
        let (first, last) = (least(&taken[..50]), least(&taken[STEPS - 50..]));
        println!("{family:?}: allocations of a step, wgpu's: {first} at first, {last} at last");
        assert!(last <= first, "{first} allocations at first, {last} at last");
        assert_eq!(session.position(), STEPS + 3);
        assert!(session.next_tokens().unwrap()[0] < 320);
    });
}
