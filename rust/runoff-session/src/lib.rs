//! ONNX Runtime sessions from Rust.

#![deny(unsafe_code)]

mod code_pages;
pub mod cuda;
pub mod dlpack;
mod dtype;
mod environment;
mod error;
mod handles;
mod mapping;
pub mod onnx;
pub mod prepare;
pub mod profile;
pub mod read;
mod runtime;
mod session;
mod settings;
mod status;
mod tensor;
mod threads;
mod value;

pub use dtype::Dtype;
pub use environment::{Environment, LogLevel};
pub use error::{Error, Kind};
pub use runtime::{LIBRARY_VARIABLE, Runtime, built_in_providers, find_library, library_from_env, library_in_wheel};
pub use session::{
    Buffers, Builder, CPU, Choice, Initializer, Metadata, PRECISIONS, PREPARED, Parts, Results, RunOptions, Session,
    Source, TensorSpec, ValueInfo, ValueType, empty_sequence, providers, show_shape, unavailable_providers,
};
pub use settings::{Execution, Optimization, Settings, Teardown};
pub use tensor::{Buffer, RawTensor};
pub use threads::HELPER_THREAD;
pub use value::{Dimensions, Form, TensorView, Value};
