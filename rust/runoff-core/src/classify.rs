//! Image classification for programs other than runners.

use std::path::Path;

use runoff_session::{Buffer, Dtype, Error, Kind, RawTensor, Session, Value};

use crate::preprocess::Preprocessor;
use crate::protocol::Guess;
use crate::topk;

/// Classifies the images in the files `images` in one inference; returns the `top` best classes of each, best first.
///
/// The model has one input, float32 of shape `[images, 3, crop, crop]`, and its first output holds the logits.
///
/// # Errors
///
/// Errors of [`check`], [`Preprocessor::load`] and [`rank`].
pub fn classify(
    session: &Session,
    preprocessor: &mut Preprocessor,
    images: &[impl AsRef<Path>],
    top: usize,
    labels: &[String],
) -> Result<Vec<Vec<Guess>>, Error> {
    let (count, side, len) = (images.len(), preprocessor.crop(), preprocessor.tensor_len());
    check(session, count, side)?;
    let mut elements = Buffer::for_shape(Dtype::Float32, &[count, 3, side, side])?;
    for (part, image) in elements.floats_mut().chunks_exact_mut(len).zip(images) {
        preprocessor.load(image.as_ref(), part)?;
    }
    rank(session, &elements, count, side, top, labels)
}

/// Checks that the model takes `count` images of `side` x `side` pixels.
///
/// # Errors
///
/// `model-mismatch` if it does not.
pub fn check(session: &Session, count: usize, side: usize) -> Result<(), Error> {
    let [_] = session.inputs() else {
        return Err(unfit(&format!("{} inputs, classification needs one", session.inputs().len())));
    };
    let dims = [count, 3, side, side].map(|side| i64::try_from(side).unwrap_or(i64::MAX));
    session.check_tensor(0, Dtype::Float32, &dims)
}

/// Classifies `count` preprocessed images in one inference; returns the `top` best classes of each, best first.
///
/// `elements` holds float32 of shape `[count, 3, side, side]`, as checked by [`check`].
///
/// # Errors
///
/// Errors of [`Session::run`] and [`topk::top`]; `model-mismatch` if the first output is not a row of float32 for
/// each image.
pub fn rank(
    session: &Session,
    elements: &Buffer,
    count: usize,
    side: usize,
    top: usize,
    labels: &[String],
) -> Result<Vec<Vec<Guess>>, Error> {
    let outputs = session.run(&[Value::over(Dtype::Float32, &[count, 3, side, side], elements.bytes())?])?;
    let first = outputs.first().ok_or_else(|| unfit("no output"))?;
    let output = RawTensor::copy_of(first, "the first output")?;
    let logits = output.to_f32().ok_or_else(|| unfit(&format!("the first output is {}", output.dtype.name())))?;
    if count == 0 || output.shape.first() != Some(&count) || logits.is_empty() {
        return Err(unfit(&format!("the first output has shape {:?}, without a row per image", output.shape)));
    }
    logits.chunks(logits.len() / count).map(|row| topk::top(row, top, labels)).collect()
}

fn unfit(what: &str) -> Error {
    let message = format!("the model does not classify images: {what}");
    Error::new(Kind::ModelMismatch, message, "use a model from one image tensor to float32 logits")
}
