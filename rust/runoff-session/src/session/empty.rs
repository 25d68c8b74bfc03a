//! Empty sequences. ONNX Runtime's C API has no function for them, but one of its operators creates them.

use ort::session::Session;

use super::{ValueInfo, call};
use crate::dtype::Dtype;
use crate::environment::Environment;
use crate::error::{Error, Kind};
use crate::value::Value;

/// An ONNX file (opset 11) with the single node `y = SequenceEmpty()`. The element type is filled in at [`ELEMENT`].
const MODEL: [u8; 62] = *b"\x08\x06:4\n \x12\x01y\"\rSequenceEmpty*\x0c\n\x05dtype\x18\x00\xa0\x01\x02\x12\x01e\
    b\r\n\x01y\x12\x08\"\x06\n\x04\n\x02\x08\x00B\x04\n\x00\x10\x0b";

/// Offsets of the element type: in the node's attribute, and in the type of the output.
const ELEMENT: [usize; 2] = [34, 55];

/// Creates an empty sequence of tensors of `dtype`.
///
/// # Errors
///
/// `runtime-failed`, for instance if ONNX has no sequences of such tensors.
pub fn empty_sequence(environment: &Environment, dtype: Dtype) -> Result<Value<'static>, Error> {
    let mut model = MODEL;
    for place in ELEMENT {
        // ONNX Runtime's numbers for element types are those of ONNX, all below 128
        model[place] = dtype.to_onnx() as u8;
    }
    let session = load(environment, &model).map_err(|error| Error::runtime("making an empty sequence", &error))?;
    let outputs: Vec<ValueInfo> = session.outputs().iter().map(ValueInfo::of).collect();
    let mut results = [None];
    call::run(&session, None, (std::iter::empty(), &[]), (outputs.iter(), &mut results))?;
    let [made] = results;
    made.ok_or_else(|| Error::new(Kind::Internal, "SequenceEmpty returned nothing", "report this"))
}

fn load(environment: &Environment, model: &[u8]) -> ort::Result<Session> {
    Session::builder(&environment.0)?.with_intra_threads(1)?.commit_from_memory(model)
}
