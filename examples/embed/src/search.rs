//! The nearest lines to a query, by the dot product of vectors of length one: their cosine.

/// A line that was found.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Hit {
    /// Its place among the lines, from 0.
    pub line: usize,
    /// The cosine of the angle between it and the query: 1 says the same, 0 has nothing to do with it.
    pub score: f64,
}

/// The dot product of two vectors.
pub fn dot(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(x, y)| f64::from(*x) * f64::from(*y)).sum()
}

/// The cosine of the angle between two vectors of any length.
pub fn cosine(a: &[f32], b: &[f32]) -> f64 {
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}

/// The `top` nearest lines, nearest first; of equals the earlier line first.
pub fn nearest(query: &[f32], lines: &[Vec<f32>], top: usize) -> Vec<Hit> {
    let score = |(line, row): (usize, &Vec<f32>)| Hit { line, score: dot(query, row) };
    let mut hits: Vec<_> = lines.iter().enumerate().map(score).collect();
    hits.sort_by(|a, b| b.score.total_cmp(&a.score));
    hits.truncate(top);
    hits
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nearest_first_and_equals_in_order() {
        let lines = [vec![0.0, 1.0], vec![1.0, 0.0], vec![0.6, 0.8], vec![1.0, 0.0]];
        let found: Vec<_> = nearest(&[1.0, 0.0], &lines, 3).iter().map(|h| h.line).collect();
        assert_eq!(found, [1, 3, 2]);
        assert!(nearest(&[1.0, 0.0], &[], 3).is_empty());
    }
}
