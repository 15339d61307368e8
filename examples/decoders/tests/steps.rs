//! Hundreds of steps of one session: nothing is planned, loaded or bound again, and nothing of ours allocated.
//! Alone in its process, because it counts what the allocator is asked for.

use decoders::Session;
use decoders::config::Family;
use decoders::session::Options;
use tachylite::{DType, Gpu, wgpu};

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
        // wgpu allocates for a command buffer and what is written, for the last steps no more than for the first;
        // nobody else does: as much as for the plan's call alone, and the write of lengths.
        let least = |steps: &[u64]| steps.iter().min().copied().unwrap();
        let (first, last) = (least(&taken[..50]), least(&taken[STEPS - 50..]));
        let alone = least(&(0..5).map(|at| of_a_call(gpu, &mut session, at)).collect::<Vec<_>>());
        println!(
            "{family:?}: allocations of a step, wgpu's: {first} at first, {last} at last, {alone} by hand"
        );
        assert!(last <= first, "{first} allocations at first, {last} at last");
        assert!(last <= alone, "{last} allocations of a step, {alone} by hand");
        assert_eq!(session.position(), STEPS + 3);
        assert!(session.next_tokens().unwrap()[0] < 320);
    });
}

/// The allocations of a call of the session's plan, recorded and submitted by hand, and of the write of lengths
/// if it takes those.
fn of_a_call(gpu: &Gpu, session: &mut Session, at: usize) -> u64 {
    let (executable, call) = session.parts();
    let io = pollster::block_on(executable.own_io()).unwrap();
    let (mut call, specs) = (call.clone(), executable.plan().scalars.clone());
    if specs.iter().any(|s| s.name == "at") {
        call.set(&specs, "at", at as f64).unwrap(); // parameters that changed are written
    }
    let lengths = gpu.device().create_buffer(&wgpu::BufferDescriptor {
        label: None,
        size: 16,
        usage: wgpu::BufferUsages::COPY_DST,
        mapped_at_creation: false,
    });
    session.wait().unwrap();
    let (executable, _) = session.parts();
    let takes_lengths = executable.plan().inputs.iter().any(|port| port.name == "lengths");
    allocations(|| {
        if takes_lengths {
            gpu.queue().write_buffer(&lengths, 0, &[0; 4]);
        }
        let mut encoder = gpu.device().create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
        executable.record(&mut pass, &io, &call).unwrap();
        drop(pass);
        gpu.queue().submit([encoder.finish()]);
        executable.submitted();
    })
}
