//! The best classes of a row of logits.

use std::path::Path;

use serde_json::{Value, json};

use crate::failure::Failure;
use crate::image::read_file;

/// Reads a text file with one label per line; returns no labels without a path.
///
/// # Errors
///
/// `bad-request`, naming the file.
pub fn read(path: Option<&Path>) -> Result<Vec<String>, Failure> {
    let Some(path) = path else { return Ok(Vec::new()) };
    let bytes = read_file(path).map_err(|error| error.to_string());
    let text = bytes.and_then(|bytes| String::from_utf8(bytes).map_err(|error| error.to_string()));
    let unreadable = |error| Failure::bad_request(format!("labels: cannot read {}: {error}", path.display()));
    Ok(text.map_err(unreadable)?.lines().map(str::to_owned).collect())
}

/// Returns the `count` best classes of `logits`, best first, with their softmax over all logits.
///
/// # Errors
///
/// `runtime-failed` if a logit is not a finite number.
pub fn top(logits: &[f32], count: usize, labels: &[String]) -> Result<Vec<Value>, Failure> {
    if !logits.iter().all(|logit| logit.is_finite()) {
        let message = "the model's output holds infinity or NaN";
        return Err(Failure::new("runtime-failed", message, "check the model and its preprocessing"));
    }
    let mut order: Vec<usize> = (0..logits.len()).collect();
    order.sort_by(|&a, &b| logits[b].total_cmp(&logits[a]));
    let max = order.first().map_or(0.0, |&best| f64::from(logits[best]));
    let sum: f64 = logits.iter().map(|&logit| (f64::from(logit) - max).exp()).sum();
    let guess = |index: usize| {
        let confidence = (f64::from(logits[index]) - max).exp() / sum;
        json!({"index": index, "confidence": confidence, "label": labels.get(index)})
    };
    Ok(order.into_iter().take(count).map(guess).collect())
}
