//! Plans as files: the same plan comes back, the schema holds, and no file, however wrong, does more
//! than be refused in a sentence.

use std::collections::HashSet;

use serde_json::{Value, json};
use tachylite::check::{Case, cases};
use tachylite::plan::{Policy, plan};
use tachylite::profile::{DeviceKind, Limits, Profile};
use tachylite::{DType, Dim, Graph, Plan, Tensor};

mod schema;

/// A plan of each case, under its name.
fn plans() -> impl Iterator<Item = (Case, Plan)> {
    let mut seen = HashSet::new();
    let cases = cases().into_iter().filter(move |case| seen.insert(case.plan_name()));
    // Files of kernels with cooperative matrices are refused.
    let cases = cases.filter(|case| !case.kernel().contains(".matrix_"));
    cases.map(|case| {
        // What needs a feature is planned for a device that has them all.
        let processor = Profile { kind: DeviceKind::Cpu, subgroup_sizes: (8, 8), ..Profile::capable() };
        let profile = match case.kernel() {
            "attention.lanes" | "attention.rows" => processor,
            kernel if kernel.ends_with("broadcast") => Profile::capable(),
            _ => Profile::portable(),
        };
        let plan = planned(&case, &profile);
        (case, plan)
    })
}

fn planned(case: &Case, profile: &Profile) -> Plan {
    let (graph, _) = case.build().unwrap_or_else(|e| panic!("{case}: {e}"));
    plan(&graph, profile, &case.policy()).unwrap_or_else(|e| panic!("{case}: {e}"))
}

#[test]
fn a_plan_whose_accesses_nothing_checks_is_refused() {
    let mut cases = cases().into_iter().filter(|case| case.kernel().contains(".matrix_"));
    let text = planned(&cases.next().unwrap(), &Profile::capable()).to_json();
    let error = Plan::from_json(&text).unwrap_err().to_string();
    assert!(error.contains("uses cooperative matrices, whose accesses nothing checks"), "{error}");
}

/// Dims and a scalar of the call, fused work, a joined weight, an index, scratch, two outputs.
fn rich() -> Plan {
    let mut g = Graph::new();
    let (rows, alpha) = (g.dim("R", 64).unwrap(), g.scalar("alpha").unwrap());
    let ids = g.input("ids", DType::U32, std::slice::from_ref(&rows)).unwrap();
    let table = g.weight("table", DType::F16, &[100, 37]).unwrap();
    let x = g.embed(&[(ids, table)]).unwrap();
    let heads = ["q", "k"].map(|name| {
        let w = g.weight(name, DType::F32, &[24, 37]).unwrap();
        g.matmul(x, w).unwrap()
    });
    let product = g.mul(heads[0], heads[1]).unwrap();
    let scaled = g.scale(product, alpha).unwrap();
    let w = g.weight("w", DType::Q8_0, &[5, 64]).unwrap();
    let wide = g.input("wide", DType::F16, &[rows, Dim::from(2), Dim::from(32)]).unwrap();
    let wide = g.slice(wide, 1, 0, 1).unwrap();
    g.output("scaled", scaled).unwrap();
    g.output("half", wide).unwrap();
    let flat = g.input("flat", DType::F32, &[3.into(), 64.into()]).unwrap();
    let y = g.matmul(flat, w).unwrap();
    let y = g.gelu(y).unwrap();
    g.output("y", y).unwrap();
    plan(&g, &Profile::portable(), &Policy { segment_ms: f64::INFINITY, ..Policy::default() }).unwrap()
}

#[test]
fn a_plan_read_back_is_the_same_plan_and_the_schema_holds() {
    let schema = schema::Schema::plan();
    let mut read = 0;
    for (name, plan) in plans().map(|(c, p)| (c.to_string(), p)).chain([("rich".to_owned(), rich())]) {
        let text = plan.to_json();
        let again = Plan::from_json(&text).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert!(again == plan, "{name}");
        assert_eq!(again.to_json(), text, "{name}");
        // Quick ones stand for the rest: the schema is about form.
        if read % 7 == 0 || name == "rich" {
            schema.judge(&serde_json::from_str(&text).unwrap()).unwrap_or_else(|e| panic!("{name}: {e}"));
        }
        read += 1;
    }
    assert!(read > 1000, "{read}");
}

