//! Any bytes as a GGUF file: refused in one sentence, or whole; and the same when it is written again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tachylite_fuzz::corpus;

fuzz_target!(|data: &[u8]| {
    if corpus::read("fuzz", data) {
        corpus::again("fuzz", data);
    }
});
