//! Model files broken at random, always the same ones: nothing panics, and no file makes the readers take more
//! memory than a small multiple of its size. Alone in its process, because it counts what the allocator gives.
#![allow(unsafe_code, reason = "a global allocator can only be written so")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::io::Write;

use tachylite::rng::Rng;

#[path = "files/corpus.rs"]
mod corpus;

/// How many files are read.
const RUNS: u64 = 120_000;
/// Of every so many files that are read, one is planned.
const PLANNED: u64 = 40;

/// Bytes that may be held for each byte of a file.
const TIMES: f64 = 8.0;
/// Bytes that a sentence, and the vectors of an empty model, take for any file.
const FIXED: i64 = 3072;

struct Counting;

thread_local! {
    static HELD: Cell<i64> = const { Cell::new(0) };
    static PEAK: Cell<i64> = const { Cell::new(0) };
}

fn count(bytes: i64) {
    // A thread that ends has no counters any more.
    let _ = HELD.try_with(|held| {
        held.set(held.get() + bytes);
        PEAK.with(|peak| peak.set(peak.get().max(held.get())));
    });
}

// SAFETY: every request goes to the system's allocator unchanged; counting allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as i64);
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(-(layout.size() as i64));
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }
    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // While it is copied, both are held.
        count(size as i64);
        count(-(layout.size() as i64));
        // SAFETY: as above.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The most bytes that were held at once during `work`.
fn peak<T>(work: impl FnOnce() -> T) -> (T, i64) {
    let before = HELD.with(Cell::get);
    PEAK.with(|p| p.set(before));
    let result = work();
    (result, PEAK.with(Cell::get) - before)
}

/// Numbers that lie at the edges of types and of what a product may be.
fn extreme(rng: &mut Rng) -> u64 {
    let power = 1u64 << rng.below(64);
    match rng.below(6) {
        0 => 0,
        1 => u64::MAX,
        2 => power,
        3 => power.wrapping_sub(1),
        4 => power.wrapping_neg(),
        _ => u64::MAX / (rng.below(300) + 1),
    }
}

/// One fault, of a kind that files have.
fn mutate(file: &mut Vec<u8>, seeds: &[(&str, Vec<u8>)], rng: &mut Rng) {
    let n = file.len() as u64;
    let at = rng.below(n) as usize;
    match rng.below(8) {
        0 if n > 0 => file[at] ^= 1 << rng.below(8),
        1 if n > 0 => file[at] = rng.next_u64() as u8,
        2 => file.truncate(at),
        // Splice: a piece of any seed goes in, or in the place of what is there.
        3 | 4 => {
            let (_, other) = &seeds[rng.below(seeds.len() as u64) as usize];
            let from = rng.below(other.len() as u64) as usize;
            let to = (from + 1 + rng.below(64) as usize).min(other.len());
            let end = if rng.below(2) == 0 { at } else { (at + to - from).min(file.len()) };
            file.splice(at..end, other[from..to].iter().copied());
        }
        5 => drop(file.drain(at..(at + 1 + rng.below(16) as usize).min(file.len()))),
        // A number in JSON, or in the fields that sizes are.
        6 if file.get(8) == Some(&b'{') => {
            let digits = |b: &u8| b.is_ascii_digit();
            let Some(from) = file[at..].iter().position(digits).map(|i| i + at) else { return };
            let to = file[from..].iter().position(|b| !digits(b)).map_or(file.len(), |i| i + from);
            let _ = file.splice(from..to, extreme(rng).to_string().into_bytes());
        }
        _ => {
            let width = [1, 2, 4, 8][rng.below(4) as usize].min(file.len() - at);
            let bytes = extreme(rng).to_le_bytes();
            file[at..at + width].copy_from_slice(&bytes[..width]);
        }
    }
}

#[test]
fn no_mutated_file_panics_or_takes_memory() {
    let seeds = corpus::seeds();
    let (mut read, mut planned) = (0u64, 0u64);
    let mut worst = (0.0, String::new());
    for run in 0..RUNS {
        let mut rng = Rng::new(run);
        let (name, seed) = &seeds[run as usize % seeds.len()];
        let mut file = seed.clone();
        for _ in 0..=rng.below(4) {
            mutate(&mut file, &seeds, &mut rng);
        }
        let name = format!("{name}, run {run}");
        let (is_read, held) = peak(|| corpus::read(&name, &file));
        let over = (held - FIXED).max(0) as f64 / file.len().max(1) as f64;
        if over > worst.0 {
            worst = (over, name.clone());
        }
        assert!(over <= TIMES, "{name}: {held} bytes were held for a file of {}", file.len());
        if is_read {
            read += 1;
            corpus::again(&name, &file);
            if read % PLANNED == 0 {
                planned += u64::from(corpus::plan(&name, &file));
            }
        }
    }
    let mut out = std::io::stdout();
    writeln!(
        out,
        "{RUNS} files: {read} were read, {planned} of a part of them planned; held at most {:.1} bytes for each \
         byte beyond {FIXED} ({})",
        worst.0, worst.1
    )
    .unwrap();
    assert!(read > RUNS / 100 && read < RUNS / 2, "{read} of {RUNS} were read");
    assert!(planned > 10, "{planned} were planned");
}

#[test]
fn files_full_of_small_things_take_no_memory_for_them() {
    use corpus::Raw;
    let n = 20_000u64;
    let many = |raw: Raw, one: &dyn Fn(Raw, u64) -> Raw| (0..n).fold(raw, one).data(0).0;
    let key = |i: u64| format!("{i:04x}");
    let files = [
        ("empty strings", many(Raw::gguf(0, 1).text("k").u32(9).u32(8).u64(n), &|r, _| r.u64(0))),
        ("empty arrays", many(Raw::gguf(0, 1).text("k").u32(9).u32(9).u64(n), &|r, _| r.u32(0).u64(0))),
        ("flags", many(Raw::gguf(0, n), &|r, i| r.text(&key(i)).u32(7).bytes(&[1]))),
        (
            "tensors",
            many(Raw::gguf(n, 0), &|r, i| r.tensor(&key(i), &[], 24, i * 32))
                .into_iter()
                .chain(vec![0; n as usize * 32])
                .collect(),
        ),
        ("bytes", many(Raw::gguf(0, 1).text("k").u32(9).u32(0).u64(n), &|r, _| r.bytes(&[1]))),
        ("safetensors", {
            let one = |i| format!("\"{i:x}\":{{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0]}}");
            let all: Vec<_> = (0..n).map(one).collect();
            corpus::safetensors(&format!("{{{}}}", all.join(",")), 0)
        }),
    ];
    for (name, file) in files {
        let (read, held) = peak(|| corpus::read(name, &file));
        let times = held as f64 / file.len() as f64;
        writeln!(std::io::stdout(), "{name}: {} bytes, {times:.1} times that held", file.len()).unwrap();
        assert!(read && times <= TIMES, "{name}: {held} bytes were held for a file of {}", file.len());
    }
}
