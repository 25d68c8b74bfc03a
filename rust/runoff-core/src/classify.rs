//! One image to its best classes, for programs that are not runners.

use std::path::Path;

use ort::session::SessionInputValue;
use ort::value::{DynValue, TensorRef};

use crate::error::{Error, Kind};
use crate::preprocess::Preprocessor;
use crate::protocol::Guess;
use crate::session::Session;
use crate::tensor::RawTensor;
use crate::topk;

/// Classifies the image in the file `image`; returns the `top` best classes, best first.
///
/// The model has one input, float32 of shape `[1, 3, crop, crop]`, and its first output holds the logits.
///
/// # Errors
///
/// Those of [`Preprocessor::load`], [`Session::run_named`] and [`topk::top`].
pub fn classify(
    session: &mut Session,
    preprocessor: &mut Preprocessor,
    image: &Path,
    top: usize,
    labels: &[String],
) -> Result<Vec<Guess>, Error> {
    let mut tensor = vec![0.0; preprocessor.tensor_len()];
    preprocessor.load(image, &mut tensor)?;
    let side = preprocessor.crop();
    let value = TensorRef::from_array_view(([1, 3, side, side], &*tensor))
        .map_err(|error| Error::runtime("making an input tensor", &error))?;
    let name = session.inputs().first().map(|input| input.name.clone()).unwrap_or_default();
    let outputs = session.run_named(vec![(name, SessionInputValue::from(value))])?;
    topk::top(&logits(&outputs[0])?, top, labels)
}

fn logits(output: &DynValue) -> Result<Vec<f32>, Error> {
    RawTensor::copy_of(output, "the first output")?.to_f32().ok_or_else(|| {
        let message = format!("the first output is {}; classification needs float32", output.dtype());
        Error::new(Kind::ModelMismatch, message, "use a model whose first output holds the logits")
    })
}
