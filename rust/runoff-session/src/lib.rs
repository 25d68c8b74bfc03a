//! ONNX Runtime sessions, for programs that load a model and run it with little cost per call.
//!
//! - The library is loaded at run time: one program works with every release of ONNX Runtime since 1.21, such as that of
//!   the Python package `onnxruntime`. This crate builds on `ort`, and shows none of its types.
//! - [`Session::run`] takes `&self`: any number of threads share a session, without locks.
//! - A [`Value`] lies on the program's own memory, without a copy. The borrow checker knows which outputs lie on inputs.
//! - [`Settings`] are plain data, also in JSON; [`profile`] has some by name. A [`Builder`] takes what is less usual.
//! - On a GPU, [`Buffers`] keep inputs and outputs in its memory; [`dlpack`] exchanges them with other libraries.
//! - [`prepare`] optimises a model once for this machine, for files that are mapped and used in place.
//! - An [`Error`] has a kind, a message of one line, and a hint what to do next.
//!
//! # Example
//!
//! ```
//! use std::path::Path;
//!
//! use runoff_session::{Buffer, Dtype, RawTensor, Runtime, Session, Settings, Value, find_library};
//!
//! # fn main() -> Result<(), runoff_session::Error> {
//! // the file in RUNOFF_ORT_DYLIB, or that of the package onnxruntime in the active Python environment
//! let runtime = Runtime::load(&find_library(None)?)?;
//! let environment = runtime.make_environment()?;
//! let settings = Settings { spinning: Some(false), ..Settings::default() };
//! // a model that computes the mean of each channel
//! let session = Session::open(&environment, Path::new("tests/data/means.onnx"), &settings)?;
//!
//! let shape = [1, 3, 8, 8];
//! let mut elements = Buffer::for_shape(Dtype::Float32, &shape)?;
//! elements.floats_mut().fill(0.5);
//! let outputs = session.run(&[Value::over(Dtype::Float32, &shape, elements.bytes())?])?;
//! let means = RawTensor::copy_of(&outputs[0], &session.outputs()[0].name)?;
//! assert_eq!(means.to_f32(), Some(vec![0.5; 3]));
//! # Ok(())
//! # }
//! ```

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
    ArenaStatistics, Buffers, Builder, CPU, Choice, Initializer, Metadata, PRECISIONS, PREPARED, Parts, Results,
    RunOptions, Session, Source, TensorSpec, ValueInfo, ValueType, empty_sequence, providers, show_shape,
    unavailable_providers,
};
pub use settings::{Execution, OnnxWord, Optimization, Prepared, Settings, Teardown};
pub use tensor::{Buffer, RawTensor};
pub use threads::{HELPER_THREAD, thread_count};
pub use value::{Dimensions, Form, TensorView, Value};
