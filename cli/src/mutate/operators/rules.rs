//! What each operator does. A rule is asked of every token, and answers where the token is one that it
//! changes; whether the result is valid WGSL is for others to say.

use super::Edits;
use crate::mutate::tokens::{Code, Kind, Place};

type Pairs = &'static [(&'static str, &'static str)];

/// Another text for the tokens from `first` to `last`, if they can be changed at all.
fn put(code: &Code<'_>, first: usize, last: usize, with: impl Into<String>) -> Option<Edits> {
    let mut with = with.into();
    // The composer links a function wherever it reads a call, and the planner counts on some.
    for call in
        (first..last).filter(|j| code.is(*j, Kind::Word) && code.at(j + 1) == "(" && code.at(*j) != "select")
    {
        let call = format!("{}(", code.at(call));
        if !with.contains(&call) {
            with += &format!(" /* not {call} */");
        }
    }
    let lives = matches!(code.tokens[first].place, Place::Body | Place::Header);
    lives.then(|| vec![(code.bytes(first, last), with)])
}

/// One token for the other of a pair.
fn swap(code: &Code<'_>, i: usize, pairs: Pairs) -> Option<Edits> {
    if code.is(i, Kind::Template) {
        return None;
    }
    let text = code.at(i);
    let (a, b) = pairs.iter().find(|(a, b)| text == *a || text == *b)?;
    put(code, i, i, if text == *a { *b } else { *a })
}

/// The same, where it stands between two operands.
fn swap_binary(code: &Code<'_>, i: usize, pairs: Pairs) -> Option<Edits> {
    if code.is_binary(i) { swap(code, i, pairs) } else { None }
}

/// The end of the statement that begins here: the place of its `;`.
fn statement(code: &Code<'_>, i: usize) -> Option<usize> {
    let begins = i > 0 && matches!(code.at(i - 1), "{" | "}" | ";");
    let lives = code.tokens[i].place == Place::Body && code.is(i, Kind::Word);
    if begins && lives {
        code.find(i..code.tokens.len(), &[";", "{"]).filter(|e| code.at(*e) == ";")
    } else {
        None
    }
}

/// Drops a barrier.
pub(super) fn barrier(code: &Code<'_>, i: usize) -> Option<Edits> {
    let end = statement(code, i).filter(|_| code.at(i).ends_with("Barrier"))?;
    put(code, i, end, "")
}

/// What is between brackets, or the first argument of an accessor: which element is meant.
fn index(code: &Code<'_>, i: usize, by: &str) -> Option<Edits> {
    let (first, last) = match code.at(i) {
        "[" if code.is_binary(i) => (i + 1, code.partner(i)?.checked_sub(1)?),
        "(" if i > 0 && ["load4_", "store4_", "load_w"].iter().any(|a| code.at(i - 1).starts_with(a)) => {
            *code.arguments(i).first()?
        }
        _ => return None,
    };
    put(code, first, last, format!("({}) {by} 1", code.between(first, last)))
}

/// The next element.
pub(super) fn index_up(code: &Code<'_>, i: usize) -> Option<Edits> {
    index(code, i, "+")
}

/// The element before.
pub(super) fn index_down(code: &Code<'_>, i: usize) -> Option<Edits> {
    index(code, i, "-")
}

/// The clauses of the `for` that stands here: the places of its `(` and its two `;`.
fn clauses(code: &Code<'_>, i: usize) -> Option<(usize, usize, usize)> {
    let open = i + 1;
    if code.at(i) != "for" || code.tokens.get(open + 1)?.place != Place::Header {
        return None;
    }
    let close = code.partner(open)?;
    let first = code.find(open + 1..close, &[";"])?;
    Some((open, first, code.find(first + 1..close, &[";"])?))
}

/// What a loop's condition compares with.
fn bound(code: &Code<'_>, i: usize, by: &str) -> Option<Edits> {
    let (_, from, to) = clauses(code, i)?;
    let sign = code.find(from + 1..to, &["<", "<=", ">", ">="])?;
    put(code, sign + 1, to - 1, format!("({}) {by} 1", code.between(sign + 1, to - 1)))
}

/// A round more.
pub(super) fn bound_up(code: &Code<'_>, i: usize) -> Option<Edits> {
    bound(code, i, "+")
}

/// A round less.
pub(super) fn bound_down(code: &Code<'_>, i: usize) -> Option<Edits> {
    bound(code, i, "-")
}

/// A loop begins one later.
pub(super) fn start_up(code: &Code<'_>, i: usize) -> Option<Edits> {
    let (open, end, _) = clauses(code, i)?;
    let equals = code.find(open + 1..end, &["="])?;
    put(code, equals + 1, end - 1, format!("({}) + 1", code.between(equals + 1, end - 1)))
}

