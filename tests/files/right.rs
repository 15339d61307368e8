//! What is right is read as it is.

use tachylite::files::{Array, Encoding, Format, Loss, Model, Value, dequantize, gguf_header, quantize};
use tachylite::{DType, Tensor};

use super::corpus::{again, gguf, metadata, plan, read, safetensors, seeds, spec};

#[test]
fn every_seed_is_read_written_and_planned() {
    for (name, file) in seeds() {
        assert!(read(name, &file), "{name}");
        again(name, &file);
        assert_eq!(plan(name, &file), !name.starts_with("empty"), "{name}");
    }
}

#[test]
fn values_of_every_type_come_back() {
    let file = gguf(&metadata(), &[]);
    let model = Model::new(&[("m", &file)]).unwrap();
    assert_eq!(model.contents().metadata(), metadata());
    assert_eq!(model.contents().format(), Format::Gguf { version: 3 });
    assert_eq!(model.contents().value("a.u64").and_then(Value::as_u64), Some(1 << 63));
    assert_eq!(model.contents().value("a.i8").and_then(Value::as_u64), None);
}

#[test]
fn tensors_have_their_shape_outermost_first_and_their_bytes() {
    let values: Vec<u8> = (0..6).flat_map(|i| (i as f32).to_le_bytes()).collect();
    let mut file = gguf_header(&[], &[spec("w", "F32", &[2, 3]), spec("b", "F16", &[5])]).unwrap();
    // The file has the contiguous axis first.
    let sizes = file.windows(16).position(|w| w[..8] == 3u64.to_le_bytes() && w[8..] == 2u64.to_le_bytes());
    assert!(sizes.is_some());
    file.extend(&values);
    file.resize(file.len().next_multiple_of(32) + 10, 9);
    let model = Model::new(&[("m", &file)]).unwrap();
    let w = model.contents().tensor("w").unwrap();
    assert_eq!((&w.shape[..], w.encoding.name, model.bytes(w)), (&[2, 3][..], "F32", Some(&values[..])));
    assert_eq!(model.tensor("w").unwrap().to_f32(), [0., 1., 2., 3., 4., 5.]);
    assert_eq!(model.bytes(model.contents().tensor("b").unwrap()), Some(&[9; 10][..]));
    assert_eq!(model.tensor("x").unwrap_err().to_string(), "model: there is no tensor `x`");
}

#[test]
fn safetensors_are_read_as_the_crate_reads_them() {
    let (_, file) = seeds().into_iter().find(|(name, _)| *name == "all.safetensors").unwrap();
    let model = Model::new(&[("m", &file)]).unwrap();
    let theirs = safetensors::SafeTensors::deserialize(&file).unwrap();
    assert_eq!(model.contents().tensors().len(), theirs.len());
    for t in model.contents().tensors() {
        let view = theirs.tensor(&t.name).unwrap();
        assert_eq!((view.shape(), view.data()), (&t.shape[..], model.bytes(t).unwrap()));
        assert_eq!(view.dtype().to_string(), t.encoding.name);
    }
    assert_eq!(model.contents().value("x").and_then(Value::as_str), Some("ä"));
    assert!(model.tensor("nibbles").unwrap_err().to_string().contains("is F4, which has no kernels"));
}

#[test]
fn encodings_are_what_the_formats_say() {
    for d in DType::ALL {
        // Files have uint4 in words of their own making.
        let Some(e) = Encoding::by_name(d.name()) else {
            assert_eq!(d, DType::U4);
            continue;
        };
        assert_eq!((e.block, e.block_bytes), (d.block() as u64, d.block_bytes() as u64), "{d}");
        assert_eq!(e.dtype(), Some(d));
    }
    let mut names: Vec<_> = Encoding::ALL.iter().map(|e| e.name).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), Encoding::ALL.len());
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/conformance/gguf/manifest.json");
    let Ok(text) = std::fs::read_to_string(path) else { return };
    let manifest: serde_json::Value = serde_json::from_str(&text).unwrap();
    let types = manifest["types"].as_object().unwrap();
    assert!(types.len() >= 25);
    for (name, t) in types {
        let e = Encoding::by_gguf(t["ggml_type_id"].as_u64().unwrap() as u32).unwrap();
        let (block, bytes) = (t["block_size"].as_u64().unwrap(), t["type_size"].as_u64().unwrap());
        assert_eq!((e.name, e.block, e.block_bytes), (name.as_str(), block, bytes));
    }
}

