//! Few rows in which every two choices of different factors occur together (a covering array of
//! strength two), found greedily: each row is the best of what a fixed generator proposes, built factor by
//! factor (the idea of AETG: Cohen, Dalal, Fredman and Patton 1997).

use crate::rng::Rng;

/// Rows of one choice for each factor, given how many choices each has. Always the same.
pub(super) fn rows(levels: &[usize]) -> Vec<Vec<usize>> {
    let mut open: Vec<[usize; 4]> = Vec::new();
    for a in 0..levels.len() {
        for b in a + 1..levels.len() {
            open.extend((0..levels[a]).flat_map(|x| (0..levels[b]).map(move |y| [a, x, b, y])));
        }
    }
    let mut rng = Rng::new(1);
    let mut rows = Vec::new();
    while !open.is_empty() {
        let row = (0..50).map(|_| propose(levels, &open, &mut rng)).max_by_key(|row| gain(row, &open));
        let row = row.unwrap_or_default();
        open.retain(|pair| !meets(&row, pair));
        rows.push(row);
    }
    rows
}

/// Begins with a pair that is open, then gives every other factor, in any order, the choice that closes
/// most pairs with those before it.
fn propose(levels: &[usize], open: &[[usize; 4]], rng: &mut Rng) -> Vec<usize> {
    const UNSET: usize = usize::MAX;
    let mut row = vec![UNSET; levels.len()];
    let [a, x, b, y] = open[below(rng, open.len())];
    (row[a], row[b]) = (x, y);
    let mut order: Vec<usize> = (0..levels.len()).filter(|f| *f != a && *f != b).collect();
    for i in (1..order.len()).rev() {
        order.swap(i, below(rng, i + 1));
    }
    for factor in order {
        let first = below(rng, levels[factor]);
        let choices = (0..levels[factor]).map(|i| (first + i) % levels[factor]);
        let best = choices.max_by_key(|choice| {
            row[factor] = *choice;
            gain(&row, open)
        });
        row[factor] = best.unwrap_or(0);
    }
    row
}

fn below(rng: &mut Rng, n: usize) -> usize {
    rng.below(n as u64) as usize
}

fn gain(row: &[usize], open: &[[usize; 4]]) -> usize {
    open.iter().filter(|pair| meets(row, pair)).count()
}

fn meets(row: &[usize], [a, x, b, y]: &[usize; 4]) -> bool {
    row[*a] == *x && row[*b] == *y
}

#[cfg(test)]
mod tests {
    use crate::virtual_gpu::Personality;

    #[test]
    fn every_two_choices_meet_in_few_rows() {
        let set = Personality::pairwise();
        let levels = Personality::LEVELS;
        for a in 0..levels.len() {
            for b in a + 1..levels.len() {
                for x in 0..levels[a] {
                    for y in 0..levels[b] {
                        let met = set.iter().any(|p| p.levels()[a] == x && p.levels()[b] == y);
                        assert!(met, "{a}={x} never meets {b}={y}");
                    }
                }
            }
        }
        // 6 subgroup sizes and 4 orders of lanes alone need 24.
        assert!((24..=32).contains(&set.len()), "{} rows", set.len());
        assert_eq!(set, Personality::pairwise());
    }
}
