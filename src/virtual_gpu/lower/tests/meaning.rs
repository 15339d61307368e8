//! What small texts compute, on lanes that do not all do the same.

use crate::virtual_gpu::{Contents, Fma, Personality, Reassociation, VirtualGpu};

/// What a shader of 8 lanes that has `source` in front and `body` in `main` leaves in `out`: 4 words
/// for each lane, `o[0]` to `o[3]`. `x` holds 0 to 31, and `f` the same as floats.
fn words(source: &str, body: &str, personality: Personality) -> Vec<u32> {
    let text = format!(
        "{source}
@group(0) @binding(0) var<storage, read_write> out: array<array<u32, 4>>;
@group(0) @binding(1) var<storage, read> x: array<u32, 32>;
@group(0) @binding(2) var<storage, read> f: array<vec4<f32>, 8>;
@compute @workgroup_size(8) fn main(@builtin(local_invocation_index) lane: u32) {{
    var o = array<u32, 4>();
    let used = x[0] + u32(f[0].x);
    {body}
    out[lane] = o;
}}"
    );
    let gpu = VirtualGpu::new(personality);
    let shader = gpu.shader("meaning.wgsl", &text, &[], None).unwrap_or_else(|e| panic!("{e:?}\n{text}"));
    let bytes = |word: fn(u32) -> u32| Contents::Bytes((0..32).flat_map(|i| word(i).to_le_bytes()).collect());
    let contents: Vec<_> = shader
        .buffers()
        .iter()
        .map(|buffer| match buffer.name.as_str() {
            "out" => Contents::Unwritten(8 * 16),
            "x" => bytes(|i| i),
            "f" => bytes(|i| (i as f32).to_bits()),
            other => panic!("{other}"),
        })
        .collect();
    let left = shader.run([1, 1, 1], &contents).unwrap_or_else(|e| panic!("{e:?}\n{text}"));
    assert!(left.findings.iter().all(|f| f.kind.is_warning()), "{:?}\n{text}", left.findings);
    let at = shader.buffers().iter().position(|b| b.name == "out").unwrap();
    left.buffers[at].chunks(4).map(|w| u32::from_le_bytes(w.try_into().unwrap())).collect()
}

/// Each lane's words are what `expected` says, whatever the compiler does.
fn gives(source: &str, body: &str, expected: fn(u32) -> [u32; 4]) {
    let wild =
        Personality { fma: Fma::Contracted, reassociation: Reassociation::Constants, ..Personality::plain() };
    for personality in [Personality::plain(), wild] {
        let found = words(source, body, personality);
        let expected: Vec<_> = (0..8).flat_map(expected).collect();
        assert_eq!(found, expected, "{source}\n{body}");
    }
}

fn bits<const N: usize>(floats: [f32; N]) -> [u32; N] {
    floats.map(f32::to_bits)
}

