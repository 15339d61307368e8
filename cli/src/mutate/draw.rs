//! Which mutants are made: a few of each shader, drawn by a seed, every operator in turn, so that rare
//! ones are not lost among those that fit everywhere.

use tachylite::rng::Rng;

use super::operators::{ALL, Mutant, mutants};
use super::reach::Reach;

/// What is asked for; of `sample`, so many of all that would be drawn, every shader in turn.
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
    let mut lists = Vec::new();
    for (file, source) in sources.into_iter().filter(|(file, _)| one_of(asked.files, file)) {
        let all = mutants(file, source).into_iter().filter(|m| one_of(asked.operators, m.operator)).collect();
        let order = in_turn(all, asked.seed ^ Rng::hash(file));
        lists.push(order.into_iter().filter(|m| reach.is_valid(m)).take(asked.per_shader));
    }
    // Of a sample's shaders none before its turn: to know what is valid takes time.
    shuffle(&mut lists, &mut Rng::new(asked.seed));
    let mut chosen = rounds(lists, asked.sample.unwrap_or(usize::MAX));
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
    rounds(by_operator.into_iter().map(Vec::into_iter).collect(), usize::MAX)
}

/// The first of each list, the second of each, and so on, until there are enough.
fn rounds<T>(mut lists: Vec<impl Iterator<Item = T>>, enough: usize) -> Vec<T> {
    let mut out = Vec::new();
    loop {
        let before = out.len();
        for list in &mut lists {
            if out.len() == enough {
                return out;
            }
            out.extend(list.next());
        }
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
        let lists = || [vec![1, 2, 3], vec![], vec![4, 5]].map(Vec::into_iter).into();
        assert_eq!(rounds(lists(), 9), [1, 4, 2, 5, 3]);
        assert_eq!(rounds(lists(), 3), [1, 4, 2]);
    }
}
