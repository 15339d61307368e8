//! What a composed text declares and a host must know: bindings, parameters, and the workgroup.

use super::compose::{Access, BindingDecl, ParamDecl, ParamKind, Text, number};

impl Text {
    /// The bindings of group 0, in the order of the text, with the lines that declare them.
    pub(super) fn bindings(&self) -> Vec<(usize, BindingDecl)> {
        let mut out = Vec::new();
        for (i, line) in self.lines.iter().enumerate() {
            let Some(rest) = line.text.strip_prefix("@group(0) @binding(") else { continue };
            let Some((_, rest)) = rest.split_once("var<storage, ") else { self.fail("binds something else") };
            let Some((access, rest)) = rest.split_once("> ") else { self.fail("has a broken binding") };
            let Some((name, _)) = rest.split_once(':') else { self.fail("has a broken binding") };
            let access = if access == "read" { Access::Read } else { Access::Write };
            out.push((i, BindingDecl { name: name.to_owned(), access }));
        }
        out
    }

    /// Numbers the bindings from 0 in the order of the text.
    pub(super) fn number_bindings(&mut self) -> Vec<BindingDecl> {
        let found = self.bindings();
        for (number, (i, _)) in found.iter().enumerate() {
            let text = &self.lines[*i].text;
            let end = text.find(") var").unwrap_or_else(|| self.fail("has a broken binding"));
            self.lines[*i].text = format!("@group(0) @binding({number}{}", &text[end..]);
        }
        found.into_iter().map(|(_, b)| b).collect()
    }

    /// The lines between `struct Params {` and its `}`.
    pub(super) fn params_range(&self) -> (usize, usize) {
        let start = self.lines.iter().position(|l| l.text.starts_with("struct Params {"));
        let start = start.unwrap_or_else(|| self.fail("has no `struct Params`")) + 1;
        let length = self.lines[start..].iter().position(|l| l.text.starts_with('}'));
        (start, start + length.unwrap_or_else(|| self.fail("does not end `struct Params`")))
    }

    pub(super) fn params(&self) -> Vec<ParamDecl> {
        let (start, end) = self.params_range();
        let text: String =
            self.lines[start..end].iter().map(|l| l.text.split("//").next().unwrap_or("")).collect();
        let fields = text.split(',').map(str::trim).filter(|f| !f.is_empty());
        fields
            .map(|field| match field.split_once(": ") {
                Some((name, "u32")) => ParamDecl { name: name.to_owned(), kind: ParamKind::U32 },
                Some((name, "f32")) => ParamDecl { name: name.to_owned(), kind: ParamKind::F32 },
                _ => self.fail(&format!("has a param `{field}` that is neither u32 nor f32")),
            })
            .collect()
    }

    pub(super) fn workgroup_size(&self) -> u32 {
        let Some(line) = self.lines.iter().find(|l| l.text.contains("@workgroup_size(")) else {
            self.fail("has no `@workgroup_size`")
        };
        let inside = line.text.split(['(', ')']).nth(1).unwrap_or("");
        inside.split(',').map(|part| self.number(part)).product()
    }

    pub(super) fn workgroup_bytes(&self) -> u32 {
        let declared = self.lines.iter().filter_map(|l| l.text.strip_prefix("var<workgroup> "));
        declared.map(|rest| self.bytes_of(rest.split(": ").nth(1).unwrap_or("").trim_end_matches(';'))).sum()
    }

    /// Bytes of what arrays hold, or arrays of those.
    fn bytes_of(&self, name: &str) -> u32 {
        let inside = name.strip_prefix("array<").and_then(|r| r.strip_suffix('>'));
        let count_at = inside.and_then(last_comma);
        match (inside, count_at) {
            (Some(inside), Some(at)) => {
                let counts = inside[at + 1..].split('*').map(|part| self.number(part));
                self.bytes_of(inside[..at].trim()) * counts.product::<u32>()
            }
            _ if name.starts_with("vec4<") => 16,
            _ if matches!(name, "f16") => 2,
            _ if matches!(name, "f32" | "u32" | "i32" | "atomic<u32>") => 4,
            _ => self.fail(&format!("has workgroup memory of a type `{name}`")),
        }
    }

    fn number(&self, text: &str) -> u32 {
        number(self.lines.iter().map(|l| l.text.as_str()), text)
            .unwrap_or_else(|| self.fail(&format!("`{text}` is no number or const")))
    }
}

/// The comma before the last argument.
fn last_comma(arguments: &str) -> Option<usize> {
    let mut depth = 0;
    let outer = |(at, c): (usize, char)| {
        depth += i32::from(matches!(c, '<' | '(')) - i32::from(matches!(c, '>' | ')'));
        (c == ',' && depth == 0).then_some(at)
    };
    arguments.char_indices().filter_map(outer).last()
}
