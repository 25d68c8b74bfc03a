//! Preprocessing: from an image file to the model's input tensor.

use std::ops::Range;
use std::path::Path;

use fast_image_resize::images::TypedImage;
use fast_image_resize::pixels::U8x3;
use fast_image_resize::{FilterType, ImageView};
use runoff_session::{Error, Kind};

use crate::image::{Decoder, MAX_PIXELS, Part, Pixels};
use crate::memory::try_resize;
use crate::protocol::{Interpolation, Preprocess};
use crate::resize::{TwoPass, is_down_first};

/// A range along one side of the source image, in source pixels.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Span {
    /// Start of the range.
    pub start: f64,
    /// Length of the range.
    pub length: f64,
}

/// Finds the range of a side of `side` pixels that remains after resizing the shorter side, `shorter`, to `resize` and
/// cropping `crop` pixels from the middle.
///
/// Resizing only this part gives the same pixels as resizing everything and then cropping: the scale is the same, and
/// the filter still reads the pixels around the part.
#[must_use]
pub fn kept_span(side: u32, shorter: u32, resize: u32, crop: u32) -> Span {
    let resized = u64::from(resize) * u64::from(side) / u64::from(shorter);
    let offset = resized.saturating_sub(u64::from(crop)) / 2;
    let scale = f64::from(side) / to_f64(resized);
    let start = to_f64(offset) * scale;
    Span { start, length: (f64::from(crop) * scale).min(f64::from(side) - start) }
}

#[expect(clippy::cast_precision_loss, reason = "a side has at most 2^32 * 2^32 / 1 pixels only in theory")]
fn to_f64(pixels: u64) -> f64 {
    pixels as f64
}

/// Preprocesses images one after another, reusing its buffers.
#[derive(Debug)]
pub struct Preprocessor {
    decoder: Decoder,
    passes: TwoPass,
    shorter: u32,
    cropped: TypedImage<'static, U8x3>,
    /// `(value - mean) / std` for every byte value of every channel.
    normalised: Box<[[f32; 256]; 3]>,
}

impl Preprocessor {
    /// Creates a preprocessor for `spec`.
    ///
    /// # Errors
    ///
    /// `bad-request` if `spec` contradicts itself, keeps more than [`MAX_PIXELS`] pixels, or needs too much memory.
    pub fn new(spec: &Preprocess) -> Result<Self, Error> {
        spec.check()?;
        let filter = match spec.interpolation {
            Interpolation::Bilinear => FilterType::Bilinear,
            Interpolation::Bicubic => FilterType::CatmullRom,
        };
        let crop = spec.crop.get();
        let cropped = empty(crop).ok_or_else(|| {
            let message = format!("preprocess.crop is {crop}: {crop} x {crop} pixels are too many");
            Error::new(Kind::BadRequest, message, format!("use a crop of at most {MAX_PIXELS} pixels in all"))
        })?;
        Ok(Self {
            decoder: Decoder::default(),
            passes: TwoPass::new(filter),
            shorter: spec.resize.get(),
            cropped,
            normalised: Box::new(normalisation(&spec.mean, &spec.std)),
        })
    }

    /// Refuses images of more than `most` pixels, if that is below [`MAX_PIXELS`].
    #[must_use]
    pub fn with_limit(self, most: u64) -> Self {
        Self { decoder: self.decoder.with_limit(most), ..self }
    }

    /// Length of one image's tensor, in elements: `3 * crop * crop`.
    #[must_use]
    pub fn tensor_len(&self) -> usize {
        3 * self.cropped.pixels().len()
    }

    /// Size of the reused buffers, in bytes.
    #[must_use]
    pub fn buffered_bytes(&self) -> usize {
        self.decoder.buffered_bytes() + self.passes.buffered_bytes()
    }

    /// Side of the cropped square, in pixels.
    #[must_use]
    pub fn crop(&self) -> usize {
        usize::try_from(self.cropped.width()).unwrap_or(usize::MAX)
    }

    /// Reads, decodes, resizes, crops and normalises the image in the file `path` into `tensor`.
    ///
    /// `tensor` holds float32, CHW, RGB: `tensor_len()` elements.
    ///
    /// # Errors
    ///
    /// `image-missing`, `image-unreadable` or `image-too-large`.
    ///
    /// # Panics
    ///
    /// If `tensor` has a different length.
    pub fn load(&mut self, path: &Path, tensor: &mut [f32]) -> Result<(), Error> {
        assert_eq!(tensor.len(), self.tensor_len(), "a tensor of another size");
        self.resize(path, None)?;
        normalise(self.cropped.pixels(), &self.normalised, tensor);
        Ok(())
    }

