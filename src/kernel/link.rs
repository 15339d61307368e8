//! Functions that a text calls, taken one by one out of a file of functions.

/// A function of such a file.
struct Function<'a> {
    name: &'a str,
    /// Its first and last line, counted from 0; comments before it are its own.
    lines: std::ops::RangeInclusive<usize>,
}

/// The lines of `file` that hold the functions which `text` calls, by itself or through others of the
/// file: ranges in the order of the file.
pub(super) fn called<'a>(
    text: impl Iterator<Item = &'a str>,
    file: &'a str,
) -> Vec<std::ops::RangeInclusive<usize>> {
    let source: Vec<&str> = file.lines().collect();
    let functions = functions(&source);
    let mut taken = vec![false; functions.len()];
    let mut names: Vec<&str> = text.flat_map(calls).collect();
    while let Some(name) = names.pop() {
        for (taken, f) in taken.iter_mut().zip(&functions).filter(|(taken, f)| !**taken && f.name == name) {
            *taken = true;
            names.extend(source[f.lines.clone()].iter().flat_map(|l| calls(l)));
        }
    }
    functions.into_iter().zip(taken).filter(|(_, taken)| *taken).map(|(f, _)| f.lines).collect()
}

fn functions<'a>(source: &[&'a str]) -> Vec<Function<'a>> {
    let mut out = Vec::new();
    let mut start = 0;
    for (i, line) in source.iter().enumerate() {
        if line.is_empty() {
            start = i + 1;
        }
        let Some((name, _)) = line.strip_prefix("fn ").and_then(|l| l.split_once('(')) else { continue };
        let length = source[i..].iter().position(|l| l.starts_with('}')).unwrap_or(0);
        out.push(Function { name, lines: start..=i + length });
    }
    out
}

/// The names of what a line calls; its declarations and comments call nothing.
fn calls(line: &str) -> impl Iterator<Item = &str> {
    let code = line.split_once("//").map_or(line, |(code, _)| code);
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    code.match_indices('(').filter_map(move |(at, _)| {
        let before = code[..at].trim_end_matches(is_word);
        let name = &code[before.len()..at];
        (!name.is_empty() && !before.ends_with("fn ")).then_some(name)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_come_with_those_they_call_and_their_comments() {
        let file = "// head\n\nfn a() {\n    b();\n}\n\n// of b\nfn b() {\n}\n\nfn c() {\n    a();\n}\n\n\
                    fn aa() {\n}\n";
        let names = |text: &str| -> Vec<_> {
            let source: Vec<_> = file.lines().collect();
            called(text.lines(), file).into_iter().map(|r| source[*r.start()]).collect()
        };
        assert_eq!(names("    let x = a();"), ["fn a() {", "// of b"]);
        assert_eq!(names("b(1) // c()"), ["// of b"]);
        assert_eq!(names("aa()"), ["fn aa() {"]);
        assert!(names("fn a() {\n  xa(); a_();").is_empty());
    }
}
