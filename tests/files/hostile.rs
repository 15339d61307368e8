//! GGUF files that hurt other readers, by the advisories and issues that say so (facts/ecosystem.md, 5.2), and
//! their kin: each is refused in one sentence with file, offset and field.

use tachylite::files::Model;

use super::corpus::{Raw, gguf, metadata, read, seeds, spec};

/// The sentence by which a file is refused.
pub fn refused(bytes: &[u8]) -> String {
    let e = Model::new(&[("bad", bytes)]).expect_err("the file is bad").to_string();
    assert!(e.starts_with("bad: offset ") && !e.contains('\n') && e.len() < 1000, "{e}");
    let digits = e["bad: offset ".len()..].split(':').next().unwrap();
    assert!(digits.parse::<u64>().is_ok_and(|at| at <= bytes.len() as u64), "{e}");
    e
}

/// Refuses a file, and says so with these words.
fn refuses(raw: Raw, says: &str) {
    let e = refused(&raw.0);
    assert!(e.contains(says), "{e}\n  should say: {says}");
}

#[test]
fn cve_2025_53630_sizes_of_tensors_that_overflow_their_sum() {
    let half = 1u64 << 61;
    let raw = Raw::gguf(2, 0).tensor("a", &[half], 24, 0).tensor("b", &[half], 24, 1 << 63).data(64);
    refuses(raw, "tensor `a`: lies 0 bytes into the data, which begin at 96, and takes 2305843009213693952");
    let raw = Raw::gguf(2, 0).tensor("a", &[32], 24, 0).tensor("b", &[half], 24, u64::MAX - 31).data(64);
    refuses(raw, "tensor `b`: lies 18446744073709551584 bytes into the data");
}

#[test]
fn cve_2026_27940_counts_whose_overhead_overflows() {
    for n in [1 << 63, u64::MAX, u64::MAX / 25, 1 << 32, 2] {
        refuses(
            Raw::gguf(n, 0),
            &format!("bad: offset 8: number of tensors: is {n}, each of at least 25 bytes"),
        );
    }
}

#[test]
fn cve_2024_21802_counts_of_metadata_that_overflow() {
    for n in [1 << 63, u64::MAX, u64::MAX / 14 + 1, 1] {
        refuses(Raw::gguf(0, n), &format!("bad: offset 16: number of metadata entries: is {n}, each of"));
    }
}

#[test]
fn cve_2026_33298_and_gguf_rs_15_elements_times_size_that_overflow() {
    let raw = Raw::gguf(1, 0).tensor("w", &[1 << 32, 1 << 30], 0, 0).data(64);
    refuses(raw, "bad: offset 37: sizes of `w`: F32 [1073741824, 4294967296] takes more than 2^64 bytes");
    let raw = Raw::gguf(1, 0).tensor("w", &[1 << 33, 1 << 33], 8, 0).data(64);
    refuses(raw, "sizes of `w`: Q8_0 [8589934592, 8589934592] takes more than 2^64 bytes");
}

#[test]
fn issue_24759_padding_that_wraps() {
    for offset in [u64::MAX - 31, !63, 1 << 63] {
        let raw = Raw::gguf(1, 0).tensor("w", &[4], 0, offset).data(64);
        refuses(raw, &format!("tensor `w`: lies {offset} bytes into the data"));
    }
    refuses(
        Raw::gguf(1, 0).tensor("w", &[4], 0, u64::MAX).data(64),
        "offset of `w`: is 18446744073709551615",
    );
}

#[test]
fn issue_24997_alignments_that_are_none() {
    for a in [0, 3, 24, 0x8000_0000, u32::MAX, 1 << 21] {
        let raw = Raw::gguf(0, 1).text("general.alignment").u32(4).u32(a).data(0);
        refuses(
            raw,
            &format!("bad: offset 49: general.alignment: is {a}, but must be a power of two up to 1048576"),
        );
    }
    let raw = Raw::gguf(0, 1).text("general.alignment").u32(10).u64(32);
    refuses(raw, "general.alignment: is of type u64, but must be u32");
    let raw = Raw::gguf(0, 1).text("general.alignment").u32(8).text("32");
    refuses(raw, "general.alignment: is of type string, but must be u32");
}

#[test]
fn issue_27203_a_product_of_sizes_that_turns_negative_or_to_zero() {
    let sizes = [1 << 32, 1 << 31, 1 << 31, 1 << 34];
    refuses(Raw::gguf(1, 0).tensor("w", &sizes, 24, 0).data(64), "sizes of `w`: I8");
    // A zero hides nothing.
    let raw = Raw::gguf(1, 0).tensor("w", &[0, 1 << 40, 1 << 40], 24, 0).data(64);
    refuses(raw, "sizes of `w`: I8 [1099511627776, 1099511627776, 0] takes more than 2^64 bytes");
}