/// A comparison with its limit, or without.
pub(super) fn less(code: &Code<'_>, i: usize) -> Option<Edits> {
    swap(code, i, &[("<", "<="), (">", ">=")])
}

pub(super) fn equal(code: &Code<'_>, i: usize) -> Option<Edits> {
    swap(code, i, &[("==", "!=")])
}

pub(super) fn extremum(code: &Code<'_>, i: usize) -> Option<Edits> {
    if code.at(i + 1) == "(" { swap(code, i, &[("min", "max")]) } else { None }
}

pub(super) fn plus(code: &Code<'_>, i: usize) -> Option<Edits> {
    match code.tokens[i].place {
        Place::Body => swap_binary(code, i, &[("+", "-"), ("+=", "-=")]),
        // A loop that steps backwards wastes time and shows nothing.
        _ => swap_binary(code, i, &[("+", "-")]),
    }
}

/// A quotient for a remainder.
pub(super) fn divide(code: &Code<'_>, i: usize) -> Option<Edits> {
    swap(code, i, &[("/", "%")])
}

/// Another component of a vector, or two of them exchanged.
pub(super) fn component(code: &Code<'_>, i: usize) -> Option<Edits> {
    if i == 0 || code.at(i - 1) != "." {
        return None;
    }
    swap(code, i, &[("x", "y"), ("z", "w"), ("xy", "yx"), ("zw", "wz")])
}

/// The condition of the `if` that stands here, and whether what it guards leaves.
fn condition(code: &Code<'_>, i: usize) -> Option<(usize, usize, bool)> {
    if code.at(i) != "if" {
        return None;
    }
    let open = code.find(i + 1..code.tokens.len(), &["{"])?;
    let leaves = matches!(code.at(open + 1), "return" | "break" | "continue");
    Some((i + 1, open - 1, leaves))
}

/// Drops a guard: what leaves early never does, what is done under a condition always is.
pub(super) fn guard(code: &Code<'_>, i: usize) -> Option<Edits> {
    let (first, last, leaves) = condition(code, i)?;
    put(code, first, last, if leaves { "false" } else { "true" })
}

/// What is done under a condition never is.
pub(super) fn never(code: &Code<'_>, i: usize) -> Option<Edits> {
    let (first, last, _) = condition(code, i).filter(|(_, _, leaves)| !leaves)?;
    put(code, first, last, "false")
}

/// One of a select's two values, always.
fn chosen(code: &Code<'_>, i: usize, which: usize) -> Option<Edits> {
    if code.at(i) != "select" || code.at(i + 1) != "(" {
        return None;
    }
    let (first, last) = *code.arguments(i + 1).get(which)?;
    put(code, i, code.partner(i + 1)?, format!("({})", code.between(first, last)))
}

/// Drops a mask: the value of where it holds, everywhere.
pub(super) fn mask(code: &Code<'_>, i: usize) -> Option<Edits> {
    chosen(code, i, 1)
}

/// The value of where a mask does not hold, everywhere.
pub(super) fn unmask(code: &Code<'_>, i: usize) -> Option<Edits> {
    chosen(code, i, 0)
}

/// A variable begins as 0, or as 1 if it is to begin as 0.
pub(super) fn initial(code: &Code<'_>, i: usize) -> Option<Edits> {
    if code.at(i) != "var" || code.tokens[i].place != Place::Body {
        return None;
    }
    let end = code.find(i..code.tokens.len(), &[";"])?;
    let equals = code.find(i..end, &["="])?;
    let value = code.between(equals + 1, end - 1);
    let is_zero = ["0", "0u", "0.0", "vec4<f32>(0.0)"].contains(&value);
    let with = if is_zero { format!("({value}) + 1") } else { format!("({value}) - ({value})") };
    put(code, equals + 1, end - 1, with)
}

/// Leaves an assignment or a call out.
pub(super) fn omit(code: &Code<'_>, i: usize) -> Option<Edits> {
    let end = statement(code, i)?;
    let assigns = code.find(i..end, &["=", "+=", "-=", "*=", "/=", "<<=", ">>=", "++", "--"]).is_some();
    let calls = code.at(i + 1) == "(";
    let declares = matches!(code.at(i), "let" | "var" | "const" | "return");
    if (assigns || calls) && !declares && !code.at(i).ends_with("Barrier") {
        put(code, i, end, ";")
    } else {
        None
    }
}

/// Drops what rides along: the value as it was.
pub(super) fn post(code: &Code<'_>, i: usize) -> Option<Edits> {
    let hook = code.at(i);
    if !hook.starts_with("apply4_") || code.at(i + 1) != "(" {
        return None;
    }
    let (first, last) = *code.arguments(i + 1).first()?;
    put(code, i, code.partner(i + 1)?, format!("({})", code.between(first, last)))
}