    /// As [`Self::load`], from the contents of a file, which messages call `path` unless that is empty.
    ///
    /// # Errors
    ///
    /// `image-unreadable` or `image-too-large`.
    ///
    /// # Panics
    ///
    /// As [`Self::load`].
    pub fn load_bytes(&mut self, bytes: &[u8], path: &Path, tensor: &mut [f32]) -> Result<(), Error> {
        assert_eq!(tensor.len(), self.tensor_len(), "a tensor of another size");
        self.resize(path, Some(bytes))?;
        normalise(self.cropped.pixels(), &self.normalised, tensor);
        Ok(())
    }

    /// Decodes the image in `path`, or in `bytes` if they are given, and resizes the part to keep into `self.cropped`.
    ///
    /// The two directions are resized one after the other, rounded to bytes, in Pillow's order. The other order clips
    /// overshoots of the bicubic filter at other pixels, and differs by up to 20 of 255.
    fn resize(&mut self, path: &Path, bytes: Option<&[u8]>) -> Result<(), Error> {
        let (shorter, crop) = (self.shorter, self.cropped.width());
        let keep = |width, height| kept_part(width, height, shorter, crop);
        let decoded = match bytes {
            Some(bytes) => self.decoder.decode_bytes(bytes, path, keep),
            None => self.decoder.open(path, keep),
        };
        let Pixels { width, height, part, bytes } = decoded?;
        let kept = |side, before, count| {
            let span = kept_span(side, width.min(height), shorter, crop);
            let start = span.start - f64::from(before);
            Span { start, length: span.length.min(f64::from(count) - start) }
        };
        let (across, down) = (kept(width, part.left, part.width), kept(height, part.top, part.height));
        let down_first = is_down_first((width, height), (crop, crop));
        let (leading, trailing, side) =
            if down_first { (down, across, part.width) } else { (across, down, part.height) };
        let seen = reach(trailing, crop, side);
        let count = seen.end - seen.start;
        let all = Span { start: f64::from(seen.start), length: f64::from(count) };
        let start = trailing.start - all.start;
        let rest = Span { start, length: trailing.length.min(all.length - start) };
        let full = Span { start: 0.0, length: f64::from(crop) };
        let (first, second, narrow) = if down_first {
            ((all, leading), (rest, full), (count, crop))
        } else {
            ((leading, all), (full, rest), (crop, count))
        };
        let source = (part.width, part.height, bytes);
        let resized = self.passes.run(source, first, narrow, second, &mut self.cropped);
        resized.map_err(|error| Error::new(error.kind, format!("{}: {}", path.display(), error.message), error.hint))
    }
}

/// The pixels that a filter reads to resize the shorter side to `resize` and crop `crop` pixels from the middle.
fn kept_part(width: u32, height: u32, resize: u32, crop: u32) -> Part {
    let seen = |side| reach(kept_span(side, width.min(height), resize, crop), crop, side);
    let (across, down) = (seen(width), seen(height));
    Part { left: across.start, top: down.start, width: across.end - across.start, height: down.end - down.start }
}

/// A black image of `side` x `side` pixels; `None` if that is too large.
fn empty(side: u32) -> Option<TypedImage<'static, U8x3>> {
    let count = u64::from(side) * u64::from(side);
    let (count, mut pixels) = (usize::try_from(count).ok().filter(|_| count <= MAX_PIXELS)?, Vec::new());
    try_resize(&mut pixels, count, U8x3::new([0; 3])).ok()?;
    TypedImage::from_pixels(side, side, pixels).ok()
}

/// The source pixels that a filter reads to resize `span` to `crop` pixels; `side` limits them.
///
/// The widest filter has a radius of two target pixels, or two source pixels if the image is enlarged. One pixel is
/// added for safety.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to 0..=side")]
fn reach(span: Span, crop: u32, side: u32) -> Range<u32> {
    let radius = 2.0 * (span.length / f64::from(crop)).max(1.0) + 1.0;
    let clamp = |edge: f64| edge.clamp(0.0, f64::from(side)) as u32;
    clamp((span.start - radius).floor())..clamp((span.start + span.length + radius).ceil())
}

/// Table of `(value - mean) / std` in float32, with the same rounding as `NumPy`.
#[expect(clippy::cast_possible_truncation, reason = "tensors are float32")]
pub(crate) fn normalisation(mean: &[f64; 3], std: &[f64; 3]) -> [[f32; 256]; 3] {
    let mut table = [[0.0; 256]; 3];
    for ((row, &mean), &std) in table.iter_mut().zip(mean).zip(std) {
        for (entry, value) in row.iter_mut().zip(0..=u8::MAX) {
            *entry = (f32::from(value) - mean as f32) / std as f32;
        }
    }
    table
}