#[test]
fn cve_2026_21869_sizes_that_are_negative_elsewhere() {
    for n in [u64::MAX, 1 << 63, (1 << 63) + 64] {
        let raw = Raw::gguf(1, 0).tensor("w", &[4, n], 0, 0).data(64);
        refuses(raw, &format!("size 1 of `w`: is {n}, which is more than can be addressed"));
    }
}

#[test]
fn issue_27188_an_array_of_2_to_the_63_in_43_bytes() {
    for (id, n) in [(0, 1u64 << 63), (9, 1 << 63), (8, u64::MAX), (7, u64::MAX), (12, 1 << 61), (0, 1 << 40)]
    {
        let raw = Raw::gguf(0, 1).text("k").u32(9).u32(id).u64(n);
        assert!(raw.0.len() < 53);
        refuses(raw, &format!("length of `k`: is {n}, each of at least"));
    }
    refuses(Raw::gguf(0, 1).text("k").u32(8).u64(1 << 63), "`k`: has 9223372036854775808 bytes, but 0 ");
    refuses(
        Raw::gguf(0, 1).u64(1 << 63).bytes(&[0; 6]),
        "key 0: has 9223372036854775808 bytes, but 6 bytes follow",
    );
}

#[test]
fn gguf_parser_go_20_more_axes_than_there_are() {
    for axes in [5, 6, 255, u32::MAX] {
        let raw = Raw::gguf(1, 0).text("w").u32(axes).bytes(&[0; 64]);
        refuses(raw, &format!("bad: offset 33: number of axes of `w`: is {axes}, but at most 4 are read"));
    }
}

#[test]
fn issue_25821_numbers_of_metadata_that_are_used_as_sizes() {
    let split = |id: u32, value: &[u8]| Raw::gguf(0, 1).text("split.count").u32(id).bytes(value).data(0);
    refuses(split(2, &[0, 0]), "split.count: is 0, but files are 1 to 9999");
    refuses(split(2, &[255, 255]), "split.count: is 65535, but files are 1 to 9999");
    refuses(split(10, &[255; 8]), "split.count: is 18446744073709551615");
    refuses(split(5, &[255; 4]), "split.count: is no count but of type i32");
    refuses(split(2, &[3, 0]), "split.count: is 3, but 1 files are given");
}

#[test]
fn plamo2_text_that_looks_like_an_index_is_text() {
    let file = gguf(&metadata(), &[]);
    let model = Model::new(&[("good", &file)]).unwrap();
    let tachylite::files::Value::Array(tokens) = model.contents().value("tokens").unwrap() else { panic!() };
    assert_eq!(tokens.get(0).unwrap().as_str(), Some("<0x-1>"));
}

#[test]
fn files_are_named_by_nothing_in_a_file() {
    // CVE-2022-25882 and its heirs: a GGUF names no files at all, so a path is a tensor's name like any other.
    let file = gguf(&[], &[spec("../../etc/passwd", "F32", &[1])]);
    assert!(read("good", &file));
}

#[test]
fn names_that_are_there_twice() {
    let raw = Raw::gguf(2, 0).tensor("w", &[4], 0, 0).tensor("w", &[4], 0, 32).data(64);
    refuses(raw, "bad: offset 57: tensor `w`: is there already, at offset 24");
    let raw = Raw::gguf(0, 2).text("k").u32(0).bytes(&[1]).text("k").u32(0).bytes(&[1]);
    refuses(raw, "bad: offset 38: key `k`: is there already, at offset 24");
}

#[test]
fn tensors_that_overlap() {
    let raw = Raw::gguf(2, 0).tensor("a", &[16], 0, 0).tensor("b", &[4], 0, 32).data(64);
    refuses(raw, "tensor `b`: begins at 128, but `a` lies at 96 to 160");
    let raw = Raw::gguf(2, 0).tensor("a", &[16], 0, 0).tensor("b", &[16], 0, 0).data(64);
    refuses(raw, "tensor `b`: begins at 96, but `a` lies at 96 to 160");
}

#[test]
fn tensors_past_the_end() {
    let raw = Raw::gguf(1, 0).tensor("w", &[16], 0, 32).data(64);
    refuses(
        raw,
        "bad: offset 24: tensor `w`: lies 32 bytes into the data, which begin at 64, and takes 64 bytes",
    );
}

