//! Whether a device's timestamps may be believed, from what the wall clock says of the same work.

use super::Samples;

/// Timestamps that come in steps of more than this fraction of what they measure say too little.
const COARSEST: f64 = 0.02;
/// Work cannot take longer on the device than from its submit to the news of its end, but for this.
const LONGER: f64 = 1.05;
/// Of the time that a submit takes beyond an empty one's, the device ought to have worked this much.
const LEAST: f64 = 0.5;

/// Whether timestamps may be reported, and if not, why not.
///
/// `gpu` and `wall` are seconds of the same samples; `empty` is what a submit of nothing takes.
///
/// # Errors
/// A reason, as the end of the sentence "the wall clock is reported, since".
pub fn believable(gpu: &Samples, wall: &Samples, empty: f64) -> Result<(), String> {
    if gpu.seconds().iter().any(|s| s.is_nan() || *s <= 0.0) {
        return Err("timestamps do not advance".into());
    }
    // The least of both: whatever else runs on the machine adds to the wall clock's most of the time.
    let (ours, theirs) = (gpu.min(), wall.min());
    let step = step_ns(gpu.seconds()) as f64 * 1e-9;
    if step > COARSEST * ours {
        return Err(format!("timestamps come in steps of {:.1} µs", step * 1e6));
    }
    if ours > LONGER * theirs {
        return Err(format!("timestamps say {:.1} µs of work that took {:.1} µs", ours * 1e6, theirs * 1e6));
    }
    if ours < LEAST * (theirs - empty) {
        let rest = (theirs - empty) * 1e6;
        return Err(format!("timestamps account for {:.1} µs of {rest:.1} µs", ours * 1e6));
    }
    Ok(())
}

/// The largest number of nanoseconds that all these times are multiples of; 0 if there are too few to
/// tell, or all are the same.
fn step_ns(seconds: &[f64]) -> u64 {
    let ticks: Vec<u64> = seconds.iter().map(|s| (s * 1e9).round() as u64).collect();
    if ticks.len() < 5 || ticks.iter().all(|t| *t == ticks[0]) {
        return 0;
    }
    ticks.into_iter().fold(0, gcd)
}

fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(gpu: &[f64], wall: f64) -> String {
        let wall = Samples::new(vec![wall; gpu.len()]);
        believable(&Samples::new(gpu.to_vec()), &wall, 20e-6).err().unwrap_or_default()
    }

    #[test]
    fn timestamps_are_believed_only_where_the_wall_clock_bears_them_out() {
        let fine = [500e-6, 501.2e-6, 499.7e-6, 502.1e-6, 500.4e-6];
        assert_eq!(said(&fine, 530e-6), "");
        assert!(said(&[0.0; 5], 530e-6).contains("do not advance"));
        assert!(said(&[-1e-6; 5], 530e-6).contains("do not advance"));
        assert!(said(&[500e-6, 600e-6, 500e-6, 700e-6, 500e-6], 530e-6).contains("steps of 100.0 µs"));
        assert!(said(&fine, 400e-6).contains("499.7 µs of work that took 400.0 µs"));
        assert!(said(&fine, 2e-3).contains("account for 499.7 µs of 1980.0 µs"));
        // Short work: most of the wall clock's time is that of the submit.
        assert_eq!(said(&[2.1e-6, 2.203e-6, 2.3e-6, 2.45e-6, 2.2e-6], 22e-6), "");
        assert!(said(&[f64::NAN; 5], 1e-3).contains("do not advance"));
    }
}
