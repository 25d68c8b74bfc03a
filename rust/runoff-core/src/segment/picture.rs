//! Pictures as the encoder's input.

use fast_image_resize::FilterType;
use fast_image_resize::images::TypedImage;
use fast_image_resize::pixels::U8x3;
use runoff_session::{Error, Kind};

use super::frame::Frame;
use crate::image::Part;
use crate::memory::try_resize;
use crate::preprocess::normalisation;
use crate::protocol::Segment;
use crate::resize::TwoPass;

/// Resizes pictures into the encoder's square one after another, reusing its buffers.
#[derive(Debug)]
pub struct Fitter {
    passes: TwoPass,
    /// Pixels of the part, without gaps, if it is not the whole picture.
    cut: Vec<u8>,
    resized: Vec<u8>,
    size: u32,
    /// `(value - mean) / std` for every byte value of every channel.
    normalised: Box<[[f32; 256]; 3]>,
}

impl Fitter {
    /// Creates one for pictures of `spec`.
    #[must_use]
    pub fn new(spec: &Segment) -> Self {
        Self {
            passes: TwoPass::new(FilterType::Bilinear),
            cut: Vec::new(),
            resized: Vec::new(),
            size: spec.size.get(),
            normalised: Box::new(normalisation(&spec.mean, &spec.std)),
        }
    }

    /// Resizes the `part` of a picture `width` pixels wide, normalises it, and pads it with zeros on the right and below.
    ///
    /// `pixels` are RGB, three bytes each; `tensor` holds float32, CHW, `3 * size * size` elements.
    ///
    /// # Errors
    ///
    /// `bad-request` without memory; `internal`.
    ///
    /// # Panics
    ///
    /// If the lengths differ from that.
    pub fn fit(&mut self, pixels: &[u8], width: u32, part: Part, tensor: &mut [f32]) -> Result<(), Error> {
        let is_whole = part.width == width && pixels.len() == 3 * index(part.width) * index(part.height);
        let source = if is_whole { pixels } else { cut(pixels, width, part, &mut self.cut)? };
        let (width, height) = Frame { width: part.width, height: part.height, size: self.size }.scaled();
        try_resize(&mut self.resized, 3 * index(width) * index(height), 0).map_err(|_| Error::memory("a picture"))?;
        let target = TypedImage::<U8x3>::from_buffer(width, height, &mut self.resized);
        let failed = |error| Error::new(Kind::Internal, format!("cannot resize a picture: {error}"), "report this");
        self.passes.whole((part.width, part.height, source), &mut target.map_err(failed)?)?;
        let size = index(self.size);
        assert_eq!(tensor.len(), 3 * size * size, "a tensor of another size");
        for (channel, plane) in tensor.chunks_exact_mut(size * size).enumerate() {
            pad(&self.resized[channel..], index(width), &self.normalised[channel], plane, size);
        }
        Ok(())
    }
}

/// Copies a part of a picture.
fn cut<'a>(pixels: &[u8], width: u32, part: Part, room: &'a mut Vec<u8>) -> Result<&'a [u8], Error> {
    room.clear();
    let len = 3 * index(part.width) * index(part.height);
    room.try_reserve_exact(len).map_err(|_| Error::memory("a crop of a picture"))?;
    let rows = pixels.chunks_exact(3 * index(width)).skip(index(part.top)).take(index(part.height));
    for row in rows {
        room.extend_from_slice(&row[3 * index(part.left)..][..3 * index(part.width)]);
    }
    assert_eq!(room.len(), len, "a part of the picture");
    Ok(room)
}

/// Writes every third of `bytes`, rows of `width` pixels, to the square `plane`, normalised; the rest becomes zero.
fn pad(bytes: &[u8], width: usize, normalised: &[f32; 256], plane: &mut [f32], size: usize) {
    let mut rows = plane.chunks_exact_mut(size);
    for (values, row) in bytes.chunks(3 * width).zip(&mut rows) {
        let (filled, rest) = row.split_at_mut(width);
        for (element, &value) in filled.iter_mut().zip(values.iter().step_by(3)) {
            *element = normalised[usize::from(value)];
        }
        rest.fill(0.0);
    }
    rows.for_each(|row| row.fill(0.0));
}

/// A number of pixels as an index.
const fn index(pixels: u32) -> usize {
    pixels as usize
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;

    fn fitter(size: u32) -> Fitter {
        let size = NonZeroU32::new(size).expect("not zero");
        Fitter::new(&Segment { size, mean: [10.0, 20.0, 30.0], std: [1.0, 2.0, 3.0], ..Segment::default() })
    }

    fn part(left: u32, top: u32, width: u32, height: u32) -> Part {
        Part { left, top, width, height }
    }

    #[test]
    fn a_picture_is_padded_right_or_below() {
        let pixels = [11, 22, 33].repeat(4 * 2);
        let mut tensor = vec![9.0; 3 * 16];
        fitter(4).fit(&pixels, 4, part(0, 0, 4, 2), &mut tensor).expect("a tensor");
        let plane = [[1.0; 8], [0.0; 8]].concat();
        assert_eq!(tensor, [&*plane, &plane, &plane].concat());
        let pixels = [11, 22, 33].repeat(2 * 4);
        fitter(4).fit(&pixels, 2, part(0, 0, 2, 4), &mut tensor).expect("a tensor");
        assert_eq!(tensor, [1.0, 1.0, 0.0, 0.0].repeat(12));
    }

    #[test]
    fn a_part_is_cut_before_it_is_resized() {
        // The pixels around the part, which a filter would reach, are different.
        let mut pixels = [255, 255, 255].repeat(6 * 6);
        for (x, y) in [(1, 2), (2, 2), (1, 3), (2, 3)] {
            pixels[3 * (6 * y + x)..][..3].copy_from_slice(&[10, 20, 30]);
        }
        let mut tensor = vec![9.0; 3 * 64];
        fitter(8).fit(&pixels, 6, part(1, 2, 2, 2), &mut tensor).expect("a tensor");
        assert_eq!(tensor, [0.0; 3 * 64]);
    }
}