#[test]
fn floats_come_back_bit_for_bit() {
    let mut plan = rich();
    let at = plan.steps.iter().position(|s| !s.params.is_empty()).unwrap();
    let kernel = plan.steps[at].kernel;
    plan.kernels[kernel].params[0].kind = tachylite::kernel::ParamKind::F32;
    let mut rng = tachylite::rng::Rng::new(7);
    let special = [f32::INFINITY, f32::NEG_INFINITY, -0.0, f32::MIN_POSITIVE, f32::from_bits(1), f32::MAX];
    let random = (0..2000).map(|_| f32::from_bits(rng.below(1 << 32) as u32)).filter(|v| !v.is_nan());
    for v in special.into_iter().chain(random) {
        for step in plan.steps.iter_mut().filter(|s| s.kernel == kernel) {
            step.params[0] = tachylite::plan::Param::F32(v);
        }
        let again = Plan::from_json(&plan.to_json()).unwrap();
        let tachylite::plan::Param::F32(read) = again.steps[at].params[0] else { panic!() };
        assert_eq!(read.to_bits(), v.to_bits());
    }
}

#[test]
fn what_a_plan_needs_is_said_in_webgpu_s_names() {
    for (case, plan) in plans().filter(|(c, _)| c.quick).take(400) {
        let needs = plan.requirements();
        let web = Limits::WEBGPU;
        assert!(needs.limits["maxStorageBuffersPerShaderStage"] <= u64::from(web.storage_buffers_per_stage));
        assert!(needs.limits["maxComputeWorkgroupsPerDimension"] <= u64::from(web.workgroups_per_axis));
        let wants: &[&str] = if case.kernel() == "matmul.broadcast" { &["subgroups"] } else { &[] };
        assert!(needs.features.iter().eq(wants), "{case}: wants {:?}", needs.features);
        let packed = plan.kernels.iter().any(|k| k.wgsl.contains("pack4x"));
        assert_eq!(needs.language.contains(&"packed_4x8_integer_dot_product".to_owned()), packed, "{case}");
        // Exactly as much as needed is enough; a byte less is not.
        let mut limits = Limits { buffer_bytes: needs.limits["maxBufferSize"], ..web };
        limits.workgroups_per_axis = needs.limits["maxComputeWorkgroupsPerDimension"] as u32;
        limits.storage_buffers_per_stage = needs.limits["maxStorageBuffersPerShaderStage"] as u32;
        plan.check_limits(&limits, 0).unwrap_or_else(|e| panic!("{case}: {e}"));
        if limits.workgroups_per_axis > 0 {
            limits.workgroups_per_axis -= 1;
            assert!(plan.check_limits(&limits, 0).is_err(), "{case}");
        }
    }
}

#[test]
fn a_file_of_another_kind_or_version_is_named() {
    let text = rich().to_json();
    let said = |text: &str| Plan::from_json(text).unwrap_err().to_string();
    assert_eq!(
        said(&text.replace("\"version\":2", "\"version\":3")),
        "plan: version 3 cannot be read here, only version 2"
    );
    assert_eq!(said("{}"), "plan: the field `format` must be `tachylite-plan`, but it is none");
    assert!(said("nonsense").starts_with("plan: this is no plan: expected ident at line 1"));
    let mut file: Value = serde_json::from_str(&text).unwrap();
    file["plan"]["steps"][0]["kernel"] = json!("copy");
    let said_of = |file: &Value| said(&file.to_string());
    let found = said_of(&file);
    assert!(
        found.starts_with("plan: plan.steps[0].kernel: invalid type: string \"copy\", expected usize"),
        "{found}"
    );
    file["plan"]["steps"][0]["kernel"] = json!(1000);
    let found = said_of(&file);
    assert!(found.starts_with("plan: step 0 runs kernel 1000, but there are "), "{found}");
    let mut file: Value = serde_json::from_str(&text).unwrap();
    file["requires"]["limits"]["maxBufferSize"] = json!(1);
    assert!(said_of(&file).starts_with("plan: `requires` says "));
}