#[test]
fn what_gguf_cannot_hold_is_not_written() {
    let refused = |metadata: &[(String, Value)], t: &[_]| gguf_header(metadata, t).unwrap_err().to_string();
    let entry = |k: &str, v: Value| (k.to_owned(), v);
    assert_eq!(refused(&[], &[spec("w", "U8", &[1])]), "gguf: `w` is U8, which GGUF has no type for");
    assert!(refused(&[], &[spec("w", "F32", &[1; 5])]).contains("`w` has 5 axes, but at most 4"));
    assert!(
        refused(&[], &[spec("w", "Q4_K", &[2, 255])])
            .contains("a last axis of 255, but a block of Q4_K is 256")
    );
    assert!(refused(&[], &[spec("w", "F32", &[1]), spec("w", "F32", &[1])]).contains("`w` is there twice"));
    assert!(refused(&[], &[spec("", "F32", &[1])]).contains("has 0 bytes"));
    // GGML_MAX_NAME is 64, the zero at the end included.
    assert!(gguf_header(&[], &[spec(&"n".repeat(63), "F32", &[1])]).is_ok());
    assert!(
        refused(&[], &[spec(&"n".repeat(64), "F32", &[1])]).contains("has 64 bytes, but ggml reads 1 to 63")
    );
    let huge = [spec("a", "I8", &[1 << 62]), spec("b", "I8", &[1 << 62]), spec("c", "F16", &[1 << 62])];
    assert!(refused(&[], &huge).contains("take more than 2^64 bytes"));
    assert!(refused(&[entry("general.alignment", Value::U32(48))], &[]).contains("power of two"));
    assert!(
        refused(&[entry("k", Value::U8(1)), entry("k", Value::U8(1))], &[]).contains("`k` is there twice")
    );
    assert_eq!(Array::Bool(vec![true]).get(0), Some(Value::Bool(true)));
}

#[test]
fn shards_are_one_model() {
    let part = |i: u16, name: &str| {
        let keys = [
            ("split.no", Value::U16(i)),
            ("split.count", Value::U16(2)),
            ("split.tensors.count", Value::I32(2)),
        ];
        gguf(&keys.map(|(k, v)| (k.to_owned(), v)), &[spec(name, "I8", &[usize::from(i) + 3])])
    };
    let (a, b) = (part(0, "a"), part(1, "b"));
    let model = Model::new(&[("1", &a), ("2", &b)]).unwrap();
    assert_eq!(model.bytes(model.contents().tensor("b").unwrap()), Some(&[0, 1, 2, 3][..]));
    assert_eq!(model.contents().tensor("b").unwrap().part, 1);
    let refused = |files: &[(&str, &[u8])]| Model::new(files).unwrap_err().to_string();
    assert_eq!(refused(&[("1", &b), ("2", &a)]), "1: offset 24: split.no: is 1, but this is file 0 of 2");
    assert_eq!(refused(&[("1", &a)]), "1: offset 46: split.count: is 2, but 1 files are given");
    assert!(refused(&[("1", &a), ("2", &part(1, "a"))]).contains("tensor `a`: is in 1 as well"));
    let more = gguf(
        &[("split.no", Value::U16(1)), ("split.count", Value::U16(2))].map(|(k, v)| (k.to_owned(), v)),
        &[spec("b", "I8", &[1]), spec("c", "I8", &[1])],
    );
    assert!(
        refused(&[("1", &a), ("2", &more)]).contains("split.tensors.count: is 2, but the 2 files hold 3")
    );
    let json = "{\"b\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}";
    assert!(refused(&[("1", &a), ("2", &safetensors(json, 1))]).contains("is safetensors, but the first"));
    assert_eq!(refused(&[]), "model: there are no files");
}

