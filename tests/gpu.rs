//! The device room on every adapter there is: what it computes, and that what can go wrong comes
//! back as a value. Without an adapter each test says `SKIPPED`, which `TACHYLITE_REQUIRE=mesa22`
//! makes a failure.
#![cfg(feature = "gpu")]

use std::io::Write;

use tachylite::gpu::LoadOptions;
use tachylite::plan::prepare::Weights;
use tachylite::plan::{Policy, plan};
use tachylite::{DType, Dim, Error, Gpu, Graph, Tensor, wgpu};

mod hand;

/// Runs a test on each adapter.
fn on_each_gpu(test: &str, run: impl Fn(Gpu)) {
    let adapters = Gpu::adapters_blocking();
    let required = std::env::var("TACHYLITE_REQUIRE").unwrap_or_default();
    let mesa22 = adapters.iter().any(|a| a.backend == "vulkan" && a.driver.contains("Mesa 22"));
    assert!(
        mesa22 || !required.contains("mesa22"),
        "{test}: TACHYLITE_REQUIRE asks for mesa22, but there are {adapters:?}"
    );
    // Past the harness's capture, which would hide it from whoever reads only the summary.
    let mut out = std::io::stdout();
    if adapters.is_empty() {
        writeln!(out, "SKIPPED 1 test: {test} (no adapter)").unwrap();
    }
    for a in adapters {
        let gpu = Gpu::open_blocking(&format!("{}:{}", a.backend, a.name)).unwrap();
        assert_eq!((&gpu.profile().name, &gpu.profile().backend), (&a.name, &a.backend));
        writeln!(out, "{test} on {} {} ({})", a.backend, a.name, a.driver).unwrap();
        run(gpu);
    }
}

fn options(slots: u32) -> LoadOptions {
    LoadOptions { slots, ..LoadOptions::default() }
}

/// A buffer of the caller's.
fn buffer(gpu: &Gpu, bytes: u64) -> wgpu::Buffer {
    gpu.device().create_buffer(&wgpu::BufferDescriptor {
        label: Some("the caller's"),
        size: bytes,
        usage: wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_DST | wgpu::BufferUsages::COPY_SRC,
        mapped_at_creation: false,
    })
}

fn read_f32(gpu: &Gpu, buffer: &wgpu::Buffer) -> Vec<f32> {
    let staging = gpu.device().create_buffer(&wgpu::BufferDescriptor {
        label: None,
        size: buffer.size(),
        usage: wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST,
        mapped_at_creation: false,
    });
    let mut encoder = gpu.device().create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
    encoder.copy_buffer_to_buffer(buffer, 0, &staging, 0, buffer.size());
    gpu.queue().submit([encoder.finish()]);
    staging.map_async(wgpu::MapMode::Read, .., |r| r.unwrap());
    gpu.device().poll(wgpu::PollType::wait_indefinitely()).unwrap();
    bytemuck::pod_collect_to_vec(&staging.get_mapped_range(..).unwrap())
}

#[test]
fn runs_at_every_size_within_the_bound() {
    on_each_gpu("runs_at_every_size_within_the_bound", |gpu| {
        let plan = hand::plan();
        let mut exe = gpu.load_blocking(&plan, &hand::weights(), options(1)).unwrap();
        for (rows, s) in [(1, 2.0), (64, -1.0), (0, 3.0), (65, 0.5), (100, 4.0), (7, 1.0)] {
            let x = hand::input(rows);
            let call = plan.call(&[("R", rows as f64), ("s", f64::from(s))]).unwrap();
            let y = exe.run_blocking(&[("x", &x)], &call).unwrap();
            assert_eq!(y[0].shape(), [rows, hand::C]);
            assert_eq!(y[0].to_f32(), hand::expected(&x, s));
        }
    });
}