/// Every value of a file, replaced by everything that it might not be.
#[test]
fn no_file_makes_a_plan_panic() {
    let file: Value = serde_json::from_str(&rich().to_json()).unwrap();
    let mut places = Vec::new();
    walk(&file, String::new(), &mut places);
    let wrong = [
        Value::Null,
        json!(-1),
        json!(0),
        json!(1),
        json!(u64::MAX),
        json!(1u64 << 62),
        json!(0.5),
        json!("x"),
        json!([]),
        json!({}),
        json!({"factor": u64::MAX, "vars": []}),
        json!({"factor": 3, "vars": [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]}),
        json!({"factor": 1, "vars": [1]}),
        json!({"factor": 1, "vars": [7]}),
        json!({"ceil_div": [{"dim": {"factor": 1, "vars": []}}, 0]}),
    ];
    let (mut refused, mut taken) = (0, 0);
    for place in places.iter().filter(|p| !p.contains("/lines/") && !p.contains("/candidates/")) {
        for value in &wrong {
            let mut altered = file.clone();
            *altered.pointer_mut(place).unwrap() = value.clone();
            match Plan::from_json(&altered.to_string()) {
                Ok(plan) => {
                    taken += 1;
                    use_it(&plan);
                }
                Err(e) => {
                    refused += 1;
                    let said = e.to_string();
                    assert!(!said.is_empty() && !said.contains('\n'), "{place} = {value}: {said:?}");
                }
            }
        }
    }
    assert!(refused > 10 * taken && taken > 100, "{refused} refused, {taken} taken");
}

fn walk(value: &Value, at: String, places: &mut Vec<String>) {
    match value {
        Value::Object(fields) => fields.iter().for_each(|(k, v)| walk(v, format!("{at}/{k}"), places)),
        // Neighbours are alike.
        Value::Array(items) => {
            (0..).zip(items).take(3).for_each(|(i, v)| walk(v, format!("{at}/{i}"), places))
        }
        _ => {}
    }
    places.push(at);
}

/// What a host does with a plan, short of a device.
fn use_it(plan: &Plan) {
    let largest = plan.check_limits(&Limits::WEBGPU, 256).is_ok();
    let call = plan.call(&[("R", 2.0), ("alpha", 0.5)]).unwrap_or_default();
    if plan.check_call(&call).is_err() || !largest {
        return;
    }
    for step in &plan.steps {
        step.write_params(&call, &mut [0; 256]).unwrap();
        step.workgroups.eval(&call);
    }
    for port in plan.inputs.iter().chain(&plan.outputs) {
        assert!(port.bytes_in(&call) <= plan.buffers[port.buffer].bytes);
        let tensor = Tensor::zeros(port.dtype, &port.shape_in(&call)).unwrap();
        if let Ok(packed) = port.pack(&plan.scalars, &call, &tensor) {
            port.unpack(&call, &packed).unwrap();
        }
    }
    let weights = tachylite::plan::prepare::Weights::new();
    plan.weights.iter().for_each(|w| drop(tachylite::plan::prepare::prepare(w, &weights)));
    (0..plan.buffers.len()).for_each(|i| drop(plan.buffer_name(i)));
}

/// What one altered place cannot show.
#[test]
fn two_sources_without_axes_and_writes_to_what_is_read_are_refused() {
    let said_of = |file: &Value| Plan::from_json(&file.to_string()).unwrap_err().to_string();
    let file: Value = serde_json::from_str(&rich().to_json()).unwrap();
    let source = json!({"name": "a", "dtype": "f32", "shape": []});
    let mut altered = file.clone();
    altered["plan"]["weights"][0]["sources"] = json!([source, source]);
    assert!(said_of(&altered).contains("which it is joined to"), "{}", said_of(&altered));
    let huge = json!({"name": "a", "dtype": "f32", "shape": [u64::MAX, 4]});
    altered["plan"]["weights"][0]["sources"] = json!([huge, huge]);
    assert!(said_of(&altered).starts_with("plan: "), "{}", said_of(&altered));

    let steps = file["plan"]["steps"].as_array().unwrap();
    let bindings = |i: usize| steps[i]["bindings"].as_array().unwrap();
    let place = |i: usize, write: bool| bindings(i).iter().position(|b| b["write"] == write).unwrap();
    let (read, write) = (place(0, false), place(0, true));
    let mut altered = file.clone();
    altered["plan"]["steps"][0]["bindings"][write]["buffer"] =
        file["plan"]["steps"][0]["bindings"][read]["buffer"].clone();
    let said = said_of(&altered);
    assert!(said.contains("writes `") || said.contains("a second time"), "{said}");
}
