//! Keys and values in pages are the same keys and values: attention over them gives the same bits as over a cache
//! in one piece, whatever page comes where, and whatever stands in the table behind the pages of a sequence.
#![cfg(feature = "virtual")]

use tachylite::check::{Fill, Machine};
use tachylite::formats::CacheForm;
use tachylite::ops::attention::{Attention, Reach};
use tachylite::plan::{Numerics, Policy, plan};
use tachylite::virtual_gpu::{Personality, VirtualGpu};
use tachylite::{Call, DType, Graph, Tensor};

const B: usize = 2;
const S: usize = 2;
const T: usize = 300;
const PAGE: usize = 20;
const EACH: usize = T / PAGE;
const PAGES: usize = B * EACH;
const G: usize = 2;
const H: usize = 4;
const D: usize = 36;
const LENGTHS: [u32; B] = [277, 33];

/// Numbers in [-1, 1) that look like any.
fn numbers(seed: usize, n: usize) -> Vec<f32> {
    (0..n).map(|i| ((i * 7919 + seed * 104_729) % 2003) as f32 / 1001.5 - 1.0).collect()
}

/// A cache in one piece, plain or quantised.
fn cache(seed: usize, form: Option<CacheForm>) -> Tensor {
    let shape = [B, T, G, D];
    let x = Tensor::from_f32(&shape, &numbers(seed, B * T * G * D)).unwrap();
    form.map_or_else(|| x.cast(DType::F16).unwrap(), |form| form.quantize(&x).unwrap())
}

/// The same in pages, that of sequence b and place i being `table[b, i]`, which has no starts yet.
fn in_pages(cache: &Tensor, table: &[u32]) -> Tensor {
    let (bytes, last) = (cache.to_bytes(), cache.shape()[3]);
    let size = bytes.len() / PAGES;
    let mut out = vec![0; bytes.len()];
    for (page, at) in bytes.chunks_exact(size).zip(table) {
        out[*at as usize * size..][..size].copy_from_slice(page);
    }
    Tensor::new(cache.dtype(), &[PAGES, PAGE, G, last], out).unwrap()
}

/// The bytes of o and of lse.
fn attended(
    kernel: &str,
    forms: [Option<CacheForm>; 2],
    kv: [&Tensor; 2],
    table: Option<&[u32]>,
) -> [Vec<u8>; 2] {
    let processors = matches!(kernel, "attention.lanes" | "attention.rows");
    let personality = Personality::named(if processors { "software-8" } else { "plain" }).unwrap();
    let gpu = VirtualGpu::new(personality).with_threads(2);
    let mut g = Graph::new();
    let mut given = vec![Tensor::from_f32(&[B, S, H, D], &numbers(1, B * S * H * D)).unwrap()];
    given.extend(kv.map(Clone::clone));
    given.push(Tensor::from_u32(&[B], &LENGTHS).unwrap());
    // Before its pages each row has where appending would begin, which is nothing to attention.
    given.extend(table.map(|table| {
        let rows: Vec<u32> = table.chunks(EACH).flat_map(|row| [&[9], row].concat()).collect();
        Tensor::from_u32(&[B, 1 + EACH], &rows).unwrap()
    }));
    let names = ["q", "k", "v", "lengths", "pages"];
    let input = |(name, t): (&str, &Tensor)| {
        let shape: Vec<_> = t.shape().iter().map(|n| (*n).into()).collect();
        g.input(name, t.dtype(), &shape).unwrap()
    };
    let ids: Vec<_> = names.into_iter().zip(&given).map(input).collect();
    let how = Attention {
        lengths: Some(ids[3]),
        pages: ids.get(4).copied(),
        causal: true,
        reach: Reach::Lengths,
        k_form: forms[0],
        v_form: forms[1],
        ..Attention::default()
    };
    let (o, lse) = g.attention_lse(ids[0], ids[1], ids[2], how).unwrap();
    g.output("o", o).unwrap();
    g.output("lse", lse).unwrap();
    let numerics = if kernel.contains(".matrix_") { Numerics::F16Staged } else { Numerics::F32 };
    let policy = Policy { kernel: Some(kernel.into()), numerics, ..Policy::default() };
    let plan = plan(&g, gpu.profile(), &policy).unwrap();
    let call = Call::default();
    let packed: Vec<_> =
        plan.inputs.iter().zip(&given).map(|(port, t)| port.pack(&plan.scalars, &call, t).unwrap()).collect();
    let fills: Vec<_> =
        plan.inputs.iter().zip(&packed).map(|(port, bytes)| (port.buffer, Fill::Bytes(bytes))).collect();
    let mut loaded = gpu.load(&plan, &Default::default(), 0).unwrap();
    let reads: Vec<_> = plan.outputs.iter().map(|port| port.buffer).collect();
    let read = gpu.run(&mut loaded, &call, &fills, &reads).unwrap();
    [0, 1].map(|i| plan.outputs[i].unpack(&call, &read[i]).unwrap().to_bytes())
}

