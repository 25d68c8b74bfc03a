//! What runoff's native programs share beside ONNX Runtime: the runner protocol, images and their preprocessing, tensor
//! files, classification, and clocks.
//!
//! Sessions are in `runoff-session`. Neither crate depends on Python: `runoff-ort` builds programs from both, `runoff-py` an
//! extension module.

#![deny(unsafe_code)]

pub mod classify;
pub mod clock;
pub mod image;
pub mod memory;
pub mod preprocess;
pub mod protocol;
mod resize;
pub mod segment;
pub mod segmenter;
pub mod tensor_file;
pub mod topk;
