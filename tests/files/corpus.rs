//! Small files that are right, and what is asked of every file that is read: shared by the tests of hostile files,
//! of mutated ones, and by the fuzzers.

#![allow(dead_code, reason = "each test binary uses some of it")]

use tachylite::files::{Array, Encoding, Format, Model, TensorSpec, Value, gguf_header};
use tachylite::plan::Policy;
use tachylite::{DType, Graph, Profile};

/// A file piece by piece, as a hostile one is made.
#[derive(Debug, Clone, Default)]
pub struct Raw(pub Vec<u8>);

impl Raw {
    /// Magic, version 3, and the two counts.
    pub fn gguf(tensors: u64, entries: u64) -> Self {
        Self(b"GGUF".to_vec()).u32(3).u64(tensors).u64(entries)
    }

    pub fn bytes(mut self, bytes: &[u8]) -> Self {
        self.0.extend(bytes);
        self
    }

    pub fn u32(self, v: u32) -> Self {
        self.bytes(&v.to_le_bytes())
    }

    pub fn u64(self, v: u64) -> Self {
        self.bytes(&v.to_le_bytes())
    }

    pub fn text(self, text: &str) -> Self {
        self.u64(text.len() as u64).bytes(text.as_bytes())
    }

    /// A tensor's entry; sizes as the file has them, contiguous axis first.
    pub fn tensor(self, name: &str, sizes: &[u64], id: u32, offset: u64) -> Self {
        let raw = self.text(name).u32(sizes.len() as u32);
        sizes.iter().fold(raw, |raw, n| raw.u64(*n)).u32(id).u64(offset)
    }

    /// Pads to a multiple of 32 and appends `n` bytes of data.
    pub fn data(mut self, n: usize) -> Self {
        self.0.resize(self.0.len().next_multiple_of(32) + n, 0x11);
        self
    }
}

/// A header of JSON and `n` bytes of data.
pub fn safetensors(json: &str, n: usize) -> Vec<u8> {
    let raw = Raw::default().text(json);
    raw.bytes(&vec![7; n]).0
}

pub fn spec(name: &str, encoding: &str, shape: &[usize]) -> TensorSpec {
    let encoding = Encoding::by_name(encoding).unwrap();
    TensorSpec { name: name.into(), encoding, shape: shape.to_vec() }
}

/// Metadata of every type.
pub fn metadata() -> Vec<(String, Value)> {
    let arrays = Array::Array(vec![
        Array::I16(vec![-3, 4]),
        Array::Array(vec![Array::String(vec!["deep".into()]), Array::U64(vec![])]),
    ]);
    let values = [
        ("general.architecture", Value::String("test".into())),
        ("general.alignment", Value::U32(64)),
        ("a.u8", Value::U8(200)),
        ("a.i8", Value::I8(-7)),
        ("a.u16", Value::U16(60_000)),
        ("a.i16", Value::I16(-30_000)),
        ("a.i32", Value::I32(-2_000_000_000)),
        ("a.f32", Value::F32(0.5)),
        ("a.bool", Value::Bool(true)),
        ("a.u64", Value::U64(1 << 63)),
        ("a.i64", Value::I64(i64::MIN)),
        ("a.f64", Value::F64(1e300)),
        ("tokens", Value::Array(Array::String(["<0x-1>", "", "ä", "b"].map(String::from).to_vec()))),
        ("scores", Value::Array(Array::F32(vec![0.0, -1.0, 2.0]))),
        ("kinds", Value::Array(Array::I32(vec![1, -1]))),
        ("bits", Value::Array(Array::Bool(vec![true, false]))),
        ("bytes", Value::Array(Array::U8(vec![1, 2, 255]))),
        ("wide", Value::Array(Array::F64(vec![1.5]))),
        ("nested", Value::Array(arrays)),
    ];
    values.map(|(k, v)| (k.to_owned(), v)).into()
}

/// A GGUF file with these tensors, its data counting up from 0 by the byte.
pub fn gguf(metadata: &[(String, Value)], tensors: &[TensorSpec]) -> Vec<u8> {
    let mut file = gguf_header(metadata, tensors).unwrap();
    let alignment = metadata.iter().find(|(k, _)| k == "general.alignment").and_then(|(_, v)| v.as_u64());
    let start = file.len();
    for t in tensors {
        let from = file.len().next_multiple_of(alignment.unwrap_or(32) as usize);
        let to = from + t.encoding.byte_len(&t.shape).unwrap() as usize;
        file.resize(from, 0);
        file.extend((from - start..to - start).map(|i| i as u8));
    }
    file
}

