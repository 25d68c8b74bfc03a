//! Statistics of the durations of many inferences.

use serde::Serialize;

/// Samples that a 90th percentile needs: at least two of so many lie above it with 99 % confidence.
///
/// The smallest `n` with `P(B <= 1) <= 0.01` for `B` binomial of `n` and 0.1: the rule of runoff's own reports.
pub const FEWEST_FOR_P90: usize = 64;

/// Durations in nanoseconds, in short.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Summary {
    /// How many there are.
    pub count: usize,
    /// The shortest.
    pub min_ns: u64,
    /// Half of them are shorter.
    pub median_ns: f64,
    /// Nine of ten are shorter; `None` if there are too few samples.
    pub p90_ns: Option<f64>,
    /// How many fit into a second, one after the other.
    pub per_second: f64,
}

impl Summary {
    /// Sums up `durations_ns`; `None` when there are none.
    pub fn of(durations_ns: &[u64]) -> Option<Self> {
        let mut ordered = durations_ns.to_vec();
        ordered.sort_unstable();
        let count = ordered.len();
        let total_ns: u64 = ordered.iter().sum();
        Some(Self {
            count,
            min_ns: *ordered.first()?,
            median_ns: quantile(&ordered, 0.5),
            p90_ns: (count >= FEWEST_FOR_P90).then(|| quantile(&ordered, 0.9)),
            per_second: to_f64(count) * 1e9 / float(total_ns),
        })
    }
}

/// The quantile `q` of `ordered`, linear between its neighbours (type 7 of Hyndman and Fan, 1996; `NumPy`'s default).
fn quantile(ordered: &[u64], q: f64) -> f64 {
    let place = q * to_f64(ordered.len() - 1);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 <= place < the length")]
    let below = place as usize;
    let low = float(ordered[below]);
    let high = ordered.get(below + 1).map_or(low, |&high| float(high));
    low + (place - place.floor()) * (high - low)
}

#[expect(clippy::cast_precision_loss, reason = "2^53 nanoseconds are 104 days")]
fn float(nanoseconds: u64) -> f64 {
    nanoseconds as f64
}

#[expect(clippy::cast_precision_loss, reason = "nobody takes 2^53 samples")]
fn to_f64(count: usize) -> f64 {
    count as f64
}

/// Shows a duration in milliseconds.
pub fn milliseconds(nanoseconds: f64) -> String {
    format!("{:.3} ms", nanoseconds / 1e6)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_needs_enough_samples() {
        let enough: Vec<u64> = (1..=64).collect();
        let summary = Summary::of(&enough).expect("a summary");
        assert_eq!((summary.count, summary.min_ns), (64, 1));
        assert!((summary.median_ns - 32.5).abs() < 1e-9);
        // 1 + 0.9 * 63
        assert!((summary.p90_ns.expect("a percentile") - 57.7).abs() < 1e-9);
        assert_eq!(Summary::of(&enough[..63]).expect("a summary").p90_ns, None);
        assert_eq!(Summary::of(&[]), None);
    }

    #[test]
    fn the_order_of_samples_does_not_matter() {
        let summary = Summary::of(&[3, 1, 2]).expect("a summary");
        assert_eq!(summary, Summary::of(&[1, 2, 3]).expect("a summary"));
        assert!((summary.median_ns - 2.0).abs() < 1e-9);
        assert!((summary.per_second - 5e8).abs() < 1.0);
    }

    #[test]
    fn one_sample_is_its_own_median() {
        assert!((Summary::of(&[7]).expect("a summary").median_ns - 7.0).abs() < 1e-9);
    }

    #[test]
    fn the_fewest_samples_follow_from_the_binomial() {
        let at_most_one_above = |n: i32| 0.9_f64.powi(n) + f64::from(n) * 0.1 * 0.9_f64.powi(n - 1);
        let needed = i32::try_from(FEWEST_FOR_P90).expect("a small number");
        assert!(at_most_one_above(needed) <= 0.01 && at_most_one_above(needed - 1) > 0.01);
    }

    #[test]
    fn durations_are_shown_in_milliseconds() {
        assert_eq!(milliseconds(1_234_567.0), "1.235 ms");
    }
}
