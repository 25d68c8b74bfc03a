//! Resizing as Pillow does it: one direction after the other, rounded to bytes in between.

use fast_image_resize::images::{TypedImage, TypedImageRef};
use fast_image_resize::pixels::U8x3;
use fast_image_resize::{FilterType, ImageView, ResizeAlg, ResizeOptions, Resizer};
use runoff_session::{Error, Kind};

use crate::memory::try_resize;
use crate::preprocess::Span;

/// Spans of the source, across and down.
pub type Spans = (Span, Span);

/// Resizes images one after another, reusing its buffers.
#[derive(Debug)]
pub struct TwoPass {
    resizer: Resizer,
    algorithm: ResizeAlg,
    /// Result of the first pass: resized in one direction, source pixels in the other.
    narrowed: Vec<u8>,
}

impl TwoPass {
    /// Creates one for a filter.
    pub fn new(filter: FilterType) -> Self {
        Self { resizer: Resizer::new(), algorithm: ResizeAlg::Convolution(filter), narrowed: Vec::new() }
    }

    /// Size of the reused buffers, in bytes.
    pub fn buffered_bytes(&self) -> usize {
        self.narrowed.capacity() + self.resizer.size_of_internal_buffers()
    }

    /// Resizes the part `first` of the source, RGB `bytes` of `width` x `height` pixels, to `narrow`, and the part `second`
    /// of the result to `target`.
    ///
    /// # Errors
    ///
    /// `bad-request` without memory; `internal`.
    pub fn run(
        &mut self,
        (width, height, bytes): (u32, u32, &[u8]),
        first: Spans,
        narrow: (u32, u32),
        second: Spans,
        target: &mut TypedImage<'_, U8x3>,
    ) -> Result<(), Error> {
        // Typed, so the compiler instantiates the resizer for one pixel type only.
        let source = TypedImageRef::<U8x3>::from_buffer(width, height, bytes).map_err(|error| internal(&error))?;
        let len = usize::try_from(u64::from(narrow.0) * u64::from(narrow.1) * 3).unwrap_or(usize::MAX);
        try_resize(&mut self.narrowed, len, 0).map_err(|_| Error::memory("resizing an image"))?;
        let narrowed = TypedImage::<U8x3>::from_buffer(narrow.0, narrow.1, &mut self.narrowed);
        let mut narrowed = narrowed.map_err(|error| internal(&error))?;
        let options = ResizeOptions::new().resize_alg(self.algorithm);
        let part = |(across, down): Spans| options.crop(across.start, down.start, across.length, down.length);
        self.resizer.resize_typed(&source, &mut narrowed, &part(first)).map_err(|error| internal(&error))?;
        self.resizer.resize_typed(&narrowed, target, &part(second)).map_err(|error| internal(&error))
    }

    /// Resizes the source, RGB `bytes` of `width` x `height` pixels, to `target`.
    ///
    /// # Errors
    ///
    /// As [`Self::run`].
    pub fn whole(
        &mut self,
        (width, height, bytes): (u32, u32, &[u8]),
        target: &mut TypedImage<'_, U8x3>,
    ) -> Result<(), Error> {
        let all = |side: u32| Span { start: 0.0, length: f64::from(side) };
        let narrow = if is_down_first((width, height), (target.width(), target.height())) {
            (width, target.height())
        } else {
            (target.width(), height)
        };
        self.run((width, height, bytes), (all(width), all(height)), narrow, (all(narrow.0), all(narrow.1)), target)
    }
}

/// Whether Pillow resizes an image of this size, width and height, vertically first.
///
/// Determined with Pillow 13.0 and noise images of many sizes: the order shows in which pixels are clipped.
pub fn is_down_first((width, height): (u32, u32), target: (u32, u32)) -> bool {
    let beyond = |side: u32, target: u32| i64::from(side) - i64::from(target);
    height > target.1 && beyond(height, target.1) > 2 * beyond(width, target.0)
}

fn internal(error: &dyn std::error::Error) -> Error {
    Error::new(Kind::Internal, format!("cannot resize an image: {error}"), "report this")
}