/// Converts interleaved bytes to planar normalised floats in one pass.
fn normalise(pixels: &[U8x3], table: &[[f32; 256]; 3], tensor: &mut [f32]) {
    let plane = tensor.len() / 3;
    let (red, rest) = tensor.split_at_mut(plane);
    let (green, blue) = rest.split_at_mut(plane);
    for (((pixel, red), green), blue) in pixels.iter().zip(red).zip(green).zip(blue) {
        *red = table[0][usize::from(pixel.0[0])];
        *green = table[1][usize::from(pixel.0[1])];
        *blue = table[2][usize::from(pixel.0[2])];
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use proptest::prelude::*;

    use super::*;

    fn spec(resize: u32, crop: u32) -> Preprocess {
        Preprocess {
            resize: NonZeroU32::new(resize).expect("not zero"),
            crop: NonZeroU32::new(crop).expect("not zero"),
            interpolation: Interpolation::Bicubic,
            mean: [10.0, 20.0, 30.0],
            std: [2.0, 4.0, 8.0],
        }
    }

    #[test]
    fn the_span_of_a_known_photo() {
        // 640x427 to 383x256 to 224x224: offsets (383 - 224) // 2 = 79 and (256 - 224) // 2 = 16.
        let across = kept_span(640, 427, 256, 224);
        assert!((across.start - 79.0 * 640.0 / 383.0).abs() < 1e-9);
        assert!((across.length - 224.0 * 640.0 / 383.0).abs() < 1e-9);
        let down = kept_span(427, 427, 256, 224);
        assert!((down.start - 16.0 * 427.0 / 256.0).abs() < 1e-9);
    }

    #[test]
    fn normalised_values_are_planar() {
        let mut tensor = [0.0; 6];
        let Preprocess { mean, std, .. } = spec(2, 1);
        normalise(&[U8x3::new([10, 20, 30]), U8x3::new([12, 28, 46])], &normalisation(&mean, &std), &mut tensor);
        assert_eq!(tensor.map(f32::to_bits), [0.0_f32, 1.0, 0.0, 2.0, 0.0, 2.0].map(f32::to_bits));
    }

    #[test]
    fn a_crop_larger_than_the_image_is_refused() {
        let error = Preprocessor::new(&spec(100, 101)).expect_err("too large");
        assert_eq!(error.kind, Kind::BadRequest);
        assert!(error.message.contains("preprocess.crop"));
    }

    #[test]
    fn a_crop_of_more_pixels_than_an_image_has_is_refused() {
        for side in [13_378, 200_000, u32::MAX] {
            let error = Preprocessor::new(&spec(side, side)).expect_err("too large");
            assert_eq!(error.kind, Kind::BadRequest);
            assert!(error.message.contains(&format!("preprocess.crop is {side}")), "{error}");
        }
    }

    #[test]
    fn an_even_image_stays_even() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("even.png");
        let file = std::fs::File::create(&path).expect("a file");
        let mut encoder = png::Encoder::new(file, 50, 31);
        encoder.set_color(png::ColorType::Rgb);
        let mut writer = encoder.write_header().expect("a header");
        writer.write_image_data(&[50, 60, 70].repeat(50 * 31)).expect("data");
        writer.finish().expect("an end");
        let mut tensor = vec![0.0; 3 * 8 * 8];
        Preprocessor::new(&spec(12, 8)).expect("a spec").load(&path, &mut tensor).expect("a tensor");
        assert_eq!(tensor, [[20.0_f32; 64], [10.0; 64], [5.0; 64]].concat());
    }

    proptest! {
        #[test]
        fn the_span_lies_inside_and_in_the_middle(
            width in 1_u32..5_000, height in 1_u32..5_000, resize in 1_u32..600, percent in 1_u32..=100,
        ) {
            let crop = (resize * percent / 100).max(1);
            let shorter = width.min(height);
            for side in [width, height] {
                let Span { start, length } = kept_span(side, shorter, resize, crop);
                prop_assert!(start >= 0.0 && length > 0.0);
                prop_assert!(start + length <= f64::from(side) * (1.0 + 1e-12));
                // The two margins differ by at most one resized pixel.
                let resized = f64::from(resize * side / shorter);
                let scale = f64::from(side) / resized;
                let after = f64::from(side) - start - length;
                prop_assert!(((after - start) / scale).abs() <= 1.0 + 1e-6);
                prop_assert!((length - f64::from(crop) * scale).abs() < 1e-6 * f64::from(side));
            }
        }
    }
}
