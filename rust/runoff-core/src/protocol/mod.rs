//! The runner protocol, version 1, as defined in `protocol/README.md`.

mod files;
mod request;
mod result;
mod segment;

use runoff_session::{Error, Kind};

pub use files::{parse_word, read_request, write_atomically, write_result};
pub use request::{
    Accuracy, Interpolation, Item, Latency, Load, Mappings, Measure, ModelFile, Once, Operators, Preprocess, Request,
    TensorFile, Transport, Turns, Workload,
};
pub use result::{
    Arena, Capabilities, Effective, Guess, Memory, Node, Phase, Profile, RunResult, Status, Timings, Unavailable,
    WrittenTensor,
};
pub use segment::{Mask, Prompt, Segment, Segmentation};

/// The protocol version that this crate supports.
pub const VERSION: u32 = 1;

/// An invalid request.
pub fn bad_request(message: impl AsRef<str>) -> Error {
    Error::new(Kind::BadRequest, message, "the fields of a request are described in protocol/README.md")
}
