//! NVIDIA's libraries, found and loaded on demand: the GPU, and copies to and from its memory.

#![allow(unsafe_code)]

mod copies;
mod driver;
mod libraries;

pub use copies::Copies;
pub use driver::{Gpu, describe, gpu};
pub use libraries::load;

#[cfg(test)]
pub(crate) use copies::tests;

/// The GPU that is used: the first of those that the driver shows this process.
pub const DEVICE: i32 = 0;
