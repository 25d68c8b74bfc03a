//! Statistics of the durations of many inferences.

use std::iter::successors;

use serde::Serialize;

/// Percentiles that are reported.
const PERCENTS: [u8; 4] = [50, 90, 95, 99];

/// How likely the value is below an interval, and how likely above it: 95 % confidence.
const TAIL: f64 = 0.025;

/// Terms of the binomial distribution that are smaller, relative to its largest, are left out.
const NEGLIGIBLE: f64 = 1e-20;

/// An estimate with its 95 % interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Estimate {
    /// The estimate itself.
    pub value: f64,
    /// Lower bound.
    pub low: f64,
    /// Upper bound.
    pub high: f64,
}

/// A percentile of durations.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Percentile {
    /// So many of a hundred durations are shorter.
    pub percent: u8,
    /// The percentile in nanoseconds; `None` if there are too few samples for both bounds.
    pub estimate_ns: Option<Estimate>,
    /// Samples that the bounds need.
    pub needs: usize,
}

/// Durations in nanoseconds, in short.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Summary {
    /// How many there are.
    pub count: usize,
    /// The shortest.
    pub min_ns: u64,
    /// The longest.
    pub max_ns: u64,
    /// Half of them are shorter.
    pub median_ns: f64,
    /// Nine of ten are shorter; `None` if there are too few samples.
    pub p90_ns: Option<f64>,
    /// With bounds.
    pub percentiles: Vec<Percentile>,
    /// How many fit into a second, one after the other.
    pub per_second: f64,
}

impl Summary {
    /// Sums up `durations_ns`; `None` when there are none.
    pub fn of(durations_ns: &[u64]) -> Option<Self> {
        let mut ordered = durations_ns.to_vec();
        ordered.sort_unstable();
        let (&min_ns, &max_ns) = (ordered.first()?, ordered.last()?);
        let ordered: Vec<f64> = ordered.into_iter().map(float).collect();
        let percentile = |percent: u8| {
            let q = f64::from(percent) / 100.0;
            Percentile { percent, estimate_ns: estimate(&ordered, q), needs: fewest(q) }
        };
        let percentiles: Vec<_> = PERCENTS.into_iter().map(percentile).collect();
        Some(Self {
            count: ordered.len(),
            min_ns,
            max_ns,
            median_ns: quantile(&ordered, 0.5),
            p90_ns: percentiles[1].estimate_ns.map(|estimate| estimate.value),
            percentiles,
            per_second: to_f64(ordered.len()) * 1e9 / ordered.iter().sum::<f64>(),
        })
    }
}

/// The median of `own[i] / first[i]`, with its interval; `None` if there are too few pairs.
pub fn ratio(own: &[f64], first: &[f64]) -> Option<Estimate> {
    let mut ratios: Vec<f64> = own.iter().zip(first).map(|(own, first)| own / first).collect();
    ratios.sort_unstable_by(f64::total_cmp);
    estimate(&ratios, 0.5)
}

/// The median of `durations_ns`; `None` when there are none.
pub fn median(durations_ns: &[u64]) -> Option<f64> {
    let mut ordered: Vec<f64> = durations_ns.iter().copied().map(float).collect();
    ordered.sort_unstable_by(f64::total_cmp);
    (!ordered.is_empty()).then(|| quantile(&ordered, 0.5))
}

/// The quantile `q` of `ordered`, with its interval; `None` if there are too few.
fn estimate(ordered: &[f64], q: f64) -> Option<Estimate> {
    let (low, high) = bounds(ordered.len(), q)?;
    Some(Estimate { value: quantile(ordered, q), low: ordered[low], high: ordered[high] })
}

/// Places of the order statistics, of `count` in all, that enclose the quantile `q` with at least 95 % confidence, whatever
/// the distribution of the (independent) samples; `None` if there are too few.
///
/// Conover, Practical Nonparametric Statistics, section 3.2.
fn bounds(count: usize, q: f64) -> Option<(usize, usize)> {
    let (low, high) = (rank_below(count, q), rank_below(count, 1.0 - q));
    (low > 0 && high > 0).then(|| (low - 1, count - high))
}

/// The largest `r` so that the `r`-th smallest of `count` samples exceeds the quantile `q` with a probability of at most
/// [`TAIL`], which is `P(B < r)` for `B` binomial of `count` and `q`; 0 if there is none.
fn rank_below(count: usize, q: f64) -> usize {
    let odds = q / (1.0 - q);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "at most the count, which is a usize")]
    let mode = ((to_f64(count) + 1.0) * q).min(to_f64(count)) as usize;
    // Terms relative to the largest: none of those that matter underflows, however many samples there are.
    let down = |&(k, term): &(usize, f64)| (k > 0).then(|| (k - 1, term * to_f64(k) / to_f64(count - k + 1) / odds));
    let up = |&(k, term): &(usize, f64)| (k < count).then(|| (k + 1, term * to_f64(count - k) / to_f64(k + 1) * odds));
    let matters = |term: &f64| *term > NEGLIGIBLE;
    let below: Vec<f64> = successors(Some((mode, 1.0)), down).map(|(_, term)| term).take_while(matters).collect();
    let above = successors(Some((mode, 1.0)), up).map(|(_, term)| term).take_while(matters).skip(1);
    let tail = TAIL * (below.iter().sum::<f64>() + above.sum::<f64>());
    let mut sum = 0.0;
    let within = |term: &&f64| {
        sum += **term;
        sum <= tail
    };
    mode + 1 - below.len() + below.iter().rev().take_while(within).count()
}

