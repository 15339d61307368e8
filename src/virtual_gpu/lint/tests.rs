//! Every freedom has a shader that is wrong by it alone (tests/planted), and a mended one that is not; and what
//! stands beside shaders is laid out and filled as it says.

use super::*;
use crate::virtual_gpu::{
    Denormals, Fma, Inexact, LaneOrder, Neighbour, OutOfBounds, Reassociation, Rounding, Schedule, Sums,
};

/// A planted shader and its mended twin, with the few things that their files say.
fn planted(name: &str) -> [(String, Setup); 2] {
    ["", "mended/"].map(|folder| {
        let path = |end: &str| format!("{}/tests/planted/{folder}{name}.{end}", env!("CARGO_MANIFEST_DIR"));
        let read = |path: String| std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{path}: {e}"));
        (read(path("wgsl")), setup(&read(path("lint.toml"))))
    })
}

/// Reads as much of TOML as these files use.
fn setup(text: &str) -> Setup {
    let list = |value: &str| -> Vec<f64> {
        let numbers = value.trim_matches(['[', ']']).split(',').map(str::trim);
        numbers.map(|n| n.parse().unwrap_or_else(|_| panic!("{n} is no number"))).collect()
    };
    let mut setup = Setup {
        file: "shader.wgsl".into(),
        entry: None,
        dispatch: [0; 3],
        buffers: BTreeMap::new(),
        overrides: Vec::new(),
        seed: 0,
        personalities: Vec::new(),
    };
    let mut buffer = String::new();
    for line in text.lines() {
        if let Some(name) = line.strip_prefix("[buffers.") {
            buffer = name.trim_end_matches(']').to_owned();
            setup.buffers.insert(buffer.clone(), BufferSetup::default());
        }
        match (line.split_once(" = "), setup.buffers.get_mut(&buffer)) {
            (Some(("dispatch", counts)), _) => {
                setup.dispatch.iter_mut().zip(list(counts)).for_each(|(to, count)| *to = count as u32);
            }
            (Some(("len", len)), Some(buffer)) => buffer.len = Some(len.parse().unwrap()),
            (Some(("fill", "\"zero\"")), Some(buffer)) => buffer.fill = Some(Fill::Zero),
            (Some(("fill", values)), Some(buffer)) => buffer.fill = Some(Fill::Values(list(values))),
            _ => {}
        }
    }
    setup
}

/// What a personality leaves of every buffer.
fn left(source: &str, setup: &Setup, personality: &Personality) -> Vec<Vec<u8>> {
    let bench = Bench::new(source, setup).unwrap();
    let shader = bench.shader(personality).unwrap();
    shader.run(setup.dispatch, &bench.contents).unwrap().buffers
}

#[test]
fn every_freedom_has_a_shader_that_is_wrong_by_it_alone() {
    type Change = fn(&mut Personality);
    let freedoms: [(&str, Change); 16] = [
        ("sums_of_32", |p| p.subgroup_size = 16),
        ("sums_of_32", |p| p.subgroup_size = 64),
        ("swap_neighbours", |p| p.lanes = LaneOrder::Shuffled),
        ("swap_neighbours", |p| p.lanes = LaneOrder::Strided),
        ("scan_by_subgroup", |p| p.lanes = LaneOrder::Reversed),
        ("last_workgroup_wins", |p| p.schedule = Schedule::Backward),
        ("compact_by_atomic", |p| p.schedule = Schedule::Shuffled),
        ("scale_of_block", |p| p.denormals = Denormals::Flushed),
        ("exact_product", |p| p.fma = Fma::Split),
        ("turn_direction", |p| p.fma = Fma::Contracted),
        ("repeats_in_half", |p| p.f16 = Rounding::Down),
        ("round_by_magic", |p| p.arithmetic = Neighbour::Either),
        ("bits_of_number", |p| p.inexact = Inexact::Low),
        ("gather_row", |p| p.out_of_bounds = OutOfBounds::Last),
        ("sum_against_limit", |p| p.sums = Sums::Backward),
        ("round_by_magic", |p| p.reassociation = Reassociation::Constants),
    ];
    for (name, change) in freedoms {
        let plain = Personality::plain();
        let mut other = plain.clone();
        change(&mut other);
        let [wrong, right] = planted(name);
        let differs =
            |(source, setup): &(String, Setup)| left(source, setup, &plain) != left(source, setup, &other);
        assert!(differs(&wrong), "{name} is the same with {other:?}");
        assert!(!differs(&right), "mended/{name} differs with {other:?}");
    }
}

const MIXED: &str = "
    struct Head { n: u32, at: vec3<f32> }
    struct List { head: Head, rows: array<vec2<i32>> }
    @group(0) @binding(0) var<storage, read> list: List;
    @group(0) @binding(1) var<uniform> m: mat3x2<f32>;
    @group(0) @binding(2) var<storage, read_write> y: array<i32>;
    @compute @workgroup_size(1) fn main() {
        for (var i = 0u; i < 2u; i++) { y[i] = list.rows[i].y + i32(list.head.at.z + m[2].y) + i32(list.head.n); }
    }";