#[test]
fn wrong_inputs_are_named() {
    on_each_gpu("wrong_inputs_are_named", |gpu| {
        let plan = hand::plan();
        let mut exe = gpu.load_blocking(&plan, &hand::weights(), options(1)).unwrap();
        let call = plan.call(&[("R", 2.0), ("s", 1.0)]).unwrap();
        let x = hand::input(3);
        let mut say = |inputs: &[(&str, &Tensor)]| exe.run_blocking(inputs, &call).unwrap_err().to_string();
        assert_eq!(say(&[("x", &x)]), "input `x`: axis 0 is 3, but R is 2 in this call");
        assert_eq!(say(&[]), "run: input `x` was not given");
        assert_eq!(say(&[("x", &x), ("z", &x)]), "run: there is no input `z`");
        let missing =
            gpu.load_blocking(&plan, &tachylite::plan::prepare::Weights::new(), options(1)).unwrap_err();
        assert!(missing.to_string().contains("`w`"), "{missing}");
    });
}

#[test]
fn an_unknown_adapter_is_named_with_those_there_are() {
    let error = Gpu::open_blocking("vulkan:voodoo2").unwrap_err();
    let Error::Adapter(text) = &error else { panic!("{error:?}") };
    assert!(text.contains("voodoo2") && (text.contains("there are") || text.contains("apt-get")), "{text}");
}

#[test]
fn two_calls_with_different_scalars_go_into_one_submit() {
    on_each_gpu("two_calls_with_different_scalars_go_into_one_submit", |gpu| {
        let plan = hand::plan();
        let mut exe = gpu.load_blocking(&plan, &hand::weights(), options(2)).unwrap();
        let (x, y1, y2) = (buffer(&gpu, 1600), buffer(&gpu, 1600), buffer(&gpu, 1600 + 256));
        let first = plan.call(&[("R", 5.0), ("s", 2.0)]).unwrap();
        let second = plan.call(&[("R", 9.0), ("s", -3.0)]).unwrap();
        let five = first.clone();
        let values = hand::input(9);
        gpu.queue().write_buffer(&x, 0, &plan.inputs[0].pack(&plan.scalars, &second, &values).unwrap());
        let whole = wgpu::Buffer::as_entire_buffer_binding;
        let io1 = exe.bind(&[("x", whole(&x)), ("y", whole(&y1))]).unwrap();
        let later = wgpu::BufferBinding { buffer: &y2, offset: 256, size: None };
        let io2 = exe.bind(&[("x", whole(&x)), ("y", later)]).unwrap();
        // A slot keeps what its last call left: each then has calls like that one, and others.
        for (first, second) in [(&first, &second), (&first, &second), (&second, &first), (&first, &first)] {
            let mut encoder = gpu.device().create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
            let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
            exe.record(&mut pass, &io1, first).unwrap();
            exe.record(&mut pass, &io2, second).unwrap();
            assert_eq!(exe.record(&mut pass, &io1, first), Err(Error::SlotsExhausted { slots: 2 }));
            drop(pass);
            gpu.queue().submit([encoder.finish()]);
            exe.submitted();
            for (y, skip, call) in [(&y1, 0, first), (&y2, 64, second)] {
                let bytes = read_f32(&gpu, y);
                let out = plan.outputs[0].unpack(call, bytemuck::cast_slice(&bytes[skip..])).unwrap();
                let (rows, scale) = if *call == five { (5, 2.0) } else { (9, -3.0) };
                assert_eq!(out.to_f32(), hand::expected(&hand::input(rows), scale));
            }
        }
    });
}

