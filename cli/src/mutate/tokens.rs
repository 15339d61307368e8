//! WGSL as tokens: enough of it to change one place of a shader and leave it valid.

use std::ops::Range;

/// What a token is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Word,
    Number,
    Symbol,
    /// `<` or `>` around the arguments of a type or of `var`.
    Template,
}

/// Where a token stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// Outside of every function's body.
    Outside,
    Body,
    /// Between the parentheses of a `for`.
    Header,
    /// There too, where the composer writes the loop out and nobody reads them.
    Unrolled,
}

#[derive(Debug, Clone)]
pub(super) struct Token {
    pub kind: Kind,
    pub range: Range<usize>,
    pub place: Place,
}

/// A shader's text with its tokens; comments are none.
pub(super) struct Code<'a> {
    pub text: &'a str,
    pub tokens: Vec<Token>,
    /// The bracket that closes or opens each bracket.
    partners: Vec<Option<usize>>,
}

/// Symbols of more than one character, the longest first.
const SYMBOLS: [&str; 21] = [
    "<<=", ">>=", "&&", "||", "==", "!=", "<=", ">=", "<<", ">>", "->", "++", "--", "+=", "-=", "*=", "/=",
    "%=", "&=", "|=", "^=",
];

impl<'a> Code<'a> {
    pub fn new(text: &'a str) -> Self {
        let mut tokens = tokens(text);
        let partners = partners(text, &tokens);
        place(text, &mut tokens, &partners);
        Self { text, tokens, partners }
    }

    /// The token's text; nothing past the end.
    pub fn at(&self, i: usize) -> &'a str {
        self.tokens.get(i).map_or("", |t| &self.text[t.range.clone()])
    }

    /// The text from one token to another, both included.
    pub fn between(&self, first: usize, last: usize) -> &'a str {
        &self.text[self.bytes(first, last)]
    }

    /// Where that text lies.
    pub fn bytes(&self, first: usize, last: usize) -> Range<usize> {
        self.tokens[first].range.start..self.tokens[last].range.end
    }

    /// The bracket that belongs to this one.
    pub fn partner(&self, bracket: usize) -> Option<usize> {
        self.partners[bracket]
    }

    pub fn is(&self, i: usize, kind: Kind) -> bool {
        self.tokens.get(i).is_some_and(|t| t.kind == kind)
    }

    /// Whether an operator that stands at `i` has an operand before it.
    pub fn is_binary(&self, i: usize) -> bool {
        let Some(before) = i.checked_sub(1) else { return false };
        match self.tokens[before].kind {
            Kind::Word => self.at(before) != "return",
            Kind::Number => true,
            _ => matches!(self.at(before), ")" | "]"),
        }
    }

    /// The first of some symbols in a range of tokens that is inside no bracket of it.
    pub fn find(&self, range: Range<usize>, symbols: &[&str]) -> Option<usize> {
        let mut i = range.start;
        while i < range.end {
            if !self.is(i, Kind::Word) && symbols.contains(&self.at(i)) && !self.is(i, Kind::Template) {
                return Some(i);
            }
            i = match self.partners[i] {
                Some(end) if end > i => end + 1,
                _ => i + 1,
            };
        }
        None
    }

    /// The arguments of the call whose `(` is given: first and last token of each.
    pub fn arguments(&self, open: usize) -> Vec<(usize, usize)> {
        let Some(close) = self.partners[open] else { return Vec::new() };
        let (mut out, mut start) = (Vec::new(), open + 1);
        while start < close {
            let end = self.find(start..close, &[","]).unwrap_or(close);
            if end > start {
                out.push((start, end - 1));
            }
            start = end + 1;
        }
        out
    }

    /// Line and column of a place in the text, from 1.
    pub fn line_and_column(&self, at: usize) -> (usize, usize) {
        let before = &self.text[..at];
        let start = before.rfind('\n').map_or(0, |n| n + 1);
        (before.matches('\n').count() + 1, before[start..].chars().count() + 1)
    }
}

fn tokens(text: &str) -> Vec<Token> {
    let bytes = text.as_bytes();
    let mut out: Vec<Token> = Vec::new();
    // How deep parentheses are inside the arguments of each open template.
    let mut templates: Vec<i32> = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let rest = &text[at..];
        if rest.starts_with("//") {
            at += rest.find('\n').unwrap_or(rest.len());
            continue;
        }
        if rest.starts_with("/*") {
            at += rest.find("*/").map_or(rest.len(), |n| n + 2);
            continue;
        }
        let first = rest.chars().next().unwrap_or(' ');
        let end_of = |is: &dyn Fn(char) -> bool| at + rest.find(|c| !is(c)).unwrap_or(rest.len());
        let (kind, end) = if first.is_alphabetic() || first == '_' {
            (Kind::Word, end_of(&|c| c.is_alphanumeric() || c == '_'))
        } else if first.is_ascii_digit() {
            (Kind::Number, at + number(rest))
        } else if first.is_whitespace() {
            at += first.len_utf8();
            continue;
        } else if first == '<' && out.last().is_some_and(|t| takes_template(&text[t.range.clone()])) {
            templates.push(0);
            (Kind::Template, at + 1)
        } else if first == '>' && templates.last() == Some(&0) {
            templates.pop();
            (Kind::Template, at + 1)
        } else {
            if let Some(depth) = templates.last_mut() {
                *depth += i32::from("([".contains(first)) - i32::from(")]".contains(first));
            }
            let long = SYMBOLS.iter().find(|s| rest.starts_with(**s));
            (Kind::Symbol, at + long.map_or(first.len_utf8(), |s| s.len()))
        };
        out.push(Token { kind, range: at..end, place: Place::Outside });
        at = end;
    }
    out
}

