use super::*;
use crate::rng::Rng;

fn vector(n: usize, rng: &mut Rng, scale: f64) -> Vec<f64> {
    (0..n).map(|_| f64::from((scale * rng.signed()) as f32)).collect()
}

/// Steps of the delta rule with normalised keys, as numbers: decays, a, b, k and v.
type Steps = Vec<([Vec<f64>; 4], f64)>;

fn steps(n: usize, count: usize, rng: &mut Rng) -> Steps {
    let mut one = || {
        let key = vector(n, rng, 1.0);
        let norm = key.iter().map(|k| k * k).sum::<f64>().sqrt();
        let a: Vec<f64> = key.iter().map(|k| f64::from((-k / norm) as f32)).collect();
        let b: Vec<f64> = a.iter().map(|a| f64::from((-0.75 * a) as f32)).collect();
        let d: Vec<f64> = (0..n).map(|_| f64::from((1.0 - 0.1 * rng.unit()) as f32)).collect();
        ([d, a, b, vector(n, rng, 1.0)], f64::from(rng.signed() as f32))
    };
    (0..count).map(|_| one()).collect()
}

fn bounded(mut row: Row, steps: &Steps) -> Row {
    for ([d, a, b, k], v) in steps {
        let exact = |v: &[f64]| v.iter().map(|v| (*v, 0.0)).collect::<Vec<Number>>();
        let erase = exact(a).into_iter().zip(exact(b)).collect();
        row.step(&Step { decay: exact(d), erase, key: exact(k), ..Step::default() }, (*v, 0.0), None);
    }
    row.finish();
    row
}

/// The same in f32, `length` steps at a time, after which the state is formed; 1 is the recurrence itself.
fn in_f32(start: &[f64], steps: &Steps, length: usize) -> Vec<f32> {
    let f32s = |v: &[f64]| v.iter().map(|x| *x as f32).collect::<Vec<f32>>();
    let dot = |x: &[f32], y: &[f32]| x.iter().zip(y).fold(0f32, |sum, (x, y)| sum + x * y);
    let times = |x: &[f32], y: &[f32]| x.iter().zip(y).map(|(x, y)| x * y).collect::<Vec<f32>>();
    let mut s = f32s(start);
    for steps in steps.chunks(length) {
        // What the state is a sum of: vectors and what each is multiplied by.
        let mut left = vec![1f32; s.len()];
        let mut terms: Vec<(f32, Vec<f32>)> = Vec::new();
        for ([d, a, b, k], v) in steps {
            let [d, a, b, k] = [d, a, b, k].map(|x| f32s(x));
            let u = terms
                .iter()
                .fold(dot(&times(&left, &a), &s), |sum, (by, carried)| sum + by * dot(carried, &a));
            left = times(&left, &d);
            terms.iter_mut().for_each(|(_, carried)| *carried = times(carried, &d));
            terms.extend([(u, b), (*v as f32, k)]);
        }
        s = times(&s, &left);
        for (by, carried) in &terms {
            s.iter_mut().zip(carried).for_each(|(s, c)| *s += by * c);
        }
    }
    s
}

#[test]
fn f32_stays_within_the_bound_which_does_not_grow_with_the_worst_case() {
    for seed in 0..20 {
        let mut rng = Rng::new(seed);
        let (start, steps) = (vector(16, &mut rng, 1.0), steps(16, 201, &mut rng));
        let before = || start.iter().map(|v| (*v, 0.0));
        let one_by_one = bounded(Row::new(before()), &steps);
        for (row, length) in [(&one_by_one, 1), (&bounded(Row::in_chunks(before(), 4), &steps), 4)] {
            for (j, got) in in_f32(&start, &steps, length).iter().enumerate() {
                let (want, allowed) = row.at(j);
                let off = (f64::from(*got) - want).abs();
                assert!(off <= allowed, "{seed} {length} {j}: {got} {want} {allowed:e}");
                assert!(allowed < 1e-4 && row.worst[j] > 1e3 * allowed, "{allowed:e} {:e}", row.worst[j]);
                let beside = allowed / one_by_one.at(j).1;
                assert!((0.8..1.3).contains(&beside), "chunks allow {beside} times as much");
            }
        }
        let one = bounded(Row::new(before()), &steps[..1].to_vec());
        assert!((0..16).all(|j| one.at(j).1 == one.worst[j]), "of one step the worst case is the less");
    }
}

#[test]
fn chunks_add_up_what_cancels_in_the_state() {
    let erase = |b: f64| vec![((1.0, 0.0), (b, 0.0))];
    // 2²⁰ + 1/64 is learnt and taken back: no state needs more than 24 bits, but what a sum is made of does.
    let learn = |k: f64, b: f64| Step { erase: erase(b), key: vec![(k, 0.0)], ..Step::default() };
    let mut rows = [Row::new([(0.0, 0.0)].into_iter()), Row::in_chunks([(0.0, 0.0)].into_iter(), 3)];
    for row in &mut rows {
        for step in [learn(f64::from(1 << 20), 0.0), learn(-f64::from(1 << 20), 0.0), learn(0.015625, 0.0)] {
            row.step(&step, (1.0, 0.0), None);
        }
        row.finish();
    }
    let [one_by_one, chunked] = rows.map(|row| row.at(0));
    assert_eq!(one_by_one, (0.015625, 0.0));
    assert!(chunked.0 == 0.015625 && chunked.1 > U32 * f64::from(1 << 20), "{chunked:?}");
}

