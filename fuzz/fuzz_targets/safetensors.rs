//! Any bytes as a safetensors file, and as the header of one.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tachylite_fuzz::{corpus, framed};

fuzz_target!(|data: &[u8]| {
    corpus::read("fuzz", data);
    if let Some(file) = framed(data) {
        corpus::read("fuzz", &file);
    }
});
