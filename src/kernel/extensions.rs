//! Extensions of WGSL: which ones a text uses, and the lines that a target wants to see for them.
//!
//! Texts are composed without such lines, so that their line numbers are those of the shader files,
//! and because targets differ: naga knows some extensions unasked that Dawn wants enabled.

use std::borrow::Cow;

/// Extensions that a text must enable and a device must have as a feature: the name in WGSL and that of
/// WebGPU's feature, or of naga's and wgpu's own where WebGPU has none. Every other extension is a feature of
/// the language.
pub const ENABLED: [(&str, &str); 4] = [
    ("f16", "shader-f16"),
    (INT64, "shader-int64"),
    ("subgroups", "subgroups"),
    (MATRICES, "wgpu-cooperative-matrix"),
];

/// naga's own integers of 64 bits, which it knows unasked; WebGPU has none.
pub const INT64: &str = "int64";

/// naga's own extension for cooperative matrices; WebGPU has none yet.
pub const MATRICES: &str = "wgpu_cooperative_matrix";

const PACKED: &str = "packed_4x8_integer_dot_product";
/// Built-in functions that are there only with [`PACKED`] (WGSL §17.6 and §17.10).
const PACKED_WORDS: [&str; 8] = [
    "dot4I8Packed",
    "dot4U8Packed",
    "pack4xI8",
    "pack4xI8Clamp",
    "pack4xU8",
    "pack4xU8Clamp",
    "unpack4xI8",
    "unpack4xU8",
];

/// A built-in value that came later than the extension that it belongs to.
const SUBGROUP_ID: &str = "subgroup_id";

/// The extensions that a text uses, sorted.
pub fn used(wgsl: &str) -> Vec<Cow<'static, str>> {
    let mut out: Vec<Cow<'static, str>> = Vec::new();
    let code = wgsl.lines().map(|l| l.split("//").next().unwrap_or(""));
    for word in code.flat_map(|l| l.split(|c: char| !c.is_ascii_alphanumeric() && c != '_')) {
        let found: &[&'static str] = match word {
            "f16" => &["f16"],
            "u64" => &[INT64],
            SUBGROUP_ID => &["subgroups", SUBGROUP_ID],
            _ if word.starts_with("coop_mat") => &[MATRICES],
            _ if word.starts_with("subgroup") => &["subgroups"],
            _ if PACKED_WORDS.contains(&word) => &[PACKED],
            _ => continue,
        };
        for found in found {
            if !out.iter().any(|known| known == found) {
                out.push((*found).into());
            }
        }
    }
    out.sort();
    out
}

/// The feature of WebGPU that an extension needs; `None` for features of the language.
pub fn feature(extension: &str) -> Option<&'static str> {
    ENABLED.iter().find(|(name, _)| *name == extension).map(|(_, feature)| *feature)
}

/// The directives for a target that wants them all, in one line without an end: put in front of a
/// text they move no line.
pub fn directives(extensions: &[Cow<'static, str>]) -> String {
    let word = |name: &str| if feature(name).is_some() { "enable" } else { "requires" };
    // A module enables before it requires, or the other way round: WGSL does not mind.
    extensions.iter().map(|name| format!("{} {name}; ", word(name))).collect()
}

/// The directives that naga wants to see, in front of a text likewise; others it knows unasked.
pub fn for_naga(extensions: &[Cow<'static, str>]) -> String {
    let wanted = extensions.iter().filter(|name| **name == "f16" || **name == MATRICES);
    wanted.map(|name| format!("enable {name}; ")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_text_calls_is_what_it_uses() {
        let text =
            "// f16 in a comment\nlet a = unpack4xI8(w[i]);\nlet b = subgroupAdd(x);\nvar h: vec4<f16>;";
        assert_eq!(used(text), ["f16", PACKED, "subgroups"]);
        assert_eq!(used("fn main(@builtin(subgroup_id) s: u32) {}"), [SUBGROUP_ID, "subgroups"]);
        assert_eq!(
            directives(&used(text)),
            "enable f16; requires packed_4x8_integer_dot_product; enable subgroups; "
        );
        assert!(used("let v = unpack2x16float(w); // pack4xI8").is_empty());
    }
}