#[test]
fn wrong_buffers_are_named_with_their_bytes() {
    on_each_gpu("wrong_buffers_are_named_with_their_bytes", |gpu| {
        let plan = hand::plan();
        let exe = gpu.load_blocking(&plan, &hand::weights(), options(1)).unwrap();
        let (x, small) = (buffer(&gpu, 1600 + 64), buffer(&gpu, 800));
        let whole = wgpu::Buffer::as_entire_buffer_binding;
        let say = |tensors: &[(&str, wgpu::BufferBinding<'_>)]| exe.bind(tensors).unwrap_err().to_string();
        assert_eq!(say(&[("x", whole(&small))]), "bind: `x` needs 1600 bytes, but its buffer gives 800");
        assert_eq!(say(&[("q", whole(&x))]), "bind: there is no input or output `q`");
        assert_eq!(say(&[("x", whole(&x))]), "bind: output `y` was not given");
        let odd = wgpu::BufferBinding { buffer: &x, offset: 16, size: None };
        assert!(say(&[("x", odd)]).contains("`x` starts at byte 16"), "alignment");
        // Nothing forbids x and y in one buffer here: no dispatch binds both.
        assert!(exe.bind(&[("x", whole(&x)), ("y", whole(&x))]).is_ok());
        let mut aliased = plan.clone();
        aliased.steps[0].bindings[1].buffer = 3;
        let exe = gpu.load_blocking(&aliased, &hand::weights(), options(1)).unwrap();
        let error = exe.bind(&[("x", whole(&x)), ("y", whole(&x))]).unwrap_err().to_string();
        assert!(error.contains("input `x` and output `y` lie in one buffer"), "{error}");
    });
}

#[test]
fn a_device_that_was_handed_over_works_and_keeps_its_callbacks() {
    on_each_gpu("a_device_that_was_handed_over_works_and_keeps_its_callbacks", |owner| {
        let gpu = Gpu::adopt(owner.device().clone(), owner.queue().clone()).unwrap();
        assert_eq!(gpu.profile(), owner.profile());
        let plan = hand::plan();
        let mut exe = gpu.load_blocking(&plan, &hand::weights(), options(1)).unwrap();
        let call = plan.call(&[("R", 3.0), ("s", 2.0)]).unwrap();
        let x = hand::input(3);
        assert_eq!(exe.run_blocking(&[("x", &x)], &call).unwrap()[0].to_f32(), hand::expected(&x, 2.0));
        owner.device().destroy();
        let error = exe.run_blocking(&[("x", &x)], &call).unwrap_err();
        assert!(matches!(error, Error::DeviceLost(_)), "{error:?}");
        // Our own device's callback is still there, so its owner knows as well.
        let error = owner.load_blocking(&plan, &hand::weights(), options(1)).unwrap_err();
        assert!(matches!(error, Error::DeviceLost(_)), "{error:?}");
    });
}

#[test]
fn a_lost_device_is_an_error_of_every_call() {
    on_each_gpu("a_lost_device_is_an_error_of_every_call", |gpu| {
        let plan = hand::plan();
        let mut exe = gpu.load_blocking(&plan, &hand::weights(), options(1)).unwrap();
        let call = plan.call(&[("R", 3.0), ("s", 2.0)]).unwrap();
        gpu.device().destroy();
        let lost = |e: Error| assert!(matches!(e, Error::DeviceLost(_)), "{e:?}");
        for _ in 0..2 {
            lost(exe.run_blocking(&[("x", &hand::input(3))], &call).unwrap_err());
        }
        lost(exe.fork_blocking().unwrap_err());
        lost(gpu.load_blocking(&plan, &hand::weights(), options(1)).unwrap_err());
        lost(pollster::block_on(exe.read_buffer(3)).unwrap_err());
    });
}

#[test]
fn a_refused_shader_names_the_kernel_and_its_line() {
    on_each_gpu("a_refused_shader_names_the_kernel_and_its_line", |gpu| {
        let mut plan = hand::plan();
        plan.kernels[1].wgsl = plan.kernels[1].wgsl.replace("+ w[0]", "+ nonsense");
        let error = gpu.load_blocking(&plan, &hand::weights(), options(1)).unwrap_err();
        let Error::Validation(text) = &error else { panic!("{error:?}") };
        assert!(text.contains("hand.add at hand.wgsl:108") && text.contains("nonsense"), "{text}");
        let mut plan = hand::plan();
        plan.kernels[1].bindings.pop();
        plan.steps[1].bindings.pop();
        let error = gpu.load_blocking(&plan, &hand::weights(), options(1)).unwrap_err();
        let Error::Validation(text) = &error else { panic!("{error:?}") };
        assert!(text.contains("hand.add"), "{text}");
    });
}

#[test]
fn what_the_limits_forbid_is_refused_with_both_numbers() {
    on_each_gpu("what_the_limits_forbid_is_refused_with_both_numbers", |gpu| {
        let say = |change: &dyn Fn(&mut tachylite::Plan)| {
            let mut plan = hand::plan();
            change(&mut plan);
            match gpu.load_blocking(&plan, &hand::weights(), options(1)).unwrap_err() {
                Error::Limit(text) => text,
                other => panic!("{other:?}"),
            }
        };
        let granted = gpu.profile().limits.storage_binding_bytes.min(gpu.profile().limits.buffer_bytes);
        assert_eq!(
            say(&|p| p.buffers[2].bytes = 1 << 40),
            format!("scratch 2 needs 1099511627776 bytes in one buffer, but the device grants {granted}")
        );
        assert!(
            say(&|p| p.kernels[0].workgroup_bytes = 1 << 24)
                .contains("hand.scale: a workgroup needs 16777216")
        );
        assert!(say(&|p| p.kernels[0].workgroup_size = 1 << 20).contains("1048576 invocations"));
        let many = |p: &mut tachylite::Plan| p.steps[0].workgroups = tachylite::Dim::from(u64::MAX).into();
        assert!(say(&many).contains("workgroups in one dispatch"));
    });
}

#[test]
fn forks_run_by_themselves_and_guards_stay_as_written() {
    on_each_gpu("forks_run_by_themselves_and_guards_stay_as_written", |gpu| {
        let plan = hand::plan();
        let guarded = LoadOptions { slots: 1, guard_bytes: 64 };
        let exe = gpu.load_blocking(&plan, &hand::weights(), guarded).unwrap();
        let mut fork = exe.fork_blocking().unwrap();
        drop(exe);
        pollster::block_on(async {
            let call = plan.call(&[("R", 100.0), ("s", 2.0)]).unwrap();
            for i in 0..plan.buffers.len() {
                let mut bytes = fork.read_buffer(i).await.unwrap();
                assert_eq!(bytes.len() as u64, plan.buffers[i].bytes + 64);
                assert_eq!(bytes.len() as u64, fork.buffer_bytes(i).unwrap());
                let guard = bytes.len() - 64;
                bytes[guard..].fill(0xA5);
                fork.write_buffer(i, &bytes).await.unwrap();
            }
            let x = hand::input(100);
            let packed = plan.inputs[0].pack(&plan.scalars, &call, &x).unwrap();
            fork.write_buffer(0, &packed).await.unwrap();
            fork.dispatch(&call).await.unwrap();
            let y = fork.read_buffer(3).await.unwrap();
            assert_eq!(plan.outputs[0].unpack(&call, &y).unwrap().to_f32(), hand::expected(&x, 2.0));
            for i in 0..plan.buffers.len() {
                let bytes = fork.read_buffer(i).await.unwrap();
                assert!(bytes[bytes.len() - 64..].iter().all(|b| *b == 0xA5), "buffer {i}");
            }
        });
    });
}

#[test]
fn segments_go_into_one_submit_each() {
    on_each_gpu("segments_go_into_one_submit_each", |gpu| {
        let plan = hand::plan();
        let mut exe = gpu.load_blocking(&plan, &hand::weights(), options(1)).unwrap();
        pollster::block_on(async {
            let io = exe.own_io().await.unwrap();
            let call = plan.call(&[("R", 70.0), ("s", 3.0)]).unwrap();
            let x = hand::input(70);
            let packed = plan.inputs[0].pack(&plan.scalars, &call, &x).unwrap();
            exe.write_buffer(0, &packed).await.unwrap();
            for segment in plan.segments.clone() {
                let mut encoder =
                    gpu.device().create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
                let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
                exe.record_segment(&mut pass, &io, &call, segment).unwrap();
                drop(pass);
                gpu.queue().submit([encoder.finish()]);
                exe.submitted();
            }
            let y = exe.read_buffer(3).await.unwrap();
            assert_eq!(plan.outputs[0].unpack(&call, &y).unwrap().to_f32(), hand::expected(&x, 3.0));
            let mut encoder = gpu.device().create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
            let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
            assert!(exe.record_segment(&mut pass, &io, &call, 1..3).is_err());
            let mut other = exe.fork().await.unwrap();
            let error = other.record(&mut pass, &io, &call).unwrap_err().to_string();
            assert!(error.contains("another executable"), "{error}");
        });
    });
}

#[test]
fn executables_share_weights_of_the_same_bytes_while_they_live() {
    on_each_gpu("executables_share_weights_of_the_same_bytes_while_they_live", |gpu| {
        // Only allocators that wgpu knows of can say what is allocated.
        let count = || {
            gpu.queue().submit([]); // uploads that are on their way hold their buffers
            gpu.device().poll(wgpu::PollType::wait_indefinitely()).unwrap();
            let report = gpu.device().generate_allocator_report()?;
            Some(report.allocations.iter().filter(|a| a.name == "weight").count())
        };
        let load = |w: &_, guard_bytes| {
            gpu.load_blocking(&hand::plan(), w, LoadOptions { slots: 1, guard_bytes }).unwrap()
        };
        let mut others = hand::weights();
        others.insert("w".into(), Tensor::from_f32(&[hand::C], &[1., 2., 3.]).unwrap());
        if count().is_none() {
            return;
        }
        let first = load(&hand::weights(), 0);
        let (second, fork) = (load(&hand::weights(), 0), first.fork_blocking().unwrap());
        assert_eq!(count(), Some(1));
        let third = load(&others, 0);
        assert_eq!(count(), Some(2));
        let guarded = load(&hand::weights(), 16);
        assert_eq!(count(), Some(3));
        drop((first, second, third, guarded));
        assert_eq!(count(), Some(1));
        drop(fork);
        assert_eq!(count(), Some(0));
    });
}

/// The tensors of a weight `[n, k]` of a type: beside integers their scales, and zero points.
fn weight_of(dtype: DType, n: usize, k: usize) -> Vec<(String, Tensor)> {
    let named = |name: &str, dtype, shape: &[usize]| (name.to_owned(), Tensor::zeros(dtype, shape).unwrap());
    match dtype {
        DType::U4 => vec![
            named("w", dtype, &[n, k]),
            named("scale", DType::F16, &[n, k / 32]),
            named("zero", dtype, &[n, k / 32]),
        ],
        DType::I8 | DType::U8 => vec![named("w", dtype, &[n, k]), named("scale", DType::F32, &[n])],
        _ => vec![named("w", dtype, &[n, k])],
    }
}

#[test]
fn weights_of_every_type_take_what_they_take_in_a_file() {
    use DType::{Bf16, F16, F32, I8, Iq4Nl, Iq4Xs, Mxfp4, Q2K, Q3K, Q4_0, Q4_1, Q4K, Q5_0, Q5_1, Q5K, Q6K};
    use DType::{Q8_0, U4, U8};
    let floats = [F32, F16, Bf16, I8, U8, U4];
    let blocks = [Q8_0, Q4_0, Q4_1, Q5_0, Q5_1, Q2K, Q3K, Q4K, Q5K, Q6K, Iq4Nl, Iq4Xs, Mxfp4];
    on_each_gpu("weights_of_every_type_take_what_they_take_in_a_file", |gpu| {
        for dtype in floats.into_iter().chain(blocks) {
            for (n, k) in [(129, 2048), (1000, 512), (384, 1536)] {
                let tensors = weight_of(dtype, n, k);
                let mut graph = Graph::new();
                let rows = graph.dim("M", 8).unwrap();
                let x = graph.input("x", DType::F32, &[rows, Dim::from(k as u64)]).unwrap();
                let given: Vec<_> =
                    tensors.iter().map(|(n, t)| graph.weight(n, t.dtype(), t.shape()).unwrap()).collect();
                let y = match given[..] {
                    [w] => graph.matmul(x, w),
                    [w, scale] => graph.matmul_int8(x, w, scale, None),
                    [w, scale, zero, ..] => graph.matmul_int8(x, w, scale, Some(zero)),
                    [] => unreachable!("there is `w`"),
                };
                graph.output("y", y.unwrap()).unwrap();
                let plan = plan(&graph, gpu.profile(), &Policy::default()).unwrap();
                let file: usize = tensors.iter().map(|(_, t)| t.to_bytes().len()).sum();
                let weights: Weights = tensors.into_iter().collect();
                let exe = gpu.load_blocking(&plan, &weights, LoadOptions::default()).unwrap();
                let Some(report) = gpu.device().generate_allocator_report() else {
                    println!("SKIPPED: {} says not what it has allocated", gpu.profile().name);
                    return;
                };
                let held: u64 =
                    report.allocations.iter().filter(|a| a.name == "weight").map(|a| a.size).sum();
                assert!(held as f64 <= 1.02 * file as f64, "{dtype} [{n}, {k}]: {held} bytes for {file}");
                drop(exe);
                gpu.queue().submit([]);
                gpu.device().poll(wgpu::PollType::wait_indefinitely()).unwrap();
            }
        }
    });
}
