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
        let mut bytes = 0;
        for line in &self.lines {
            let Some(rest) = line.text.strip_prefix("var<workgroup> ") else { continue };
            let (element, count) = rest
                .split_once("array<")
                .and_then(|(_, r)| r.strip_suffix(">;"))
                .and_then(|r| r.rsplit_once(", "))
                .unwrap_or_else(|| self.fail("has workgroup memory that is no array"));
            let size = match element {
                "f16" => 2,
                _ if element.starts_with("vec4") => 16,
                _ => 4,
            };
            bytes += size * count.split('*').map(|part| self.number(part)).product::<u32>();
        }
        bytes
    }

    fn number(&self, text: &str) -> u32 {
        number(self.lines.iter().map(|l| l.text.as_str()), text)
            .unwrap_or_else(|| self.fail(&format!("`{text}` is no number or const")))
    }
}