/// Exchanges a tensor that is read and the one declared before it.
pub(super) fn exchange(code: &Code<'_>, i: usize) -> Option<Edits> {
    let (b, b_type) = read_tensor(code, i)?;
    let (a, a_type) = (0..i).rev().find_map(|j| read_tensor(code, j))?;
    // Accessors make four floats of every type that has them.
    if a_type != b_type && !(a_type.ends_with("_group") && b_type.ends_with("_group")) {
        return None;
    }
    let pairs = [(a.to_owned(), b.to_owned(), "["), (format!("load4_{a}"), format!("load4_{b}"), "(")];
    let mut edits = Edits::new();
    for j in (0..code.tokens.len()).filter(|j| code.is(*j, Kind::Word)) {
        let found = pairs.iter().find_map(|(a, b, next)| match code.at(j) {
            t if t == a && code.at(j + 1) == *next => Some(b),
            t if t == b && code.at(j + 1) == *next => Some(a),
            _ => None,
        });
        edits.extend(found.and_then(|other| put(code, j, j, other.as_str())).into_iter().flatten());
    }
    Some(edits)
}

/// Name and element type of the tensor whose `var<storage, read>` begins here.
fn read_tensor<'a>(code: &Code<'a>, i: usize) -> Option<(&'a str, &'a str)> {
    let heads = ["var", "<", "storage", ",", "read", ">"];
    let is_head = heads.iter().enumerate().all(|(k, word)| code.at(i + k) == *word);
    let name = i + heads.len();
    (is_head && code.at(name + 2) == "array").then(|| (code.at(name), code.at(name + 4)))
}

/// Another parameter: the next of the same tensor, or of the sizes.
pub(super) fn parameter(code: &Code<'_>, i: usize) -> Option<Edits> {
    if i < 2 || code.at(i - 1) != "." || code.at(i - 2) != "p" {
        return None;
    }
    let kin = |name: &str| name.rsplit_once('_').map(|(tensor, _)| tensor.to_owned());
    let own = code.at(i);
    let fields = params(code);
    let mut names: Vec<&str> = Vec::new();
    for j in 0..code.tokens.len() {
        let used = j > 1 && code.at(j - 1) == "." && code.at(j - 2) == "p";
        let declared = fields.contains(&j) && code.at(j + 1) == ":" && code.at(j + 2) == "u32";
        let name = code.at(j);
        if (used || declared) && kin(name) == kin(own) && !names.contains(&name) {
            names.push(name);
        }
    }
    let at = names.iter().position(|n| *n == own)?;
    let other = names[(at + 1) % names.len()];
    if other == own { None } else { put(code, i, i, other) }
}

/// The tokens of `struct Params`; none where another file has it.
fn params(code: &Code<'_>) -> std::ops::Range<usize> {
    let head = (0..code.tokens.len()).find(|j| code.at(*j) == "struct" && code.at(j + 1) == "Params");
    head.and_then(|j| Some(j + 3..code.partner(j + 2)?)).unwrap_or(0..0)
}

/// A float twice as large, a whole number larger by one, 1 instead of 0.
pub(super) fn constant(code: &Code<'_>, i: usize) -> Option<Edits> {
    if !code.is(i, Kind::Number) || code.tokens[i].place != Place::Body || i == 0 {
        return None;
    }
    // Sizes of arrays are the host's business; indices have operators of their own.
    if code.at(i + 1) == "]" && code.at(i - 1) == "[" || code.is(i + 1, Kind::Template) {
        return None;
    }
    let text = code.at(i);
    let with = match text {
        "0.0" => "1.0".to_owned(),
        _ if text.contains('.') || (text.contains('e') && !text.starts_with("0x")) => {
            format!("(2.0 * {text})")
        }
        _ => format!("({text} + 1)"),
    };
    put(code, i, i, with)
}

/// And for or.
pub(super) fn logic(code: &Code<'_>, i: usize) -> Option<Edits> {
    swap_binary(code, i, &[("&&", "||"), ("&", "|")])
}

/// Bits moved the other way.
pub(super) fn shift(code: &Code<'_>, i: usize) -> Option<Edits> {
    match code.tokens[i].place {
        Place::Body => swap(code, i, &[("<<", ">>"), ("<<=", ">>=")]),
        _ => None,
    }
}

/// Drops a sign, or a not.
pub(super) fn negate(code: &Code<'_>, i: usize) -> Option<Edits> {
    let is_sign = matches!(code.at(i), "-" | "!") && code.is(i, Kind::Symbol) && !code.is_binary(i);
    if is_sign { put(code, i, i, "") } else { None }
}