#[test]
fn values_are_composed_and_taken_apart() {
    gives("", "let v = vec4(lane, 1u, vec2(2u, 3u)).wzyx; o = array(v.x, v.y, v.z, v[3]);", |l| [3, 2, 1, l]);
    gives("", "let v = vec4(4u, 5u, 6u, 7u); o[0] = v[lane % 4u]; o[1] = vec3(lane).y;", |l| {
        [4 + l % 4, l, 0, 0]
    });
    gives("", "var v = vec3(lane); v.y = 9u; v[lane % 3u] += 1u; o = array(v.x, v.y, v.z, 0u);", |l| {
        let mut v = [l, 9, l, 0];
        v[l as usize % 3] += 1;
        v
    });
    gives(
        "const LUT = array(3u, 1u, 4u, 1u, 5u, 9u, 2u, 6u);",
        "o[0] = LUT[lane]; o[1] = LUT[7u - lane];",
        |l| {
            let lut = [3, 1, 4, 1, 5, 9, 2, 6];
            [lut[l as usize], lut[7 - l as usize], 0, 0]
        },
    );
    gives(
        "struct P { a: u32, b: array<vec2<u32>, 3>, c: bool }",
        "var p: P; p.b[lane % 3u].y = 5u; p.c = lane > 2u; let q = p; p.a = 8u;
         o = array(q.b[0].y, q.b[1].y, q.a, select(0u, 1u, q.c && p.a == 8u));",
        |l| [5 * u32::from(l % 3 == 0), 5 * u32::from(l % 3 == 1), 0, u32::from(l > 2)],
    );
    gives(
        "",
        "var m = mat3x2<f32>(1, 2, 3, 4, 5, 6); m[lane % 3u][1] = 9; let v = m * vec3(1f, 10, 100);
         let w = vec2(1f, 10) * m; o = array(u32(v.x), u32(v.y), u32(w.x), u32(w.z));",
        |l| {
            let mut m = [1, 2, 3, 4, 5, 6];
            m[(l % 3) as usize * 2 + 1] = 9;
            [531, m[1] + 10 * m[3] + 100 * m[5], 1 + 10 * m[1], 5 + 10 * m[5]]
        },
    );
}

#[test]
fn control_flow_is_of_each_lane() {
    gives(
        "",
        "for (var i = 0u; i < lane; i++) { if (i == 4u) { continue; } if (i == 6u) { break; } o[0] += i; }",
        |l| [(0..l).take_while(|i| *i != 6).filter(|i| *i != 4).sum(), 0, 0, 0],
    );
    gives(
        "fn search(limit: u32) -> u32 {
             for (var i = 0u; i < 4u; i++) { for (var j = 0u; j < 4u; j++) { if (i * j >= limit) { return i * 10u + j; } } }
             return 99u;
         }",
        "for (var i = 0u; i < 3u; i++) { o[i] = search(lane * (i + 1u)); }",
        |l| {
            let search = |limit: u32| {
                let all = (0..4).flat_map(|i| (0..4).map(move |j| (i, j)));
                all.clone().find(|(i, j)| i * j >= limit).map_or(99, |(i, j)| i * 10 + j)
            };
            [search(l), search(2 * l), search(3 * l), 0]
        },
    );
    gives(
        "",
        "for (var i = 0u; i < 3u; i++) { switch lane + i {
             case 1u, 2u: { o[0] += 1u; if (i == 1u) { break; } o[1] += 10u; }
             default: { o[2] += 1u; }
             case 5u: { o[3] += 1u; continue; }
         } o[3] += 100u; }",
        |l| {
            let mut o = [0; 4];
            for i in 0..3 {
                match l + i {
                    1 | 2 => {
                        o[0] += 1;
                        o[1] += if i == 1 { 0 } else { 10 };
                    }
                    5 => {
                        o[3] += 1;
                        continue;
                    }
                    _ => o[2] += 1,
                }
                o[3] += 100;
            }
            o
        },
    );
    gives(
        "",
        "var i = 0u; loop { o[0] += i; continuing { i++; let j = i * 2u; break if j > lane; } } o[1] = i;",
        |l| {
            let rounds = (1..).find(|i| i * 2 > l).unwrap();
            [(0..rounds).sum(), rounds, 0, 0]
        },
    );
    gives("", "for (var i = 0u; i < 4u; i++) { var fresh: u32; fresh += lane; o[i] = fresh; }", |l| [l; 4]);
    gives("", "var s = 1u; while (s < lane && (lane & s) == 0u || s == 4u) { s *= 2u; } o[0] = s;", |l| {
        let mut s = 1;
        while s < l && (l & s) == 0 || s == 4 {
            s *= 2;
        }
        [s, 0, 0, 0]
    });
}

