//! Which mutants are made: a few of each shader, drawn by a seed, every operator in turn, so that rare
//! ones are not lost among those that fit everywhere.

use tachylite::rng::Rng;

use super::operators::{ALL, Mutant, mutants};
use super::reach::Reach;

/// What is asked for.
pub(super) struct Asked<'a> {
    pub files: &'a [String],
    pub operators: &'a [String],
    pub per_shader: usize,
    pub seed: u64,
    pub sample: Option<usize>,
}

/// The mutants, by file and place.
pub(super) fn draw(asked: &Asked<'_>, reach: &Reach) -> Result<Vec<Mutant>, String> {
    let sources = tachylite::kernel::sources();
    if let Some(file) = asked.files.iter().find(|f| !sources.iter().any(|(name, _)| name == f)) {
        let names: Vec<_> = sources.iter().map(|(name, _)| *name).collect();
        return Err(format!("there is no shader `{file}`; there are {}", names.join(", ")));
    }
    if let Some(name) = asked.operators.iter().find(|o| !ALL.iter().any(|a| a.name == **o)) {
        let names: Vec<_> = ALL.iter().map(|o| o.name).collect();
        return Err(format!("there is no operator `{name}`; there are {}", names.join(", ")));
    }
    let one_of = |list: &[String], name: &str| list.is_empty() || list.iter().any(|l| l == name);
    let mut drawn: Vec<Vec<Mutant>> = Vec::new();
    for (file, source) in sources.into_iter().filter(|(file, _)| one_of(asked.files, file)) {
        let all = mutants(file, source).into_iter().filter(|m| one_of(asked.operators, m.operator)).collect();
        let order = in_turn(all, asked.seed ^ Rng::hash(file));
        drawn.push(order.into_iter().filter(|m| reach.is_valid(m)).take(asked.per_shader).collect());
    }
    let mut chosen = match asked.sample {
        None => drawn.into_iter().flatten().collect(),
        Some(n) => sample(drawn, n, asked.seed),
    };
    chosen
        .sort_by(|a, b| (a.file, a.line, a.column, a.operator).cmp(&(b.file, b.line, b.column, b.operator)));
    Ok(chosen)
}

/// One of each operator, by chance, then another of each, and so on.
fn in_turn(all: Vec<Mutant>, seed: u64) -> Vec<Mutant> {
    let mut by_operator: Vec<Vec<Mutant>> = ALL.iter().map(|_| Vec::new()).collect();
    for mutant in all {
        let at = ALL.iter().position(|o| o.name == mutant.operator).unwrap_or(0);
        by_operator[at].push(mutant);
    }
    let mut rng = Rng::new(seed);
    by_operator.iter_mut().for_each(|list| shuffle(list, &mut rng));
    // Not always in the order in which operators are listed: the last would be short.
    shuffle(&mut by_operator, &mut rng);
    rounds(by_operator)
}

/// The same over shaders: one of each before there is another of one.
fn sample(mut drawn: Vec<Vec<Mutant>>, n: usize, seed: u64) -> Vec<Mutant> {
    let mut rng = Rng::new(seed);
    drawn.iter_mut().for_each(|list| shuffle(list, &mut rng));
    shuffle(&mut drawn, &mut rng);
    let mut all = rounds(drawn);
    all.truncate(n);
    all
}

/// The first of each list, the second of each, and so on.
fn rounds<T>(lists: Vec<Vec<T>>) -> Vec<T> {
    let mut lists: Vec<_> = lists.into_iter().map(Vec::into_iter).collect();
    let mut out = Vec::new();
    loop {
        let before = out.len();
        out.extend(lists.iter_mut().filter_map(Iterator::next));
        if out.len() == before {
            return out;
        }
    }
}

/// Fisher and Yates.
fn shuffle<T>(list: &mut [T], rng: &mut Rng) {
    for i in (1..list.len()).rev() {
        list.swap(i, rng.below(i as u64 + 1) as usize);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_operator_has_its_turn_and_a_seed_gives_the_same_again() {
        let source = "fn f() {\n  let a = b + c + d + e + f + g;\n  workgroupBarrier();\n}\n";
        let first = in_turn(mutants("f.wgsl", source), 1);
        assert!(first[..2].iter().any(|m| m.operator == "barrier"));
        assert_eq!(first, in_turn(mutants("f.wgsl", source), 1));
        assert_ne!(first, in_turn(mutants("f.wgsl", source), 2));
        assert_eq!(rounds(vec![vec![1, 2, 3], vec![], vec![4, 5]]), [1, 4, 2, 5, 3]);
    }
}