#[test]
fn pages_give_the_same_bits_as_one_piece() {
    let table: Vec<u32> = (0..PAGES).map(|i| ((i * 7 + 3) % PAGES) as u32).collect();
    // Sequences of 277 and 33 keys have 14 and 2 pages: what is behind them is nobody's.
    let mut wild = table.clone();
    for (b, length) in LENGTHS.iter().enumerate() {
        wild[b * EACH..][..EACH][(*length as usize).div_ceil(PAGE)..].fill(u32::MAX);
    }
    for forms in [[None, None], [Some(CacheForm::Q8_0), Some(CacheForm::Q4_0)]] {
        let (k, v) = (cache(2, forms[0]), cache(3, forms[1]));
        let pages = [&k, &v].map(|cache| in_pages(cache, &table));
        let names = ["online", "split", "lanes", "rows", "matrix_8", "matrix_16"];
        for kernel in names.map(|name| format!("attention.{name}")) {
            let kernel = kernel.as_str();
            let whole = attended(kernel, forms, [&k, &v], None);
            assert!(whole[0].iter().any(|byte| *byte != 0));
            for table in [&table, &wild] {
                let paged = attended(kernel, forms, [&pages[0], &pages[1]], Some(table));
                assert!(paged == whole, "{kernel} {forms:?}");
            }
        }
    }
}

#[test]
fn what_does_not_go_together_is_refused_in_a_sentence() {
    let mut g = Graph::new();
    let shape = |last: usize| [2.into(), 8.into(), 2.into(), last.into()];
    let q = g.input("q", DType::F32, &shape(64)).unwrap();
    let plain = g.input("plain", DType::F16, &shape(64)).unwrap();
    let rows = g.input("rows", DType::U8, &shape(68)).unwrap();
    let pages = g.input("pages", DType::U32, &[2.into(), 3.into()]).unwrap();
    let none = g.input("none", DType::F16, &[0.into(), 8.into(), 2.into(), 64.into()]).unwrap();
    let lengths = Some(g.input("lengths", DType::U32, &[2.into()]).unwrap());
    let (k_form, v_form, pages) = (Some(CacheForm::Q8_0), Some(CacheForm::Q4_0), Some(pages));
    let start = Attention::default();
    let mut say = |k, v, how| g.attention(q, k, v, how).unwrap_err().to_string();
    let cases = [
        (rows, plain, start, "`k` is u8, rows of a quantised cache, but `k_form` does not say of which form"),
        (plain, plain, Attention { k_form, ..start }, "`k` is f16, but a cache of the form q8_0 is u8"),
        (
            plain,
            rows,
            Attention { v_form, ..start },
            "`v` is [2, 8, 2, 68], but rows of C = 64 elements have 36 bytes as q4_0",
        ),
        (
            plain,
            plain,
            Attention { pages, ..start },
            "`pages` needs `lengths`, how many keys each sequence has in its pages",
        ),
        (
            none,
            none,
            Attention { pages, lengths, ..start },
            "`k` is [0, 8, 2, 64], but the number of pages and the keys of one must be fixed, and at least 1",
        ),
    ];
    for (k, v, how, text) in cases {
        assert_eq!(say(k, v, how), format!("attention: {text}"));
    }
    let (v_form, v_width) = (Some(CacheForm::Q8_0), Some(62));
    let o =
        g.attention(q, rows, rows, Attention { k_form, v_form, v_width, pages, lengths, ..start }).unwrap();
    assert_eq!(g.value(o).shape, [2.into(), 8.into(), 2.into(), 62.into()]);
}
