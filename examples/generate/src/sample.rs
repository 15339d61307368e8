//! Which token comes next. The likeliest is found on the device, and stays there; one that is drawn is drawn here,
//! of logits read back. What draws on the device replaces [`Sampler::next`].

use decoders::{Result, Session};
use tachylite::rng::Rng;

/// How tokens are drawn.
#[derive(Debug)]
pub struct Sampler {
    temperature: f32,
    top_k: usize,
    rng: Rng,
}

impl Sampler {
    /// Draws among the `top_k` likeliest at a temperature; at 0 the likeliest is taken.
    pub fn new(temperature: f32, top_k: usize, seed: u64) -> Self {
        Self { temperature, top_k: top_k.max(1), rng: Rng::new(seed) }
    }

    /// The token that comes next, and is what the session's next step takes in.
    ///
    /// # Errors
    /// Those of the device.
    pub fn next(&mut self, session: &mut Session) -> Result<u32> {
        if self.temperature == 0.0 {
            return Ok(session.next_tokens()?[0]);
        }
        let token = self.draw(&session.logits()?);
        session.give(&[token])?;
        Ok(token)
    }

    fn draw(&mut self, logits: &[f32]) -> u32 {
        let mut order: Vec<u32> = (0..logits.len() as u32).collect();
        let by = |a: &u32, b: &u32| logits[*b as usize].total_cmp(&logits[*a as usize]).then(a.cmp(b));
        let k = self.top_k.min(order.len());
        if k < order.len() {
            order.select_nth_unstable_by(k - 1, by);
        }
        order.truncate(k);
        order.sort_unstable_by(by);
        let most = order.first().map_or(0.0, |i| logits[*i as usize]);
        let weight = |i: &u32| f64::from((logits[*i as usize] - most) / self.temperature).exp();
        let mut left = self.rng.unit() * order.iter().map(weight).sum::<f64>();
        for i in &order {
            left -= weight(i);
            if left < 0.0 {
                return *i;
            }
        }
        order.last().copied().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_drawn_as_often_as_they_are_likely_and_none_past_the_k_largest() {
        // Softmax at temperature 1: 8, 4, 2, 2 of 16.
        let logits = [2f32, 8.0, 4.0, 2.0].map(f32::ln);
        let draw = |mut s: Sampler| {
            let mut counts = [0i32; 4];
            (0..16_000).for_each(|_| counts[s.draw(&logits) as usize] += 1);
            counts
        };
        let counts = draw(Sampler::new(1.0, 4, 3));
        for (n, want) in counts.into_iter().zip([2000, 8000, 4000, 2000]) {
            assert!((n - want).abs() < 250, "{counts:?}");
        }
        let counts = draw(Sampler::new(1.0, 2, 3));
        assert!(counts[0] == 0 && counts[3] == 0 && (counts[1] - 10_667i32).abs() < 300, "{counts:?}");
        assert_eq!(draw(Sampler::new(1e-3, 4, 3)), [0, 16_000, 0, 0]);
    }
}