#[test]
fn values_become_bytes_and_come_back() {
    let values: Vec<f32> = (0..64).map(|i| (i as f32 - 31.5) / 8.0).collect();
    let q8 = quantize(DType::Q8_0, &values).unwrap();
    let back = dequantize(Encoding::by_name("q8_0").unwrap(), &q8).unwrap();
    assert_eq!(back, Tensor::new(DType::Q8_0, &[64], q8).unwrap().to_f32());
    let mut loss = Loss::default();
    loss.add(32, &values, &back);
    assert!(loss.relative_rms() < 0.01 && loss.snr_db() > 40.0, "{loss:?}");
    assert!(loss.worst_block().is_some_and(|(i, e)| i < 2 && e >= loss.relative_rms()));
    for name in ["f32", "f16", "bf16", "f64"] {
        let e = Encoding::by_name(name).unwrap();
        let bytes: Vec<u8> = match name {
            "bf16" => values.iter().flat_map(|v| half::bf16::from_f32(*v).to_le_bytes()).collect(),
            "f64" => values.iter().flat_map(|v| f64::from(*v).to_le_bytes()).collect(),
            _ => quantize(e.dtype().unwrap(), &values).unwrap(),
        };
        assert_eq!(dequantize(e, &bytes).unwrap(), values, "{name}");
        assert!(dequantize(e, &bytes[1..]).is_err());
    }
    assert!(quantize(DType::Q8_0, &[f32::NAN; 32]).unwrap_err().to_string().contains("value 0 is NaN"));
    assert!(quantize(DType::Q8_0, &[0.0; 31]).is_err());
    assert!(dequantize(Encoding::by_name("q1_0").unwrap(), &[0; 18]).is_err());
    let wide: Vec<u8> = [1.0, f64::NAN, 1e300].iter().flat_map(|v| v.to_le_bytes()).collect();
    let e = dequantize(Encoding::by_name("f64").unwrap(), &wide).unwrap_err().to_string();
    assert_eq!(e, "F64: value 2 is 1e300, which is more than f32 can hold");
    assert!(dequantize(Encoding::by_name("f64").unwrap(), &wide[..16]).unwrap()[1].is_nan());
    assert_eq!(Loss::default().relative_rms(), 0.0);
}

#[test]
fn a_block_whose_scale_is_not_finite_is_named() {
    for (name, scale_at, bad) in [
        ("Q8_0", 0, [0, 0x7c]),
        ("Q4_K", 2, [1, 0x7e]),
        ("Q6_K", 208, [0, 0xfc]),
        ("MXFP4", 0, [255, 0x77]),
        ("IQ2_XXS", 0, [0, 0x7c]),
    ] {
        let t = spec("w", name, &[3, 256]);
        let (row, size) = (256 / t.encoding.block, t.encoding.block_bytes as usize);
        let mut file = gguf_header(&[], &[t]).unwrap();
        let start = file.len();
        // Codes and scales that are all 1 or 17 stand for something.
        file.extend(std::iter::repeat_n(0x11, 3 * row as usize * size));
        Model::new(&[("m", &file)]).unwrap().tensor("w").unwrap();
        let at = start + size * 2;
        file[at + scale_at..at + scale_at + 2].copy_from_slice(&bad);
        let e = Model::new(&[("m", &file)]).unwrap().tensor("w").unwrap_err().to_string();
        assert!(
            e.starts_with(&format!("m: offset {at}: block 2 of `w`: stands for values that")),
            "{name}: {e}"
        );
    }
}

#[test]
fn keys_of_many_files_are_joined_in_time() {
    let part = |name: &str, from: usize| {
        let keys: Vec<_> = (from..from + 100_000).map(|i| format!("\"{i:06}\":\"{name}\"")).collect();
        let entry = r#"{"dtype":"U8","shape":[1],"data_offsets":[0,1]}"#;
        safetensors(&format!("{{\"__metadata__\":{{{}}},\"{name}\":{entry}}}", keys.join(",")), 1)
    };
    let (a, b) = (part("a", 0), part("b", 50_000));
    let begin = std::time::Instant::now();
    let model = Model::new(&[("1", &a), ("2", &b)]).unwrap();
    // To look through all for each key takes more than half a minute.
    assert!(begin.elapsed().as_secs() < 8, "{:?}", begin.elapsed());
    let says = |key: &str| model.contents().metadata().iter().filter(|(k, _)| k == key).count();
    assert_eq!((model.contents().metadata().len(), says("075000")), (150_000, 1));
    assert_eq!(model.contents().value("075000").and_then(Value::as_str), Some("a"));
    assert_eq!(model.contents().value("149999").and_then(Value::as_str), Some("b"));
}