#[test]
fn text_that_is_not_utf8() {
    refuses(Raw::gguf(0, 1).u64(2).bytes(b"k\xff").bytes(&[0; 8]), "bad: offset 33: key 0: is not UTF-8");
    let raw = Raw::gguf(0, 1).text("k").u32(8).u64(2).bytes(b"\xc3\x28");
    refuses(raw, "bad: offset 45: `k`: is not UTF-8");
    refuses(Raw::gguf(1, 0).u64(1).bytes(b"\x80").bytes(&[0; 32]), "name of tensor 0: is not UTF-8");
}

#[test]
fn arrays_in_arrays_without_end() {
    let deep = |n: usize| {
        let raw = (1..n).fold(Raw::gguf(0, 1).text("k").u32(9), |raw, _| raw.u32(9).u64(1));
        raw.u32(0).u64(1).bytes(&[5]).data(0)
    };
    assert!(read("good", &deep(4).0));
    for n in [5, 6, 100_000] {
        refuses(deep(n), "`k`: lies deeper than 4 arrays in arrays");
    }
}

#[test]
fn types_that_are_none() {
    for id in [13, 99, u32::MAX] {
        refuses(
            Raw::gguf(0, 1).text("k").u32(id).u64(0),
            &format!("type of `k`: is {id}, but the types are 0 to 12"),
        );
    }
    refuses(Raw::gguf(0, 1).text("k").u32(7).bytes(&[2, 0]), "offset 37: `k`: is 2, but a bool is 0 or 1");
    for id in [4, 5, 31, 32, 33, 36, 37, 38, 1000, u32::MAX] {
        let raw = Raw::gguf(1, 0).tensor("w", &[256], id, 0).data(1024);
        refuses(raw, &format!("bad: offset 45: type of `w`: {id} is no known type"));
    }
}

#[test]
fn blocks_that_are_cut() {
    let raw = Raw::gguf(1, 0).tensor("w", &[33, 32], 8, 0).data(2048);
    refuses(raw, "bad: offset 37: size 0 of `w`: is 33, but a block of Q8_0 is 32 values");
    refuses(Raw::gguf(1, 0).tensor("w", &[], 8, 0).data(64), "size 0 of `w`: is 1, but a block of Q8_0");
    refuses(
        Raw::gguf(1, 0).tensor("w", &[4], 0, 8).data(64),
        "offset of `w`: is 8, but must be a multiple of 32",
    );
}

#[test]
fn names_that_are_empty_or_endless() {
    refuses(
        Raw::gguf(1, 0).tensor("", &[4], 0, 0).data(64),
        "name of tensor 0: has 0 bytes, but must have from 1",
    );
    let long = "n".repeat(65_536);
    refuses(Raw::gguf(1, 0).tensor(&long, &[4], 0, 0).data(64), "name of tensor 0: has 65536 bytes");
    refuses(Raw::gguf(0, 1).text(&long).u32(0).bytes(&[1]), "key 0: has 65536 bytes");
    // A name is shown in one line and cut, whatever is in it.
    let ugly = format!("a\n\u{1b}[2J{}", "x".repeat(500));
    refuses(Raw::gguf(1, 0).tensor(&ugly, &[4], 99, 0).data(64), "type of `a\\n\\u{1b}[2Jxxx");
}

#[test]
fn what_is_another_format() {
    let version = |bytes: &[u8]| Raw(b"GGUF".to_vec()).bytes(bytes).bytes(&[0; 16]);
    refuses(version(&[0, 0, 0, 3]), "bad: offset 4: version: the file is big-endian, which is not read");
    refuses(version(&[1, 0, 0, 0]), "bad: offset 4: version: is 1, but 2 and 3 are read");
    refuses(version(&[4, 0, 0, 0]), "version: is 4, but 2 and 3 are read");
    refuses(Raw(b"tjgg\x03\0\0\0\0\0".to_vec()), "magic: is that of ggml's files before GGUF");
    refuses(Raw(b"PK\x03\x04 a zip file, as .pt is".to_vec()), "magic: is [50, 4b, 03, 04, ");
    refuses(Raw(Vec::new()), "bad: offset 0: magic: the file is empty");
    let short = "bad: offset 0: magic: the file ends after 3 bytes, before that of any format";
    refuses(Raw(b"GGU".to_vec()), short);
}

#[test]
fn files_that_end_anywhere() {
    for (name, file) in seeds() {
        assert!(read("good", &file), "{name}");
        // Behind the header of a file without tensors there is nothing but padding.
        let end = if name == "empty.gguf" { 24 } else { file.len() };
        for n in 0..end {
            refused(&file[..n]);
        }
    }
}
