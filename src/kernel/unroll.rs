//! What a shader file says to the composer. `//@if KNOB`: the next line is there only if the knob is `true`, which
//! is for what no branch can hold, since a device without an extension takes no text that names it.
//!
//! `//@unroll i 0..N`: writes the loop below it out, once per value of `i`.
//!
//! Arrays indexed by loop variables fall out of registers on real GPUs, and cost two to three times
//! under naga's checks; indexed by literals they are as good as named scalars.

use super::compose::{Line, number};

/// Follows every `//@if`.
pub(crate) fn keep(kernel: &str, mut lines: Vec<Line>) -> Vec<Line> {
    while let Some(at) = lines.iter().position(|l| l.text.trim_start().starts_with("//@if ")) {
        let knob = lines[at].text.trim().trim_start_matches("//@if ");
        let is = |value| lines.iter().any(|l| l.text.starts_with(&format!("const {knob}: bool = {value}")));
        let keeps = is("true");
        assert!(keeps || is("false"), "{kernel}: `//@if {knob}` names no knob");
        lines.drain(at..at + 2 - usize::from(keeps));
    }
    lines
}

/// Expands every `//@unroll`, the outermost first.
pub(crate) fn unroll(kernel: &str, mut lines: Vec<Line>) -> Vec<Line> {
    let is_mark = |l: &Line| l.text.trim_start().starts_with("//@unroll ");
    let mut from = 0; // before it there is none left
    while let Some(at) = lines.iter().skip(from).position(is_mark).map(|after| from + after) {
        from = at;
        let (variable, count) =
            parse(&lines, at).unwrap_or_else(|| panic!("{kernel}: cannot read `{}`", lines[at].text.trim()));
        let head = at + 1;
        let is_loop = lines.get(head).is_some_and(|l| {
            l.text.trim_start().starts_with(&format!("for (var {variable} = 0u;")) && l.text.ends_with('{')
        });
        assert!(is_loop, "{kernel}: `{}` stands over no such loop", lines[at].text.trim());
        let end = closing(&lines, head).unwrap_or_else(|| panic!("{kernel}: an unrolled loop does not end"));
        let body = &lines[head + 1..end];
        let mut expanded = Vec::with_capacity((body.len() + 2) * count as usize);
        for value in 0..count {
            expanded.push(Line { text: "{".into(), ..lines[head].clone() });
            let literal = format!("{value}u");
            let copy = |l: &Line| Line { text: substitute(&l.text, &variable, &literal), ..l.clone() };
            expanded.extend(body.iter().map(copy));
            expanded.push(Line { text: "}".into(), ..lines[end].clone() });
        }
        lines.splice(at..=end, expanded);
    }
    lines
}

fn parse(lines: &[Line], at: usize) -> Option<(String, u32)> {
    let words: Vec<_> = lines[at].text.split_whitespace().collect();
    let &[_, variable, range] = words.as_slice() else { return None };
    let count = number(lines.iter().map(|l| l.text.as_str()), range.strip_prefix("0..")?)?;
    Some((variable.to_owned(), count))
}

/// The line that closes the brace opened on line `head`.
fn closing(lines: &[Line], head: usize) -> Option<usize> {
    let mut depth = 0i32;
    for (i, line) in lines.iter().enumerate().skip(head) {
        let code = line.text.split("//").next().unwrap_or("");
        depth += code.matches('{').count() as i32 - code.matches('}').count() as i32;
        if depth == 0 {
            return Some(i);
        }
    }
    None
}

/// Replaces an identifier, as a whole word.
fn substitute(text: &str, variable: &str, value: &str) -> String {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(variable) {
        let after = &rest[at + variable.len()..];
        out.push_str(&rest[..at]);
        let whole = !out.ends_with(is_word) && !out.ends_with('.') && !after.starts_with(is_word);
        out.push_str(if whole { value } else { variable });
        rest = after;
    }
    out + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(source: &str) -> Vec<String> {
        let lines = (1..).zip(source.lines());
        let lines = lines.map(|(number, l)| Line { text: l.into(), file: "t", number }).collect();
        unroll("t", lines).into_iter().map(|l| l.text.trim().to_owned()).collect()
    }

    #[test]
    fn loops_are_written_out_with_literals() {
        let source =
            "const N: u32 = 2u;\n//@unroll i 0..N\nfor (var i = 0u; i < N; i++) {\nacc[i] += p.i * xi;\n}";
        let expected =
            ["const N: u32 = 2u;", "{", "acc[0u] += p.i * xi;", "}", "{", "acc[1u] += p.i * xi;", "}"];
        assert_eq!(text(source), expected);
    }

    #[test]
    fn words_that_only_hold_the_variable_s_letter_stay() {
        let source = "//@unroll c 0..1\nfor (var c = 0u; c < 1u; c++) {\nacc[c] += cc.c * arc;\n}";
        assert_eq!(text(source), ["{", "acc[0u] += cc.c * arc;", "}"]);
    }

    #[test]
    fn a_line_is_there_if_its_knob_is_true() {
        let source = |value| format!("const A: bool = {value}; // knob\n    //@if A\n    x;\ny;");
        let kept = |value| {
            let (source, number) = (source(value), 1);
            let lines = source.lines().map(|l| Line { text: l.into(), file: "t", number }).collect();
            keep("t", lines).len()
        };
        assert_eq!((kept("true"), kept("false")), (3, 2));
    }

    #[test]
    fn nested_loops_and_zero_counts() {
        let inner = "//@unroll j 0..2\nfor (var j = 0u; j < 2u; j++) {\na[i * 2u + j] = 0;\n}";
        let source = format!("//@unroll i 0..2\nfor (var i = 0u; i < 2u; i++) {{\n{inner}\n}}");
        assert_eq!(text(&source).iter().filter(|l| l.starts_with("a[")).count(), 4);
        assert!(text("//@unroll i 0..0\nfor (var i = 0u; i < 0u; i++) {\nx;\n}").is_empty());
    }
}
