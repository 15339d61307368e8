//! What start-up is made of, on every adapter there is: pipelines from several threads, a pipeline
//! cache from run to run, and where the time went. Without an adapter each test says `SKIPPED`.
#![cfg(feature = "gpu")]
#![allow(unsafe_code, reason = "restoring a pipeline cache is the caller's promise")]

use std::io::Write;

use tachylite::gpu::LoadOptions;
use tachylite::{Error, Gpu, Tensor, wgpu};

mod hand;

/// Runs a test on each adapter; it may open it again.
fn on_each_gpu(test: &str, run: impl Fn(&dyn Fn() -> Gpu)) {
    let adapters = Gpu::adapters_blocking();
    let required = std::env::var("TACHYLITE_REQUIRE").unwrap_or_default();
    assert!(!required.contains("mesa22") || !adapters.is_empty(), "{test}: there is no adapter");
    let mut out = std::io::stdout(); // past the harness's capture
    if adapters.is_empty() {
        writeln!(out, "SKIPPED 1 test: {test} (no adapter)").unwrap();
    }
    for a in adapters {
        writeln!(out, "{test} on {} {} ({})", a.backend, a.name, a.driver).unwrap();
        run(&|| Gpu::open_blocking(&format!("{}:{}", a.backend, a.name)).unwrap());
    }
}

fn answer(gpu: &Gpu) -> Vec<f32> {
    let mut exe = gpu.load_blocking(&hand::plan(), &hand::weights(), LoadOptions::default()).unwrap();
    let (made, t) = (hand::plan().kernels.len(), *exe.timings());
    assert_eq!(t.pipelines_made, made);
    assert!(t.shaders.as_nanos() > 0 && t.compiling.as_nanos() > 0 && t.uploaded_bytes > 0, "{t:?}");
    assert!(t.pipelines + t.hashing + t.preparing + t.uploading + t.binding <= t.total, "{t:?}");
    assert!(gpu.timings().adapters.as_nanos() > 0 && gpu.timings().device.as_nanos() > 0);
    let again = gpu.load_blocking(&hand::plan(), &hand::weights(), LoadOptions::default()).unwrap();
    assert_eq!((again.timings().pipelines_made, again.timings().uploaded_bytes), (0, 0));
    let x = Tensor::from_f32(&[2, hand::C], &[1.0, -2.0, 3.0, 0.5, 0.25, -8.0]).unwrap();
    let call = exe.plan().call(&[("R", 2.0), ("s", 2.0)]).unwrap();
    exe.run_blocking(&[("x", &x)], &call).unwrap()[0].to_f32()
}

#[test]
fn a_saved_cache_is_restored_and_changes_no_answer() {
    on_each_gpu("saved_cache", |open| {
        let plain = open();
        assert_eq!(plain.pipeline_cache(), None);
        let (want, first) = (answer(&plain), open());
        if !first.start_pipeline_cache().unwrap() {
            assert!(!first.device().features().contains(wgpu::Features::PIPELINE_CACHE));
            assert_eq!(first.pipeline_cache(), None);
            return;
        }
        assert!(matches!(first.start_pipeline_cache(), Err(Error::Argument(_))), "it has one already");
        assert_eq!(answer(&first), want);
        let saved = first.pipeline_cache().unwrap();

        let second = open();
        let mut damaged = saved.clone();
        *damaged.last_mut().unwrap() ^= 1;
        // SAFETY: refused is what this asks for; and what follows is what was saved.
        let refused = unsafe { second.restore_pipeline_cache(&damaged) }.unwrap_err();
        assert!(refused.to_string().contains("damaged"), "{refused}");
        assert_eq!(second.pipeline_cache(), None, "what was refused leaves nothing behind");
        // SAFETY: as above.
        assert!(unsafe { second.restore_pipeline_cache(&saved) }.unwrap());
        assert_eq!(answer(&second), want);
    });
}

#[test]
fn a_cache_of_the_callers_own_is_used() {
    on_each_gpu("own_cache", |open| {
        let gpu = open();
        if !gpu.device().features().contains(wgpu::Features::PIPELINE_CACHE) {
            return;
        }
        let descriptor = wgpu::PipelineCacheDescriptor { label: None, data: None, fallback: true };
        // SAFETY: there is no data.
        let cache = unsafe { gpu.device().create_pipeline_cache(&descriptor) };
        gpu.use_pipeline_cache(cache.clone()).unwrap();
        assert_eq!(answer(&gpu).len(), 2 * hand::C);
        assert!(cache.get_data().is_some() && gpu.pipeline_cache().is_some());
        assert!(gpu.use_pipeline_cache(cache).is_err(), "it has one already");
    });
}

/// Threads meet errors in any order; what is reported is the first in the plan, with its line.
#[test]
fn of_several_broken_shaders_the_plans_first_is_reported() {
    on_each_gpu("broken_shaders", |open| {
        let gpu = open();
        let mut plan = hand::plan();
        for (i, kernel) in plan.kernels.iter_mut().enumerate() {
            kernel.wgsl = kernel.wgsl.replace("if id.x", &format!("let broken_{i} = ;\nif id.x"));
        }
        for _ in 0..3 {
            let error = gpu.load_blocking(&plan, &hand::weights(), LoadOptions::default()).unwrap_err();
            assert!(matches!(error, Error::Validation(_)), "{error}");
            let text = error.to_string();
            assert!(text.contains("broken_0") && text.contains("at hand.wgsl:"), "{text}");
        }
        assert_eq!(answer(&gpu).len(), 2 * hand::C, "the device goes on");
    });
}
