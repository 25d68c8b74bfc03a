//! NVIDIA's libraries, loaded on demand: querying the GPU, and copies to and from its memory.

#![allow(unsafe_code)]

mod copies;
mod driver;
mod libraries;

pub use copies::Copies;
pub use driver::{Gpu, describe, gpu};
pub use libraries::load;

#[cfg(test)]
pub(crate) use copies::tests;

/// Index of the GPU in use: the first one visible to this process.
pub const DEVICE: i32 = 0;