/// Files that are right: what mutations and fuzzers begin with.
pub fn seeds() -> Vec<(&'static str, Vec<u8>)> {
    let tensors = [
        spec("token_embd.weight", "Q8_0", &[4, 64]),
        spec("blk.0.attn_norm.weight", "F32", &[6]),
        spec("empty", "F16", &[0, 8]),
        spec("scalar", "I64", &[]),
        spec("blk.0.ffn.weight", "BF16", &[2, 3, 2]),
        spec("output.weight", "Q4_K", &[2, 256]),
    ];
    let f = |shape: &str, offsets: &str| {
        format!("{{\"dtype\":\"F32\",\"shape\":[{shape}],\"data_offsets\":[{offsets}]}}")
    };
    let json = format!(
        "{{\"__metadata__\":{{\"format\":\"pt\",\"x\":\"\\u00e4\"}},\"layer.0.weight\":{},\"layer.0.bias\":{},\
         \"empty\":{{\"dtype\":\"I64\",\"shape\":[0,3],\"data_offsets\":[80,80]}},\
         \"half\":{{\"dtype\":\"F16\",\"shape\":[2,2],\"data_offsets\":[80,88]}},\
         \"ids\":{{\"dtype\":\"I64\",\"shape\":[],\"data_offsets\":[88,96]}},\
         \"nibbles\":{{\"dtype\":\"F4\",\"shape\":[3,2],\"data_offsets\":[96,99]}}}}   ",
        f("4,4", "0,64"),
        f("4", "64,80"),
    );
    let mut v2 = gguf(&metadata()[2..8], &tensors[..2]);
    v2[4] = 2;
    vec![
        ("all.gguf", gguf(&metadata(), &tensors)),
        ("plain.gguf", gguf(&metadata()[..1], &[spec("w", "F32", &[3, 5]), spec("b", "F16", &[3])])),
        ("v2.gguf", v2),
        ("empty.gguf", gguf(&[], &[])),
        ("all.safetensors", safetensors(&json, 99)),
        ("one.safetensors", safetensors(&format!("{{\"w\":{}}}", f("2,3", "0,24")), 24)),
        ("empty.safetensors", safetensors("{}", 0)),
    ]
}

/// What must hold of any file: it is refused in one sentence, or everything it lists is there.
/// Says whether it was read.
pub fn read(name: &str, bytes: &[u8]) -> bool {
    let model = match Model::new(&[(name, bytes)]) {
        Ok(model) => model,
        Err(e) => {
            let e = e.to_string();
            assert!(e.starts_with(name) && e.contains(": offset ") && !e.contains('\n'), "{e}");
            return false;
        }
    };
    let mut ranges = Vec::new();
    for t in model.contents().tensors() {
        let found = model.bytes(t).expect("a tensor lies in its file");
        assert_eq!(Some(found.len() as u64), t.encoding.byte_len(&t.shape), "{t:?}");
        assert_eq!(model.contents().tensor(&t.name), Some(t));
        if !found.is_empty() {
            ranges.push(t.range.clone());
        }
    }
    ranges.sort_unstable_by_key(|r| r.start);
    assert!(ranges.windows(2).all(|w| w[0].end <= w[1].start), "{ranges:?}");
    true
}

/// A file that was read, written and read again says the same.
pub fn again(name: &str, bytes: &[u8]) {
    let model = Model::new(&[(name, bytes)]).expect("was read before");
    let contents = model.contents();
    if contents.format() == Format::Safetensors {
        return;
    }
    let specs: Vec<_> = contents
        .tensors()
        .iter()
        .map(|t| TensorSpec { name: t.name.clone(), encoding: t.encoding, shape: t.shape.clone() })
        .collect();
    if specs.iter().any(|t| t.name.len() > 63) {
        // Such names are read, but not written.
        assert!(gguf_header(contents.metadata(), &specs).is_err());
        return;
    }
    let file = gguf(contents.metadata(), &specs);
    let model = Model::new(&[("again", &file)]).expect("what was written is read");
    // Floats may be NaN, so text is compared.
    assert_eq!(format!("{:?}", model.contents().metadata()), format!("{:?}", contents.metadata()));
    let same = |(a, b): (&tachylite::files::TensorInfo, &TensorSpec)| {
        a.name == b.name && a.encoding == b.encoding && a.shape == b.shape
    };
    assert!(model.contents().tensors().iter().zip(&specs).all(same));
}

/// Plans a graph with a matmul for every matrix of a file, as its shapes say, and reads rows of it: no file may
/// make that panic, nor if its weights are cut. Says whether there is a plan.
pub fn plan(name: &str, bytes: &[u8]) -> bool {
    let Ok(model) = Model::new(&[(name, bytes)]) else { return false };
    let Ok(graph) = graph(&model) else { return false };
    let policy = Policy { weight_bytes: Some((bytes.len() as u64 / 4).max(64)), ..Policy::default() };
    let cut = tachylite::plan::plan(&graph, &Profile::portable(), &policy);
    assert!(cut.is_err() || cut.is_ok_and(|p| p.check_references().is_ok()), "{name}");
    tachylite::plan::plan(&graph, &Profile::portable(), &Policy::default()).is_ok()
}

fn graph(model: &Model<'_>) -> tachylite::Result<Graph> {
    let mut graph = Graph::new();
    let rows = graph.dim("rows", 8)?;
    // A handful is planned: what a plan takes grows with its nodes, and that is not what is looked for.
    for (i, t) in model.contents().tensors().iter().take(6).enumerate() {
        let Some(dtype) = t.encoding.dtype() else { continue };
        let w = graph.weight(&t.name, dtype, &t.shape)?;
        let y = match t.shape[..] {
            [_, k] => {
                let idx = graph.input(&format!("idx{i}"), DType::U32, std::slice::from_ref(&rows))?;
                if let Ok(y) = graph.embed(&[(idx, w)]) {
                    graph.output(&format!("row{i}"), y)?;
                }
                let x = graph.input(&format!("x{i}"), DType::F32, &[rows.clone(), k.into()])?;
                graph.matmul(x, w)?
            }
            [n] if dtype.is_float() => {
                let x = graph.input(&format!("x{i}"), DType::F32, &[rows.clone(), n.into()])?;
                graph.add(x, w)?
            }
            _ => continue,
        };
        graph.output(&format!("y{i}"), y)?;
    }
    Ok(graph)
}
