//! Small shaders with one planted defect each, and their mended twins.

use std::fs;
use std::path::{Path, PathBuf};

use naga::valid::{Capabilities, ShaderStages, SubgroupOperationSet, ValidationFlags, Validator};

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(name)
}

/// The shaders of a folder, by name.
fn shaders(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut found: Vec<_> = entries.filter(|path| path.extension().is_some_and(|e| e == "wgsl")).collect();
    found.sort();
    found
}

#[test]
fn every_text_is_valid_and_every_defect_has_a_twin() {
    let mut wrong = Vec::new();
    for path in [shaders(&folder("planted")), shaders(&folder("planted/mended"))].concat() {
        let text = fs::read_to_string(&path).unwrap();
        let name = path.display();
        let module = match naga::front::wgsl::parse_str(&text) {
            Ok(module) => module,
            Err(e) => {
                wrong.push(format!("{name}: {}", e.emit_to_string(&text)));
                continue;
            }
        };
        let abilities =
            Capabilities::SHADER_FLOAT16 | Capabilities::SHADER_FLOAT16_IN_FLOAT32 | Capabilities::SUBGROUP;
        let mut validator = Validator::new(ValidationFlags::all(), abilities);
        validator.subgroup_stages(ShaderStages::COMPUTE).subgroup_operations(SubgroupOperationSet::all());
        if let Err(e) = validator.validate(&module) {
            wrong.push(format!("{name}: {}", e.emit_to_string(&text)));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
