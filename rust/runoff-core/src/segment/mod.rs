//! Promptable segmentation without a runtime: what comes before and after the networks.
//!
//! Pictures become the encoder's input ([`picture`]), prompts, grids and crops the decoder's ([`prompt`], [`grid`],
//! [`frame`]). The decoder's low-resolution logits become masks one at a time and column by column, without a picture of
//! floats ([`upscale`], [`rle`]); duplicates and small regions are removed ([`nms`], [`regions`], [`sieve`]).
//!
//! The results are those of segment-anything 1.0, in the same order: Kirillov et al., Segment Anything, 2023, appendix B.

pub mod frame;
pub mod grid;
pub mod nms;
pub mod picture;
pub mod prompt;
pub mod regions;
pub mod rle;
pub mod sieve;
pub mod upscale;
