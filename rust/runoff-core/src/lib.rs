//! Core of runoff's native runners: the runner protocol, timing, preprocessing and ONNX Runtime sessions.
//!
//! The crate does not depend on Python. `runoff-ort` builds a program from it, `runoff-py` an extension module.

#![deny(unsafe_code)]

pub mod classify;
pub mod clock;
mod code_pages;
pub mod cuda;
pub mod dlpack;
pub mod dtype;
pub mod environment;
pub mod error;
mod handles;
pub mod image;
mod mapping;
pub mod memory;
pub mod onnx;
pub mod prepare;
pub mod preprocess;
pub mod profile;
pub mod protocol;
pub mod read;
pub mod runtime;
pub mod session;
mod status;
pub mod tensor;
pub mod topk;
pub mod value;

pub use error::{Error, Kind};
