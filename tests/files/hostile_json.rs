//! safetensors files, and indices of them, that are not what they should be.

use super::corpus::{Raw, read, safetensors};
use super::hostile::refused;

fn refuses(json: &str, data: usize, says: &str) {
    let e = refused(&safetensors(json, data));
    assert!(e.contains(says), "{e}\n  should say: {says}");
}

fn entry(dtype: &str, shape: &str, offsets: &str) -> String {
    format!("{{\"dtype\":\"{dtype}\",\"shape\":[{shape}],\"data_offsets\":[{offsets}]}}")
}

fn one(dtype: &str, shape: &str, offsets: &str) -> String {
    format!("{{\"w\":{}}}", entry(dtype, shape, offsets))
}

#[test]
fn mlx_3364_and_audio_cpp_138_offsets_that_are_not_in_the_file() {
    refuses(&one("F32", "4", "0,16"), 15, "data_offsets: 0 to 16 do not lie in the 15 bytes of data");
    refuses(
        &one("F32", "4", "0,18446744073709551615"),
        16,
        "tensor `w`: data_offsets: 0 to 18446744073709551615",
    );
    refuses(&one("F32", "4", "16,0"), 16, "data_offsets: 16 to 0 do not lie in the 16 bytes of data");
    refuses(&one("F32", "4", "0,18446744073709551616"), 16, "header, `w.data_offsets[1]`");
    refuses(&one("F32", "4", "-16,0"), 16, "header, `w.data_offsets[0]`");
    refuses(&one("F32", "4", "0,12"), 12, "data_offsets: are 12 bytes, but F32 [4] takes 16");
}

#[test]
fn cve_2026_33298_and_safetensors_cpp_shapes_that_overflow() {
    refuses(
        &one("F32", "4294967296,4294967296", "0,0"),
        0,
        "shape: F32 [4294967296, 4294967296] takes more than",
    );
    refuses(&one("F32", "4611686018427387904", "0,0"), 0, "takes more than 2^64 bytes");
    refuses(&one("F32", "0,4294967296,4294967296", "0,0"), 0, "takes more than 2^64 bytes");
    refuses(&one("F32", "18446744073709551616", "0,0"), 0, "header, `w.shape");
    refuses(&one("F32", "-1", "0,0"), 0, "header, `w.shape");
    refuses(&one("F32", "1e3", "0,0"), 0, "header, `w.shape");
    refuses(&one("F4", "3", "0,1"), 1, "no whole number of them");
    refuses(&one("F32", "1,1,1,1,1,1,1,1,1", "0,4"), 4, "has more than 8 sizes");
}

#[test]
fn safetensors_f002_tensors_of_no_bytes_may_share_an_offset() {
    let empty = entry("F32", "0", "0,0");
    let file = format!(
        "{{\"a\":{empty},\"b\":{empty},\"c\":{},\"d\":{}}}",
        entry("U8", "2", "0,2"),
        entry("I8", "2,0", "2,2")
    );
    assert!(read("good", &safetensors(&file, 2)));
}

#[test]
fn tensors_that_overlap_leave_gaps_or_bytes() {
    let pair = |a: &str, b: &str| format!("{{\"a\":{},\"b\":{}}}", entry("U8", "4", a), entry("U8", "4", b));
    refuses(
        &pair("0,4", "2,6"),
        6,
        "data of `b`: overlaps another tensor: begins at 2 of the data, but should at 4",
    );
    refuses(&pair("0,4", "0,4"), 4, "overlaps another tensor");
    refuses(&pair("0,4", "5,9"), 9, "data of `b`: leaves a gap: begins at 5 of the data, but should at 4");
    refuses(&pair("1,5", "5,9"), 9, "data of `a`: leaves a gap");
    refuses(&pair("0,4", "4,8"), 9, "data: 9 bytes follow the header, but the tensors take 8");
}

#[test]
fn names_that_are_there_twice() {
    let e = entry("U8", "0", "0,0");
    refuses(&format!("{{\"w\":{e},\"w\":{e}}}"), 0, "header, tensor `w`: is there already");
    // The place is where the second name ends.
    let json = format!("{{\"w\":{e},\n \"v\":{e},\"w\":{e}}}");
    let (said, at) = (refused(&safetensors(&json, 0)), 8 + json.rfind("\"w\"").unwrap() + 2);
    assert!(said.starts_with(&format!("bad: offset {at}: header, tensor `w`: is there already")), "{said}");
    // The same name, written in two ways.
    refuses(&format!("{{\"w\":{e},\"\\u0077\":{e}}}"), 0, "tensor `w`: is there already");
    refuses("{\"__metadata__\":{\"a\":\"1\",\"a\":\"2\"}}", 0, "`a` is there twice");
    refuses("{\"__metadata__\":{},\"__metadata__\":{}}", 0, "is there already");
    let twice = "{\"w\":{\"dtype\":\"U8\",\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0]}}";
    refuses(twice, 0, "duplicate field `dtype`");
}

#[test]
fn headers_that_are_no_headers() {
    refuses("{", 0, "header");
    refuses("{}x", 0, "trailing characters");
    refuses(&format!("{{\"w\":{}", "{\"a\":".repeat(100_000)), 0, "header, `w");
    refuses(&format!("{{\"__metadata__\":{}", "[".repeat(100_000)), 0, "header, `__metadata__`");
    refuses(&one("F128", "1", "0,16"), 16, "header, `w.dtype`");
    refuses(
        "{\"w\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0],\"more\":1}}",
        0,
        "unknown field `more`",
    );
    refuses("{\"w\":{\"dtype\":\"U8\",\"shape\":[0]}}", 0, "missing field `data_offsets`");
    refuses("{\"__metadata__\":{\"a\":1}}", 0, "header, `__metadata__.a`");
    // The place of a fault is that of the fault.
    let e = refused(&safetensors("{\"v\":\n\n 7}", 0));
    assert!(e.starts_with("bad: offset 16: header, `v`"), "{e}");
}

#[test]
fn lengths_of_headers_that_are_none() {
    for n in [3, 1 << 63, u64::MAX, u64::MAX - 7, 100_000_001] {
        let e = refused(&Raw::default().u64(n).bytes(b"{}").0);
        assert!(e.contains(&format!("bad: offset 0: header length: is {n}, but 2 bytes follow")), "{e}");
    }
    let e = refused(&Raw::default().u64(4).bytes(b"{\"\xff\"").0);
    assert!(e.contains("bad: offset 10: header: is not UTF-8"), "{e}");
}