/// The length of the number that a text begins with.
fn number(text: &str) -> usize {
    let hex = text.starts_with("0x") || text.starts_with("0X");
    let mut last = ' ';
    let end = text.char_indices().find(|(_, c)| {
        let sign = matches!(c, '+' | '-') && matches!(last, 'e' | 'E') && !hex;
        last = *c;
        !(c.is_ascii_alphanumeric() || *c == '.' || sign)
    });
    end.map_or(text.len(), |(i, _)| i)
}

/// Whether a `<` after this word begins arguments.
fn takes_template(word: &str) -> bool {
    let by_name = ["array", "atomic", "ptr", "bitcast", "var", "coop_mat"].contains(&word);
    by_name
        || word
            .strip_prefix("vec")
            .or(word.strip_prefix("mat"))
            .is_some_and(|r| r.starts_with(['2', '3', '4']))
}

fn partners(text: &str, tokens: &[Token]) -> Vec<Option<usize>> {
    let mut out = vec![None; tokens.len()];
    let mut open = Vec::new();
    for (i, token) in tokens.iter().enumerate() {
        match (token.kind, &text[token.range.clone()]) {
            (Kind::Symbol, "(" | "[" | "{") | (Kind::Template, "<") => open.push(i),
            (Kind::Symbol, ")" | "]" | "}") | (Kind::Template, ">") => {
                if let Some(start) = open.pop() {
                    out[start] = Some(i);
                    out[i] = Some(start);
                }
            }
            _ => {}
        }
    }
    out
}

/// Says of every token where it stands.
fn place(text: &str, tokens: &mut [Token], partners: &[Option<usize>]) {
    let word = |tokens: &[Token], i: usize| tokens.get(i).map_or("", |t| &text[t.range.clone()]);
    let mut i = 0;
    while i < tokens.len() {
        if word(tokens, i) != "fn" {
            i += 1;
            continue;
        }
        // Parameters come first, in parentheses; no brace stands in them.
        let Some(open) = (i..tokens.len()).find(|j| word(tokens, *j) == "{") else { return };
        let Some(close) = partners[open] else { return };
        for j in open + 1..close {
            if tokens[j].place == Place::Outside {
                tokens[j].place = Place::Body;
            }
            let Some(end) =
                (word(tokens, j) == "for").then(|| partners.get(j + 1).copied().flatten()).flatten()
            else {
                continue;
            };
            let above = text[..tokens[j].range.start].trim_end().rsplit('\n').next().unwrap_or("");
            let unrolled = above.trim_start().starts_with("//@unroll ");
            let place = if unrolled { Place::Unrolled } else { Place::Header };
            tokens[j + 2..end].iter_mut().for_each(|t| t.place = place);
        }
        i = close + 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<&str> {
        let code = Code::new(text);
        (0..code.tokens.len()).map(|i| code.at(i)).collect()
    }

    #[test]
    fn numbers_symbols_and_comments_come_apart() {
        assert_eq!(words("a>>=1u; // b\nc /* d */ <= 0x3fu"), ["a", ">>=", "1u", ";", "c", "<=", "0x3fu"]);
        assert_eq!(words("1.5e-8*x-1e5"), ["1.5e-8", "*", "x", "-", "1e5"]);
    }

    #[test]
    fn templates_are_no_comparisons() {
        let code = Code::new("fn f() { var a: array<vec4<f32>, N>; if vec4<u32>(b < c) > d >> 2u { } }");
        let signs: Vec<_> = (0..code.tokens.len()).filter(|i| "<>>=".contains(code.at(*i))).collect();
        let compared: Vec<_> = signs.into_iter().filter(|i| !code.is(*i, Kind::Template)).collect();
        assert_eq!(compared.iter().map(|i| code.at(*i)).collect::<Vec<_>>(), ["<", ">", ">>"]);
    }

    #[test]
    fn every_token_knows_where_it_stands() {
        let code = Code::new(
            "const A: u32 = 1u;\nfn f(b: u32) {\n  c;\n  for (d; e; g) { h; }\n  \
             //@unroll i 0..4\n  for (i; j; k) { l; } }",
        );
        let place =
            |name: &str| code.tokens.iter().find(|t| &code.text[t.range.clone()] == name).unwrap().place;
        assert!(["A", "b"].iter().all(|n| place(n) == Place::Outside));
        assert!(["c", "h", "l", "for"].iter().all(|n| place(n) == Place::Body));
        assert!(["d", "e", "g"].iter().all(|n| place(n) == Place::Header));
        assert!(["i", "j", "k"].iter().all(|n| place(n) == Place::Unrolled));
    }

    #[test]
    fn arguments_are_those_of_their_call() {
        let code = Code::new("f(a, g(b, c), vec2<f32>(1, 2)[0])");
        let arguments: Vec<_> = code.arguments(1).iter().map(|(a, b)| code.between(*a, *b)).collect();
        assert_eq!(arguments, ["a", "g(b, c)", "vec2<f32>(1, 2)[0]"]);
        assert_eq!(code.line_and_column(5), (1, 6));
    }
}
