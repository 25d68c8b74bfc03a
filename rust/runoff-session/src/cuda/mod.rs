//! NVIDIA's GPUs: their libraries, loaded on demand, queries of the driver, and copies to and from their memory.

#![allow(unsafe_code)]

mod copies;
mod driver;
mod libraries;

pub(crate) use copies::Copies;
pub(crate) use driver::{describe, gpu};
pub(crate) use libraries::load;

#[cfg(test)]
pub(crate) use copies::tests;

/// Index of the GPU that sessions use unless a [`Choice`](crate::Choice) names another: the first one visible to this
/// process.
pub const DEVICE: i32 = 0;
