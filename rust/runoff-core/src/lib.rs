//! What runoff's native runners share: the runner protocol, timing, preprocessing and ONNX Runtime sessions.
//!
//! The crate knows nothing of Python. `runoff-ort` makes a program of it, `runoff-py` an extension module.

#![deny(unsafe_code)]

pub mod classify;
pub mod clock;
pub mod error;
pub mod image;
pub mod memory;
pub mod preprocess;
pub mod protocol;
pub mod runner;
pub mod runtime;
pub mod session;
pub mod tensor;
pub mod topk;

pub use error::{Error, Kind};