#[test]
fn small_integers_are_carried_exactly_and_errors_of_inputs_are_not_averaged() {
    let start = || [(1.0, 0.0), (-2.0, 0.0)].into_iter();
    let erase = vec![((1.0, 0.0), (-1.0, 0.0)), ((0.5, 0.0), (2.0, 0.0))];
    let step = Step { erase, key: vec![(3.0, 0.0), (1.0, 0.0)], ..Step::default() };
    let rows = [Row::new(start()), Row::new(start()), Row::in_chunks(start(), 3), Row::in_chunks(start(), 3)];
    for (mut row, beside) in rows.into_iter().zip([None, Some((2.0, 1.0)), None, Some((2.0, 1.0))]) {
        for _ in 0..8 {
            row.step(&step, (2.0, 0.0), beside);
        }
        row.finish();
        assert_eq!((row.at(0).1, row.at(1).1, row.read([(1.0, 0.0); 2].into_iter()).1), (0.0, 0.0, 0.0));
    }
    let mut off = Row::new([(1.0, 1e-3)].into_iter());
    let half = Step { decay: vec![(0.5, 0.0)], ..Step::default() };
    off.step(&half, (0.0, 0.0), None);
    assert_eq!(off.at(0), (0.5, 0.5e-3));
}

/// Positions of the gated delta rule with normalised keys: decays, key, beta and v.
type Positions = Vec<([Vec<f64>; 2], [f64; 2])>;

/// Each position as two steps: the decay, and what is learnt.
fn delta_bounded(mut row: Row, positions: &Positions) -> Row {
    for ([d, k], [beta, v]) in positions {
        row.step(&Step { decay: d.iter().map(|d| (*d, 0.0)).collect(), ..Step::default() }, (0.0, 0.0), None);
        let off = |k: f64| (beta * k, 0.0);
        let erase = k.iter().map(|k| ((*k, 0.0), off(-k))).collect();
        let step = Step { erase, key: k.iter().map(|k| off(*k)).collect(), ..Step::default() };
        row.step(&step, (*v, 0.0), Some((*v, *beta)));
    }
    row.finish();
    row
}

/// The same in f32, `length` positions at a time; 1 forms each state.
fn delta_in_f32(start: &[f64], positions: &Positions, length: usize) -> Vec<f32> {
    let f32s = |v: &[f64]| v.iter().map(|x| *x as f32).collect::<Vec<f32>>();
    let dot = |x: &[f32], y: &[f32]| x.iter().zip(y).fold(0f32, |sum, (x, y)| sum + x * y);
    let times = |x: &mut [f32], y: &[f32]| x.iter_mut().zip(y).for_each(|(x, y)| *x *= y);
    let mut s = f32s(start);
    for positions in positions.chunks(length) {
        let mut left = vec![1f32; s.len()];
        let mut terms: Vec<(f32, Vec<f32>)> = Vec::new();
        for ([d, k], [beta, v]) in positions {
            let [d, k] = [d, k].map(|x| f32s(x));
            times(&mut left, &d);
            terms.iter_mut().for_each(|(_, carried)| times(carried, &d));
            let mut read = left.clone();
            times(&mut read, &k);
            let held = terms.iter().fold(dot(&read, &s), |sum, (by, carried)| sum + by * dot(carried, &k));
            terms.push((*beta as f32 * (*v as f32 - held), k));
        }
        times(&mut s, &left);
        for (by, carried) in &terms {
            s.iter_mut().zip(carried).for_each(|(s, c)| *s += by * c);
        }
    }
    s
}

#[test]
fn the_delta_rule_stays_within_its_bound_position_by_position_and_in_chunks() {
    for seed in 0..20 {
        let mut rng = Rng::new(seed);
        let start = vector(16, &mut rng, 1.0);
        let mut one = || {
            let key = vector(16, &mut rng, 1.0);
            let norm = key.iter().map(|k| k * k).sum::<f64>().sqrt();
            let key = key.iter().map(|k| f64::from((k / norm) as f32)).collect();
            let decay = (0..16).map(|_| f64::from((1.0 - 0.1 * rng.unit()) as f32)).collect();
            ([decay, key], [rng.unit(), rng.signed()].map(|x| f64::from(x as f32)))
        };
        let positions: Positions = (0..201).map(|_| one()).collect();
        let before = || start.iter().map(|v| (*v, 0.0));
        let one_by_one = delta_bounded(Row::new(before()), &positions);
        for length in [1, 4, 7] {
            let chunked = delta_bounded(Row::in_chunks(before(), length), &positions);
            let row = if length == 1 { &one_by_one } else { &chunked };
            for (j, got) in delta_in_f32(&start, &positions, length).iter().enumerate() {
                let ((want, allowed), alone) = (row.at(j), one_by_one.at(j).1);
                let off = (f64::from(*got) - want).abs();
                assert!(off <= allowed, "{seed} {length} {j}: {got} {want} {allowed:e}");
                assert!((0.7..1.5).contains(&(allowed / alone)), "{length}: {allowed:e} beside {alone:e}");
            }
        }
    }
}
