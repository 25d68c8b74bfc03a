//! The runner protocol, version 1, as defined in `protocol/README.md`.

mod files;
mod request;
mod result;

pub use files::{parse_word, read_request, write_atomically, write_result};
pub use request::{
    Accuracy, Execution, Interpolation, Item, Latency, Measure, ModelFile, Once, Optimization, Preprocess, Request,
    Settings, Teardown, TensorFile, TensorSpec, Turns, Workload,
};
pub use result::{
    Capabilities, Effective, Guess, Memory, Phase, RunResult, Status, Timings, Unavailable, WrittenTensor,
};

/// The protocol version that this crate supports.
pub const VERSION: u32 = 1;
