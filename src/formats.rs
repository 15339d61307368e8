//! Weight formats: how blocks are packed, unpacked and made.

pub mod i8;
pub mod q8_0;
