//! Plans of graphs with the shapes that a file, any bytes, says its tensors have.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tachylite_fuzz::corpus;

fuzz_target!(|data: &[u8]| {
    corpus::plan("fuzz", data);
});
