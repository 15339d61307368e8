//! Mutants that nothing can tell from the shader they were made of, each with the reason why.

use serde_json::Value;

use super::operators::{Mutant, mutants};
use crate::check::text;

/// The list: file, operator, the line before and after, without the blanks around them, and the reason.
/// It names lines by their text, so it survives that they move, and not that they change.
const LIST: &str = include_str!("equivalent.json");

#[derive(Debug)]
pub(super) struct Equivalent {
    file: String,
    operator: String,
    before: String,
    after: String,
    pub reason: String,
}

impl Equivalent {
    pub fn is(&self, m: &Mutant) -> bool {
        self.file == m.file && self.operator == m.operator && self.before == m.before && self.after == m.after
    }
}

/// The list, held against the shaders as they are.
pub(super) fn list() -> Result<Vec<Equivalent>, String> {
    read(LIST)
}

fn read(list: &str) -> Result<Vec<Equivalent>, String> {
    let wrong = |what: String| format!("cli/src/mutate/equivalent.json: {what}");
    let list: Value = serde_json::from_str(list).map_err(|e| wrong(e.to_string()))?;
    let list = list.as_array().ok_or_else(|| wrong("it must be a list".into()))?;
    let sources = tachylite::kernel::sources();
    let mut out = Vec::new();
    for (i, entry) in list.iter().enumerate() {
        let wrong = |what: &str| Err(wrong(format!("[{i}] {what}")));
        let field = |name| text(entry, name).to_owned();
        let [file, operator, before, after, reason] =
            ["file", "operator", "before", "after", "reason"].map(field);
        if reason.trim().is_empty() {
            return wrong("has no reason");
        }
        let Some((file, source)) = sources.iter().find(|(name, _)| *name == file) else {
            return wrong(&format!("names a shader `{file}` that there is not"));
        };
        let entry = Equivalent { file: (*file).to_owned(), operator, before, after, reason };
        if !mutants(file, source).iter().any(|m| entry.is(m)) {
            let Equivalent { operator, before, .. } = &entry;
            return wrong(&format!("is stale: `{operator}` makes no such mutant of `{before}` in {file}"));
        }
        out.push(entry);
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_fits_the_shaders() {
        list().unwrap();
    }

    #[test]
    fn what_is_stale_or_without_a_reason_is_refused() {
        let one = |before: &str, reason: &str| {
            let entry = serde_json::json!([{ "file": "lib/workgroup_max.wgsl", "operator": "less",
                "before": before, "after": "if lane <= step {", "reason": reason }]);
            read(&entry.to_string())
        };
        assert_eq!(one("if lane < step {", "for the test").unwrap().len(), 1);
        assert!(
            one("if lane < stride {", "for the test").unwrap_err().contains("[0] is stale: `less` makes no")
        );
        assert!(one("if lane < step {", "").unwrap_err().contains("has no reason"));
    }
}