/// The fewest samples that have both bounds of the quantile `q`: neither all nor none of them are below it, with a
/// probability of more than [`TAIL`] each.
fn fewest(q: f64) -> usize {
    let count = (TAIL.ln() / q.max(1.0 - q).ln()).ceil();
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a small positive number")]
    let count = count as usize;
    count
}

/// The quantile `q` of `ordered`, linear between its neighbours (type 7 of Hyndman and Fan, 1996; `NumPy`'s default).
fn quantile(ordered: &[f64], q: f64) -> f64 {
    let place = q * to_f64(ordered.len() - 1);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 <= place < the length")]
    let below = place as usize;
    let low = ordered[below];
    let high = ordered.get(below + 1).copied().unwrap_or(low);
    low + (place - place.floor()) * (high - low)
}

#[expect(clippy::cast_precision_loss, reason = "2^53 nanoseconds are 104 days")]
pub fn float(nanoseconds: u64) -> f64 {
    nanoseconds as f64
}

#[expect(clippy::cast_precision_loss, reason = "nobody takes 2^53 samples")]
pub fn to_f64(count: usize) -> f64 {
    count as f64
}

/// Shows a duration in milliseconds.
pub fn milliseconds(nanoseconds: f64) -> String {
    format!("{:.3} ms", nanoseconds / 1e6)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How likely each number of successes in `count` trials is, trial by trial.
    fn binomial(count: usize, q: f64) -> Vec<f64> {
        (0..count).fold(vec![1.0], |before, _| {
            let fails = before.iter().map(|term| term * (1.0 - q)).chain([0.0]);
            let succeeds = std::iter::once(0.0).chain(before.iter().map(|term| term * q));
            fails.zip(succeeds).map(|(fail, success)| fail + success).collect()
        })
    }

    #[test]
    fn bounds_are_those_that_brute_force_finds() {
        for percent in PERCENTS {
            let q = f64::from(percent) / 100.0;
            let mut had_bounds = false;
            for count in (1..=80).chain([100, 367, 368, 369, 1000]) {
                let terms = binomial(count, q);
                let below = |rank: usize| terms[..rank].iter().sum::<f64>() <= TAIL;
                let above = |rank: usize| terms[rank..].iter().sum::<f64>() <= TAIL;
                let low = (1..=count).rev().find(|&rank| below(rank));
                let high = (1..=count).find(|&rank| above(rank));
                let expected = low.zip(high).map(|(low, high)| (low - 1, high - 1));
                assert_eq!(bounds(count, q), expected, "{percent} % of {count}");
                assert_eq!(expected.is_some(), count >= fewest(q), "{percent} % of {count}");
                had_bounds |= expected.is_some();
            }
            assert!(had_bounds, "{percent}");
        }
    }

    #[test]
    fn bounds_of_many_samples_are_those_of_the_normal_distribution() {
        let (low, high) = bounds(10_000_000, 0.99).expect("bounds");
        // sqrt(n q (1 - q)) * 1.96 is 617
        assert!((9_899_383 - 2..=9_899_383 + 2).contains(&low), "{low}");
        assert!((9_900_616 - 2..=9_900_616 + 2).contains(&high), "{high}");
    }

    #[test]
    fn a_percentile_needs_enough_samples() {
        let enough: Vec<u64> = (1..=36).collect();
        let summary = Summary::of(&enough).expect("a summary");
        assert_eq!((summary.count, summary.min_ns, summary.max_ns), (36, 1, 36));
        assert!((summary.median_ns - 18.5).abs() < 1e-9);
        let [p50, p90, p95, p99] = &summary.percentiles[..] else { panic!("{summary:?}") };
        assert_eq!(p50.estimate_ns, Some(Estimate { value: 18.5, low: 12.0, high: 25.0 }));
        assert_eq!(p90.estimate_ns.map(|estimate| estimate.high), Some(36.0));
        // 1 + 0.9 * 35
        assert!((summary.p90_ns.expect("a percentile") - 32.5).abs() < 1e-9);
        assert_eq!([p50, p90, p95, p99].map(|percentile| percentile.needs), [6, 36, 72, 368]);
        assert_eq!((p95.estimate_ns, p99.estimate_ns), (None, None));
        assert_eq!(Summary::of(&enough[..35]).expect("a summary").p90_ns, None);
        assert_eq!(Summary::of(&[]), None);
    }

    #[test]
    fn the_order_of_samples_does_not_matter() {
        let summary = Summary::of(&[3, 1, 2]).expect("a summary");
        assert_eq!(summary, Summary::of(&[1, 2, 3]).expect("a summary"));
        assert!((summary.median_ns - 2.0).abs() < 1e-9);
        assert!((summary.per_second - 5e8).abs() < 1.0);
        assert_eq!(median(&[7]), Some(7.0));
        assert_eq!(median(&[]), None);
    }

    #[test]
    fn a_ratio_is_paired_by_round() {
        let first = [1.0, 10.0, 2.0, 4.0, 8.0, 3.0];
        let own = first.map(|median| median * 2.0);
        assert_eq!(ratio(&own, &first), Some(Estimate { value: 2.0, low: 2.0, high: 2.0 }));
        assert_eq!(ratio(&own[..5], &first), None);
    }

    #[test]
    fn durations_are_shown_in_milliseconds() {
        assert_eq!(milliseconds(1_234_567.0), "1.235 ms");
    }
}