#[test]
fn registers_are_kept_as_long_as_they_are_needed() {
    gives(
        "",
        "let k = x[lane] * 3u; for (var i = 0u; i < lane; i++) { o[0] += k; let t = (i * 7u) ^ o[0]; o[1] += t; }",
        |l| {
            let (mut a, mut b) = (0, 0);
            for i in 0..l {
                a += 3 * l;
                b += (i * 7) ^ a;
            }
            [a, b, 0, 0]
        },
    );
    gives("", "var v = x[lane]; let t = lane * 3u; o[0] = v + 1u; v = t; o[1] = v;", |l| {
        [l + 1, 3 * l, 0, 0]
    });
    gives("", "var a = x[lane]; let b = a; a = lane * 2u; o[0] = b; o[1] = a;", |l| [l, 2 * l, 0, 0]);
    gives(
        "",
        "var a = lane; var b = 9u; let t = a; a = b; b = t; if (lane > 3u) { b = a; a = 1u; } o = array(a, b, t, 0u);",
        |l| {
            if l > 3 { [1, 9, l, 0] } else { [9, l, l, 0] }
        },
    );
    gives(
        "",
        "var v = lane; if (lane > 4u) { v = 0u; } let w = v; if (w == 0u && lane > 0u || v > 2u) { o[0] = w + 1u; }",
        |l| {
            let w = if l > 4 { 0 } else { l };
            [if w == 0 && l > 0 || w > 2 { w + 1 } else { 0 }, 0, 0, 0]
        },
    );
}

#[test]
fn functions_are_inlined() {
    gives(
        "var<private> count = 3u;
         fn swap(a: ptr<function, u32>, b: ptr<function, u32>) { let t = *a; *a = *b; *b = t; count += 1u; }
         fn second(p: ptr<function, array<u32, 4>>, i: u32) -> u32 { let q = &(*p)[i]; *q += 1u; return *q; }",
        "var a = lane; var b = 7u; swap(&a, &b); o = array(a, b, 0u, 0u);
         let s = second(&o, 1u); o[2] = s; o[3] = count;",
        |l| [7, l + 1, l + 1, 4],
    );
    gives(
        "fn sign(x: i32) -> i32 { if (x < 0) { return -1; } else if (x > 0) { return 1; } return 0; }
         fn both(x: i32) -> vec2<i32> { return vec2(sign(x), sign(-x)); }",
        "let v = both(i32(lane) - 3); o[0] = u32(v.x + 2); o[1] = u32(v.y + 2);",
        |l| [(2 + (l as i32 - 3).signum()) as u32, (2 - (l as i32 - 3).signum()) as u32, 0, 0],
    );
    gives(
        "fn first(v: vec2<u32>) -> u32 { return v.x; }",
        "out[lane] = o; if (lane > 5u) { return; } o[0] = first(vec2(lane, 3u));",
        |l| [if l > 5 { 0 } else { l }, 0, 0, 0],
    );
}

#[test]
fn memory_is_laid_out_as_wgsl_says() {
    gives("", "let v = f[lane]; o = array(u32(v.x), u32(v.y), u32(v.z), u32(f[lane].w));", |l| {
        [4 * l, 4 * l + 1, 4 * l + 2, 4 * l + 3]
    });
    gives(
        "struct T { flag: bool, v: vec3<u32>, a: array<vec2<bool>, 2> }
         var<workgroup> t: array<T, 8>; var<workgroup> total: atomic<u32>; var<workgroup> last: u32;",
        "t[lane].v = vec3(lane, 2u, 3u); t[lane].a[1].y = lane > 3u; t[lane].flag = true;
         let old = atomicAdd(&total, lane); if (lane == 7u) { last = 5u; } workgroupBarrier();
         let n = t[7u - lane]; o = array(n.v.x, select(0u, 1u, n.a[1].y && n.flag), atomicLoad(&total), 0u);
         o[3] = workgroupUniformLoad(&last) + old - old;",
        |l| [7 - l, u32::from(7 - l > 3), 28, 5],
    );
    gives(
        "var<workgroup> a: atomic<i32>;",
        "let r = atomicCompareExchangeWeak(&a, 0, i32(lane) + 1); atomicMax(&a, 3); workgroupBarrier();
         o[0] = select(0u, 1u, r.exchanged); o[1] = u32(atomicLoad(&a)); if (lane > 0u) { o[2] = u32(r.old_value); }",
        |l| [u32::from(l == 0), 3, if l == 0 { 0 } else { 1 }, 0],
    );
}

