//! Checks of a model's file against the request, and the failures of engines.

use std::path::Path;

use runoff_core::protocol::Request;
use runoff_core::tensor_file;
use runoff_session::{Dtype, Error, Kind, TensorSpec, show_shape};

use crate::feed::Input;

/// Next step for a model that an engine cannot run.
const ANOTHER: &str = "use the target ort-rust";

/// Next step for a model's file that is missing or damaged.
const AGAIN: &str = "export or add the model again (runoff list models)";

/// Checks that the model's file exists.
pub(crate) fn check_file(path: &Path) -> Result<(), Error> {
    if path.is_file() {
        return Ok(());
    }
    Err(Error::new(Kind::ModelMissing, format!("model.path: no such file: {}", path.display()), AGAIN))
}

/// Checks that a model, whose inputs were `found` in its file, has exactly the `expected` ones of the request.
///
/// # Errors
///
/// `type-unsupported` for one of a type that tensor files do not hold; `model-mismatch`.
pub fn check_inputs(found: &[TensorSpec], expected: &[TensorSpec]) -> Result<(), Error> {
    let is_readable = |spec: &TensorSpec| Dtype::parse(&spec.dtype).is_some_and(tensor_file::has);
    if let Some(spec) = found.iter().find(|spec| !is_readable(spec)) {
        return Err(tensor_file::unsupported("input", &spec.name, &spec.dtype));
    }
    let mismatch =
        |message| Err(Error::new(Kind::ModelMismatch, message, "compare the request with the model's inputs"));
    let own = |spec: &TensorSpec| found.iter().find(|own| own.name == spec.name);
    if found.len() != expected.len() || expected.iter().any(|spec| own(spec).is_none()) {
        let names = |specs: &[TensorSpec]| specs.iter().map(|spec| spec.name.clone()).collect::<Vec<_>>().join(", ");
        return mismatch(format!("model.inputs: names {}; the file has {}", names(expected), names(found)));
    }
    for (spec, own) in expected.iter().filter_map(|spec| Some((spec, own(spec)?))) {
        if own.dtype != spec.dtype || !own.agrees_with(spec) {
            let show = |spec: &TensorSpec| format!("{} {}", spec.dtype, show_shape(&spec.shape));
            return mismatch(format!("model.inputs: {:?} is {}; in the file {}", spec.name, show(spec), show(own)));
        }
    }
    Ok(())
}

/// Names and places of the outputs that a request names, or if it names none, of all: `names` are those of the file.
///
/// # Errors
///
/// `model-mismatch`.
pub fn choose_outputs(wanted: &[TensorSpec], names: &[String]) -> Result<Vec<(String, usize)>, Error> {
    if wanted.is_empty() {
        return Ok(names.iter().cloned().zip(0..).collect());
    }
    let place = |spec: &TensorSpec| {
        let place = names.iter().position(|name| *name == spec.name);
        place.map(|place| (spec.name.clone(), place)).ok_or_else(|| no_output(&spec.name, names))
    };
    wanted.iter().map(place).collect()
}

/// The failure for an output `name` of the request that the file, with the outputs `names`, does not have.
#[must_use]
pub fn no_output(name: &str, names: &[String]) -> Error {
    let message = format!("model.outputs: names {name:?}; the file has {}", names.join(", "));
    Error::new(Kind::ModelMismatch, message, "compare the request with the model's outputs")
}

/// Finds the entry for the current input shapes.
///
/// # Errors
///
/// `model-mismatch`.
pub fn find_by_shapes<'m, T>(made: &'m mut [(Vec<TensorSpec>, T)], inputs: &[Input]) -> Result<&'m mut T, Error> {
    let is_same = |spec: &TensorSpec, input: &Input| spec.shape.iter().flatten().eq(input.shape());
    let fits = |specs: &[TensorSpec]| {
        inputs.iter().all(|input| specs.iter().any(|spec| spec.name == input.name() && is_same(spec, input)))
    };
    made.iter_mut().find(|(specs, _)| fits(specs)).map(|(_, made)| made).ok_or_else(|| {
        let shapes: Vec<_> = inputs.iter().map(|input| format!("{} {:?}", input.name(), input.shape())).collect();
        let message = format!("the model was loaded for other shapes than {}", shapes.join(", "));
        Error::new(Kind::ModelMismatch, message, "compare the request with the model's inputs")
    })
}

/// The failure for a model's file that the engine cannot load.
#[must_use]
pub fn unreadable(request: &Request, reason: &str) -> Error {
    let message = format!("model.path: {} cannot be loaded: {}", request.model.path.display(), one_line(reason));
    Error::new(Kind::ModelUnreadable, message, AGAIN)
}

/// The failure for a model that the engine does not support.
#[must_use]
pub fn unsupported_model(request: &Request, reason: &str) -> Error {
    Error::new(Kind::ModelUnsupported, in_file(request, reason), ANOTHER)
}

/// The failure of an engine that computes; the model's file is named by the caller of the engine.
#[must_use]
pub fn failed(reason: &str) -> Error {
    Error::new(Kind::RuntimeFailed, one_line(reason), ANOTHER)
}

/// The same failure, with the model's file in the message if the engine failed.
pub(crate) fn name_file(request: &Request, mut error: Error) -> Error {
    if error.kind == Kind::RuntimeFailed {
        error.message = in_file(request, &error.message);
    }
    error
}

fn in_file(request: &Request, reason: &str) -> String {
    format!("model.path: {}: {}", request.model.path.display(), one_line(reason))
}

/// An error keeps the first line of its message only.
fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(name: &str, dtype: &str, shape: &[Option<usize>]) -> TensorSpec {
        TensorSpec { name: name.to_owned(), dtype: dtype.to_owned(), shape: shape.to_vec() }
    }

    #[test]
    fn inputs_are_those_of_the_request() {
        let found = [spec("x", "float32", &[None, Some(3)]), spec("rate", "int64", &[])];
        let expected = [spec("rate", "int64", &[]), spec("x", "float32", &[Some(2), None])];
        assert_eq!(check_inputs(&found, &expected), Ok(()));
        let fail =
            |found: &[TensorSpec], expected: &[TensorSpec]| check_inputs(found, expected).expect_err("a failure");
        let error = fail(&found, &expected[..1]);
        assert_eq!(error.message, "model.inputs: names rate; the file has x, rate");
        let error = fail(&found[..1], &[spec("x", "float32", &[Some(1), Some(4)])]);
        assert_eq!(error.message, "model.inputs: \"x\" is float32 [1, 4]; in the file float32 [?, 3]");
        assert_eq!(error.kind, Kind::ModelMismatch);
    }

    #[test]
    fn types_that_no_tensor_file_holds_are_unsupported() {
        for kind in ["Bf16", "complex64"] {
            let error = check_inputs(&[spec("x", kind, &[])], &[spec("y", "float32", &[])]).expect_err("no such type");
            assert_eq!(error.kind, Kind::TypeUnsupported);
            assert!(error.message.contains(&format!("input 'x' is {kind}, which")), "{error}");
        }
    }

    #[test]
    fn failures_are_one_line() {
        assert_eq!(failed("first\n  second").message, "first second");
    }
}
