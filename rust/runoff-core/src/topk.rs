//! The best classes of a row of logits.

use std::path::Path;

use runoff_session::{Error, Kind, read};

use crate::protocol::{Guess, bad_request};

/// Maximum size of a labels file.
const MOST_LABEL_BYTES: u64 = 1 << 26;

/// Finds the `count` best of `logits`, best first, with their softmax over all logits.
///
/// Equal logits are ordered by index. The softmax is `exp(x - max) / sum(exp(x - max))` in float64.
///
/// # Errors
///
/// `runtime-failed` if a logit is not a finite number.
pub fn top(logits: &[f32], count: usize, labels: &[String]) -> Result<Vec<Guess>, Error> {
    if let Some((index, value)) = logits.iter().enumerate().find(|(_, value)| !value.is_finite()) {
        let message = format!("the model's output for class {index} is {value}: it cannot be ranked");
        return Err(Error::new(Kind::RuntimeFailed, message, "check the model and its preprocessing"));
    }
    let mut order: Vec<usize> = (0..logits.len()).collect();
    let better = |a: &usize, b: &usize| logits[*b].total_cmp(&logits[*a]).then(a.cmp(b));
    if count < order.len() {
        order.select_nth_unstable_by(count, better);
        order.truncate(count);
    }
    order.sort_unstable_by(better);
    let max = order.first().map_or(0.0, |&best| f64::from(logits[best]));
    let sum: f64 = logits.iter().map(|&logit| (f64::from(logit) - max).exp()).sum();
    let guess = |index: usize| Guess {
        index,
        confidence: (f64::from(logits[index]) - max).exp() / sum,
        label: labels.get(index).cloned(),
    };
    Ok(order.into_iter().map(guess).collect())
}

/// Reads the labels in the text file `path`: line `i` names class `i`.
///
/// # Errors
///
/// `bad-request`, naming the file.
pub fn read_labels(path: &Path) -> Result<Vec<String>, Error> {
    let mut bytes = Vec::new();
    let read = read::read(path, MOST_LABEL_BYTES, &mut bytes).map_err(|error| error.to_string());
    let text = read.and_then(|()| String::from_utf8(bytes).map_err(|error| error.to_string()));
    let unreadable = |error| bad_request(format!("cannot read the labels {}: {error}", path.display()));
    Ok(text.map_err(unreadable)?.lines().map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn equal_logits_are_ordered_by_index_and_labelled() {
        let labels = ["a".to_owned(), "b".to_owned()];
        let guesses = top(&[1.0, 2.0, 2.0], 2, &labels).expect("guesses");
        assert_eq!(guesses.iter().map(|guess| guess.index).collect::<Vec<_>>(), [1, 2]);
        assert_eq!(guesses[0].label.as_deref(), Some("b"));
        assert_eq!(guesses[1].label, None);
    }

    #[test]
    fn what_is_not_a_number_is_an_error() {
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let error = top(&[0.0, bad], 1, &[]).expect_err("not a number");
            assert!(error.message.contains("class 1"), "{error}");
        }
    }

    proptest! {
        #[test]
        fn softmax_sums_to_one_and_falls(logits in prop::collection::vec(-80_f32..80.0, 1..50), shift in -5_f32..5.0) {
            let all = top(&logits, logits.len(), &[]).expect("guesses");
            let sum: f64 = all.iter().map(|guess| guess.confidence).sum();
            prop_assert!((sum - 1.0).abs() < 1e-9);
            prop_assert!(all.windows(2).all(|pair| pair[0].confidence >= pair[1].confidence));
            let best = top(&logits, 3, &[]).expect("guesses");
            prop_assert_eq!(&best[..], &all[..best.len()]);
            let shifted: Vec<f32> = logits.iter().map(|logit| logit + shift).collect();
            let moved = top(&shifted, 1, &[]).expect("guesses");
            prop_assert!((moved[0].confidence - all[0].confidence).abs() < 1e-3);
        }
    }
}