#[test]
fn built_ins_have_their_operands() {
    gives("", "let p = pack4xI8(vec4(-1, 2, i32(lane), 127)); let u = unpack4xI8(p); o[0] = u32(u.x + 1); o[1] = u32(u.z);
         o[2] = u32(dot4I8Packed(p, 0x01000000u)); o[3] = extractBits(p, 8u, 8u);", |l| [0, l, 127, 2]);
    gives(
        "",
        "let a = vec3(1f, 2, 3); let c = cross(a, vec3(3f, 2, 1)); o[0] = u32(c.y); o[1] = u32(-c.x);
         let m = modf(f32(lane) + 0.5); o[2] = bitcast<u32>(m.fract); o[3] = u32(m.whole);",
        |l| [8, 4, bits([0.5])[0], l],
    );
    gives("", "let e = frexp(f32(lane) + 1.0); o[0] = bitcast<u32>(e.fract); o[1] = u32(e.exp);
         o[2] = u32(determinant(mat3x3<f32>(2, 0, 1, 0, 3, 0, 1, 0, 4))); o[3] = u32(transpose(mat2x3<f32>(1, 2, 3, 4, 5, 6))[2].y);", |l| {
        let (mut fraction, mut exponent) = ((l + 1) as f32, 0);
        while fraction >= 1.0 {
            (fraction, exponent) = (fraction / 2.0, exponent + 1);
        }
        [fraction.to_bits(), exponent, 21, 6]
    });
    gives(
        "enable f16;",
        "let h = vec2<f16>(f16(lane), 2h) * 0.5h; o[0] = u32(h.x * 4h); o[1] = u32(f32(h.y)); o[2] = pack2x16float(vec2<f32>(h));",
        |l| {
            let half = u32::from(half::f16::from_f32(l as f32 / 2.0).to_bits());
            [2 * l, 1, 0x3c00_0000 | half, 0]
        },
    );
    gives(
        "",
        "o[0] = subgroupAdd(lane); o[1] = subgroupShuffleXor(lane, 1u); o[2] = subgroupBallot(lane > 3u).x;
         o[3] = subgroupExclusiveAdd(1u);",
        |l| [28, l ^ 1, 0xf0, l],
    );
    gives("", "let r = reflect(vec2(1f, -1), vec2(0f, 1)); o[0] = u32(r.x + r.y); o[1] = select(0u, 1u, all(vec2(true, lane > 1u)));
         o[2] = u32(length(vec2(3f, 4))); o[3] = insertBits(0u, lane, 4u, 4u);", |l| [2, u32::from(l > 1), 5, l << 4]);
}

#[test]
fn rewrites_change_no_exact_result() {
    gives(
        "",
        "let a = f32(lane); var s = a * 3.0 - 1.0; s = 2.0 - s * 2.0; s += a * a; o[0] = bitcast<u32>(s);",
        |l| {
            let a = l as f32;
            [(2.0 - (a * 3.0 - 1.0) * 2.0 + a * a).to_bits(), 0, 0, 0]
        },
    );
    gives(
        "",
        "let a = f32(lane); let b = 1.0 - a; o = array(bitcast<u32>(a + 4.0 - 3.0), bitcast<u32>(2.0 - b),
         bitcast<u32>(a - 1.0 + 1.0), bitcast<u32>(b - 1.0));",
        |l| {
            let a = l as f32;
            bits([a + 1.0, 1.0 + a, a, 0.0 - a])
        },
    );
}