fn mixed() -> Setup {
    let mut setup = setup("dispatch = [1, 1, 1]\n[buffers.list]\nlen = 2\nfill = [7, 1, 2, 3, 10, 20]\n");
    setup.buffers.insert("y".into(), BufferSetup { len: Some(2), fill: None });
    setup.buffers.insert("m".into(), BufferSetup { len: None, fill: Some(Fill::Values(vec![0.0, 0.5])) });
    setup.personalities.push(Personality::plain());
    setup
}

#[test]
fn lists_fill_scalars_in_the_order_in_which_they_lie_and_padding_is_left_out() {
    // n 7, at 1 2 3, rows (10, 20) (7, 1); m's last number is 0.5.
    let y = left(MIXED, &mixed(), &Personality::plain()).pop().unwrap();
    assert_eq!(y, [20 + 3 + 7, 1 + 3 + 7].map(i32::to_le_bytes).concat());
    assert_eq!(lint(MIXED, &mixed()), Ok(Vec::new()));
}

#[test]
fn a_setup_that_does_not_fit_is_refused_by_field() {
    let refused = |change: &dyn Fn(&mut Setup)| {
        let mut setup = mixed();
        change(&mut setup);
        lint(MIXED, &setup).unwrap_err().to_string()
    };
    let buffer = |name: &'static str, len: Option<u64>, values: &'static [f64]| {
        refused(&move |setup: &mut Setup| {
            let fill = (!values.is_empty()).then(|| Fill::Values(values.into()));
            setup.buffers.insert(name.into(), BufferSetup { len, fill });
        })
    };
    assert!(buffer("y", None, &[]).starts_with("buffers.y.len: the shader does not say how many"));
    assert!(buffer("m", Some(3), &[]).starts_with("buffers.m.len: `m` has no runtime-sized array"));
    assert!(buffer("y", Some(0), &[]).starts_with("buffers.y.len: `y` cannot have 0 elements"));
    assert!(buffer("y", Some(1 << 40), &[]).starts_with("buffers.y.len: `y` takes 4398046511104 bytes"));
    assert!(buffer("y", Some(2), &[0.5]).starts_with("buffers.y.fill: 0.5 is no i32"));
    assert!(buffer("list", Some(2), &[-1.0]).starts_with("buffers.list.fill: -1.0 is no u32"));
    assert!(buffer("m", None, &[1e39]).starts_with("buffers.m.fill: 1e39 is no f32"));
    assert!(
        buffer("z", Some(2), &[]).starts_with("buffers.z: the shader binds no such variable, but list, m, y")
    );
    assert!(refused(&|s| s.dispatch[1] = 65_536).starts_with("dispatch[1]: 65536 workgroups"));
    assert!(refused(&|s| s.entry = Some("start".into())).contains("start"));
    let error = lint("fn main() { let x = ; }", &mixed()).unwrap_err();
    assert!(matches!(&error, Refused::Shader(Unrunnable { place: Some(p), .. }) if p.line == 1), "{error}");
}

#[test]
fn words_that_hold_floats_are_known_through_calls_variables_and_bits() {
    let source = "
        @group(0) @binding(0) var<storage, read> x: array<f32>;
        @group(0) @binding(1) var<storage, read_write> halves: array<u32>;
        @group(0) @binding(2) var<storage, read_write> copies: array<vec2<u32>>;
        @group(0) @binding(3) var<storage, read_write> bits: array<u32>;
        @group(0) @binding(4) var<storage, read_write> bytes: array<i32>;
        @group(0) @binding(5) var<storage, read_write> flags: array<u32>;
        @group(0) @binding(6) var<storage, read_write> counts: array<u32>;
        var<workgroup> tile: array<u32, 4>;
        fn pair(a: f32, b: f32) -> u32 { return pack2x16float(vec2<f32>(a, b)); }
        fn keep(i: u32, word: u32) { halves[i] = word; }
        @compute @workgroup_size(4) fn main(@builtin(local_invocation_index) i: u32) {
            var word = pair(x[i], 0.0) & 0xffffu;
            word |= pair(x[i + 1u], 0.0) << 16u;
            keep(i, word);
            tile[i] = word;
            copies[i] = vec2<u32>(0u, tile[i]);
            bits[i] = bitcast<u32>(2.0 * x[i]);
            bytes[i] = i32(pack4x8snorm(vec4<f32>(x[i])));
            flags[i] = u32(word == 7u);
            counts[i] = u32(x[i]);
        }";
    let words: Vec<_> = declared(source).unwrap().into_iter().map(|v| (v.name, v.words)).collect();
    let expected = [
        ("x", None),
        ("halves", Some(words::Words::Halves)),
        ("copies", Some(words::Words::Halves)),
        ("bits", Some(words::Words::Float)),
        ("bytes", Some(words::Words::Bytes)),
        ("flags", None),
        ("counts", None),
    ];
    assert_eq!(words, expected.map(|(name, words)| (name.to_owned(), words)));
}
