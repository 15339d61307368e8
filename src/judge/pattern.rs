//! How bad elements lie, in words: which rows, which columns, which tile.

/// Describes where the elements at `bad` (ascending places in row-major order) lie in `shape`.
pub(super) fn describe(shape: &[usize], bad: &[usize]) -> String {
    let elements: usize = shape.iter().product();
    if bad.is_empty() {
        return String::new();
    }
    if bad.len() == elements {
        return format!("every element of {shape:?}");
    }
    let mut axes = Vec::new();
    let mut inner = 1;
    for (axis, size) in shape.iter().copied().enumerate().rev() {
        let mut seen = vec![false; size];
        for index in bad {
            seen[index / inner % size] = true;
        }
        inner *= size;
        let at: Vec<usize> = (0..size).filter(|i| seen[*i]).collect();
        // An axis of one element says nothing.
        if size > 1 {
            axes.push((axis, size, at));
        }
    }
    axes.reverse();
    let boxed: usize = axes.iter().map(|(_, _, at)| at.len()).product();
    let last = shape.len().saturating_sub(1);
    let words: Vec<_> = axes.iter().map(|(axis, size, at)| along(&name(*axis, last), *size, at)).collect();
    let whole = if boxed == bad.len() { "" } else { ", not all of these" };
    format!("{} of {elements} in {shape:?}: {}{whole}", bad.len(), words.join(", "))
}

fn name(axis: usize, last: usize) -> String {
    match last - axis {
        0 => "columns".into(),
        1 => "rows".into(),
        _ => format!("axis {axis}"),
    }
}

/// The places along one axis at which something is bad.
fn along(name: &str, size: usize, at: &[usize]) -> String {
    let (first, last) = (at[0], at[at.len() - 1]);
    if at.len() == size {
        return format!("all {name}");
    }
    let step = if at.len() > 1 { at[1] - at[0] } else { 1 };
    let even = at.windows(2).all(|w| w[1] - w[0] == step);
    let end = if last + 1 == size { " (to the end)" } else { "" };
    if at.len() == 1 {
        return format!("{name} {first} of {size}{}", if end.is_empty() { "" } else { " (the last)" });
    }
    if even && step == 1 {
        return format!("{name} {first}..{} of {size}{end}{}", last + 1, tile(first, at.len()));
    }
    if even {
        return format!("{name} {first}..{} in steps of {step} of {size}", last + 1);
    }
    match period(at) {
        Some((period, rest)) => format!("{name} {rest} mod {period} of {size}"),
        None => format!("{} {name} from {first} to {last} of {size}", at.len()),
    }
}

/// A run that is a power of two long and aligned to it is likely a tile.
fn tile(first: usize, len: usize) -> String {
    if len.is_power_of_two() && len >= 4 && first.is_multiple_of(len) {
        format!(" (tile {} of {len})", first / len)
    } else {
        String::new()
    }
}

/// The largest power of two modulo which all places agree.
fn period(at: &[usize]) -> Option<(usize, usize)> {
    (1..=10).rev().map(|p| 1usize << p).find_map(|p| {
        let rest = at[0] % p;
        at.iter().all(|i| i % p == rest).then_some((p, rest))
    })
}

#[cfg(test)]
mod tests {
    use super::describe;

    #[test]
    fn rows_columns_tiles_and_strides_are_named() {
        let column: Vec<_> = (0..65).map(|r| r * 8 + 3).collect();
        assert_eq!(describe(&[65, 8], &column), "65 of 520 in [65, 8]: all rows, columns 3 of 8");
        assert_eq!(
            describe(&[65, 8], &(512..520).collect::<Vec<_>>()),
            "8 of 520 in [65, 8]: rows 64 of 65 (the last), all columns"
        );
        let tile: Vec<_> = (8..16).flat_map(|r| (0..4).map(move |c| r * 32 + c)).collect();
        assert_eq!(
            describe(&[32, 32], &tile),
            "32 of 1024 in [32, 32]: rows 8..16 of 32 (tile 1 of 8), columns 0..4 of 32 (tile 0 of 4)"
        );
        assert_eq!(describe(&[16], &[1, 5, 9]), "3 of 16 in [16]: columns 1..10 in steps of 4 of 16");
        assert_eq!(describe(&[64], &[1, 9, 33]), "3 of 64 in [64]: columns 1 mod 8 of 64");
        assert_eq!(
            describe(&[4, 4], &[0, 5]),
            "2 of 16 in [4, 4]: rows 0..2 of 4, columns 0..2 of 4, not all of these"
        );
        assert_eq!(describe(&[2, 2], &[0, 1, 2, 3]), "every element of [2, 2]");
        assert_eq!(describe(&[2, 2], &[]), "");
    }
}
