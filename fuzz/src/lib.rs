//! What the targets share: what is asked of every file, and files that are right.

#[path = "../../tests/files/corpus.rs"]
pub mod corpus;

/// A safetensors file of any text: its length goes before it, and as many bytes of data behind it as the first two
/// bytes say, which no fuzzer would get right by chance.
pub fn framed(input: &[u8]) -> Option<Vec<u8>> {
    let (data, json) = input.split_at_checked(2)?;
    let data = usize::from(u16::from_le_bytes([data[0], data[1]])) % 4096;
    let mut file = (json.len() as u64).to_le_bytes().to_vec();
    file.extend(json);
    file.resize(file.len() + data, 0);
    Some(file)
}
