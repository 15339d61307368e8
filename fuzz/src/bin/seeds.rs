//! Writes the seeds of every target into fuzz/seeds.

use std::path::Path;

use tachylite_fuzz::corpus::seeds;

fn main() -> std::io::Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("seeds");
    for target in ["gguf", "safetensors", "plan"] {
        let folder = root.join(target);
        std::fs::create_dir_all(&folder)?;
        for (name, file) in seeds() {
            if target == "plan" || name.ends_with(target) {
                std::fs::write(folder.join(name), &file)?;
            }
            if target == "safetensors" && name.ends_with(target) {
                // As `framed` takes it: how many bytes of data, and the header.
                let header = 8 + usize::try_from(u64::from_le_bytes(file[..8].try_into().unwrap())).unwrap();
                let mut input = ((file.len() - header) as u16).to_le_bytes().to_vec();
                input.extend(&file[8..header]);
                std::fs::write(folder.join(format!("framed.{name}")), input)?;
            }
        }
    }
    Ok(())
}
