//! The part of `classify` that this runner supports.

use runoff_core::protocol::{Measure, Preprocess, Request, bad_request};
use runoff_session::{CPU, Error, Kind};

/// Maximum side of the model's input: its square is the maximum size of an image.
const MAX_CROP: u32 = 13_377;
/// Supported settings of a session.
pub const SETTINGS: [&str; 7] =
    ["threads", "optimization", "spinning", "spin_duration_us", "spin_backoff_max", "arena", "prepacking"];
/// Supported settings of the program.
pub const OWN_SETTINGS: [&str; 3] = ["teardown", "overlap", "prepared"];
/// Precisions that a model's file may be in.
pub const PRECISIONS: [&str; 5] = ["fp32", "fp16", "bf16", "int8", "int8-static"];

/// Checks that this runner supports the `classify` request; returns its preprocessing.
///
/// # Errors
///
/// `bad-request`, naming the field; `provider-unavailable`.
pub fn check(request: &Request) -> Result<Preprocess, Error> {
    let settings = &request.settings;
    let preprocess = request.preprocess.clone().ok_or_else(|| bad_request("preprocess is missing"))?;
    if !matches!(request.measure, Measure::Once(_) | Measure::Accuracy(_) | Measure::Turns(_)) {
        return Err(bad_request("measure.kind: of classify, this runner does once, accuracy and turns, not latency"));
    }
    if settings.batch.get() != 1 {
        return Err(bad_request("settings.batch: this runner classifies in batches of 1"));
    }
    let crop = preprocess.crop.get();
    if crop > MAX_CROP {
        return Err(bad_request(format!("preprocess.crop: {crop}, the largest is {MAX_CROP}")));
    }
    if !request.outputs_dir.is_dir() {
        let shown = request.outputs_dir.display();
        return Err(bad_request(format!("outputs_dir: no such folder: {shown}")));
    }
    if settings.provider != CPU {
        let message = "settings.provider: this runner computes on the provider cpu";
        return Err(Error::new(Kind::ProviderUnavailable, message, "set provider = \"cpu\""));
    }
    if !PRECISIONS.contains(&&*settings.precision) {
        let message = format!("settings.precision: is not one of {}", PRECISIONS.join(", "));
        return Err(Error::new(Kind::ProviderUnavailable, message, "set precision = \"fp32\""));
    }
    Ok(preprocess)
}
