//! JPEG decoding with libjpeg-turbo, of the entire image or only the required part.

#![allow(unsafe_code)]

use std::ffi::{CStr, c_int, c_void};
use std::ptr::NonNull;

use turbojpeg_sys as tj;

use super::orientation::{Orientation, START_OF_SCAN};
use super::{Header, Part, Refusal, check_size, make_room};

/// The version of libjpeg-turbo, and `SIMD` or `scalar` for how it was built.
pub const DECODER: &str = env!("RUNOFF_JPEG_DECODER");

const END_OF_IMAGE: [u8; 2] = [0xff, 0xd9];

/// The left edge of a part must be a multiple of this many columns: the width of the largest MCU with any chroma
/// subsampling.
const BLOCK: u32 = 32;
/// Extra columns on both sides: smoothed chroma depends on neighbouring pixels, and libjpeg-turbo does not smooth a part
/// of one or two columns.
const MARGIN: u32 = 2;

/// Maximum number of scans in a progressive file. The time for a scan depends on the size of the image, not on that of
/// the scan. Encoders write ten.
const MOST_SCANS: c_int = 500;

/// libjpeg-turbo's decompressor, which keeps no state between images.
#[derive(Debug)]
pub struct Decompressor(NonNull<c_void>);

// SAFETY: one thread at a time uses a handle, and libjpeg-turbo does not tie it to a thread.
unsafe impl Send for Decompressor {}

impl Drop for Decompressor {
    fn drop(&mut self) {
        // SAFETY: the handle was returned by `tj3Init` and is not used again.
        unsafe { tj::tj3Destroy(self.0.as_ptr()) };
    }
}

/// Returns the decompressor in `place`, created on the first call.
pub fn get(place: &mut Option<Decompressor>) -> Result<&mut Decompressor, Refusal> {
    match place {
        Some(decompressor) => Ok(decompressor),
        None => Ok(place.insert(Decompressor::new()?)),
    }
}

impl Decompressor {
    /// Creates a decompressor; returns `Refusal::Unreadable` if there is not enough memory.
    fn new() -> Result<Self, Refusal> {
        // SAFETY: the function takes no pointers.
        let handle = unsafe { tj::tj3Init(into_int(tj::TJINIT_TJINIT_DECOMPRESS)?) };
        let made = NonNull::new(handle).map(Self).ok_or(Refusal::Unreadable)?;
        // SAFETY: the handle is alive; libjpeg-turbo rejects values out of range.
        unsafe { tj::tj3Set(made.0.as_ptr(), into_int(tj::TJPARAM_TJPARAM_SCANLIMIT)?, MOST_SCANS) };
        Ok(made)
    }

    /// Decodes `file`, of at most `most` pixels, into `pixels`: at least the part that `keep` returns for the image's width
    /// and height.
    ///
    /// The pixels equal those of the entire decoded image. The entire image is decoded if it has to be rotated, or if
    /// the end of the file is missing, because partial decoding would not detect that.
    pub fn decode(
        &mut self,
        file: &[u8],
        most: u64,
        pixels: &mut Vec<u8>,
        keep: impl Fn(u32, u32) -> Part,
    ) -> Result<(Header, Part), Refusal> {
        // SAFETY: the handle is alive, and the bytes are only read.
        if unsafe { tj::tj3DecompressHeader(self.0.as_ptr(), file.as_ptr(), into_int(file.len())?) } != 0 {
            return Err(Refusal::Unreadable);
        }
        let (width, height) = (self.get(tj::TJPARAM_TJPARAM_JPEGWIDTH)?, self.get(tj::TJPARAM_TJPARAM_JPEGHEIGHT)?);
        check_size(width, height, most)?;
        let orientation = Orientation::of_jpeg(file);
        let is_partial = orientation == Orientation::UPRIGHT && file.ends_with(&END_OF_IMAGE);
        let part = self.select(width, height, is_partial.then(|| keep(width, height)))?;
        let colorspace = self.get(tj::TJPARAM_TJPARAM_COLORSPACE)?;
        let is_cmyk = [tj::TJCS_TJCS_CMYK, tj::TJCS_TJCS_YCCK].contains(&colorspace);
        let (format, bytes) = if is_cmyk { (tj::TJPF_TJPF_CMYK, 4) } else { (tj::TJPF_TJPF_RGB, 3) };
        make_room(pixels, check_size(part.width, part.height, most)? * bytes)?;
        self.decompress(file, pixels, into_int(usize::try_from(part.width)? * bytes)?, format)?;
        if is_cmyk {
            cmyk_to_rgb(pixels);
        }
        Ok((Header { width, height, orientation }, part))
    }

    fn get(&self, parameter: tj::TJPARAM) -> Result<u32, Refusal> {
        // SAFETY: the handle is alive; for an unknown parameter the function returns -1.
        Ok(u32::try_from(unsafe { tj::tj3Get(self.0.as_ptr(), into_int(parameter)?) })?)
    }

    /// Restricts decoding of the next image to `wanted` and the surrounding pixels that it depends on. Returns the part
    /// that will be decoded: the entire image if `wanted` is empty, or if the file does not support partial decoding.
    fn select(&mut self, width: u32, height: u32, wanted: Option<Part>) -> Result<Part, Refusal> {
        if let Some(wanted) = wanted.filter(|wanted| wanted.width > 0 && wanted.height > 0) {
            let left = wanted.left.saturating_sub(MARGIN) / BLOCK * BLOCK;
            let right = (wanted.left + wanted.width + MARGIN).min(width);
            let part = Part { left, width: right - left, ..wanted };
            if self.crop(part).is_ok() {
                return Ok(part);
            }
        }
        self.crop(Part::default())?;
        Ok(Part { left: 0, top: 0, width, height })
    }

    /// Selects the part to decode; an empty part selects the entire image.
    fn crop(&mut self, part: Part) -> Result<(), Refusal> {
        let Part { left, top, width, height } = part;
        let region = tj::tjregion { x: into_int(left)?, y: into_int(top)?, w: into_int(width)?, h: into_int(height)? };
        // SAFETY: the handle is alive; libjpeg-turbo rejects a region that does not fit.
        if unsafe { tj::tj3SetCroppingRegion(self.0.as_ptr(), region) } == 0 {
            Ok(())
        } else {
            Err(Refusal::Unreadable)
        }
    }

    /// Decodes the selected part into `pixels`, in rows of `pitch` bytes; it must fit.
    fn decompress(&mut self, file: &[u8], pixels: &mut [u8], pitch: c_int, format: tj::TJPF) -> Result<(), Refusal> {
        let (handle, len) = (self.0.as_ptr(), into_int(file.len())?);
        // SAFETY: the handle is alive, the file is only read, and `pixels` has room for the part selected after the
        // header was read.
        let code = unsafe { tj::tj3Decompress8(handle, file.as_ptr(), len, pixels.as_mut_ptr(), pitch, format) };
        if code == 0 {
            return Ok(());
        }
        // SAFETY: the handle is alive and has just failed: its message is a string terminated by NUL.
        let message = unsafe { CStr::from_ptr(tj::tj3GetErrorStr(handle)) };
        if is_harmless(message.to_bytes(), file) { Ok(()) } else { Err(Refusal::Unreadable) }
    }
}

/// Converts to a C `int`; a larger value cannot belong to a valid image.
fn into_int<From, To: TryFrom<From>>(value: From) -> Result<To, Refusal> {
    To::try_from(value).map_err(|_| Refusal::Unreadable)
}

/// Whether libjpeg-turbo decoded all of `file` despite minor damage, which Pillow also accepts: cameras leave stray
/// bytes.
fn is_harmless(warning: &[u8], file: &[u8]) -> bool {
    let last = |marker: [u8; 2]| file.windows(2).rposition(|bytes| bytes == marker);
    warning.starts_with(b"Corrupt JPEG data") && last(END_OF_IMAGE) > last([0xff, START_OF_SCAN])
}

/// Converts inverted CMYK, as stored by Adobe, to RGB, with Pillow's rounding.
fn cmyk_to_rgb(pixels: &mut Vec<u8>) {
    let count = pixels.len() / 4;
    for pixel in 0..count {
        let black = u32::from(pixels[pixel * 4 + 3]);
        for channel in 0..3 {
            let product = u32::from(u8::MAX - pixels[pixel * 4 + channel]) * black + 128;
            let ink = (product + (product >> 8)) >> 8;
            pixels[pixel * 3 + channel] = u8::try_from(black.saturating_sub(ink)).unwrap_or(u8::MAX);
        }
    }
    pixels.truncate(count * 3);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use turbojpeg::{Compressor, Image, PixelFormat, Subsamp};

    use super::*;
    use crate::image::MAX_PIXELS;

    const SUBSAMPLINGS: [Subsamp; 7] = [
        Subsamp::None,
        Subsamp::Sub2x1,
        Subsamp::Sub2x2,
        Subsamp::Gray,
        Subsamp::Sub1x2,
        Subsamp::Sub4x1,
        Subsamp::Sub1x4,
    ];

    /// A JPEG file of noise: neighbouring pixels differ in every channel.
    fn noise(width: usize, height: usize, subsampling: Subsamp, is_progressive: bool) -> Vec<u8> {
        let mut state = 1_u32;
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            state.to_be_bytes()[0]
        };
        let pixels: Vec<u8> = (0..3 * width * height).map(|_| next()).collect();
        let mut compressor = Compressor::new().expect("a compressor");
        compressor.set_subsamp(subsampling).expect("subsampling");
        compressor.set_progressive(is_progressive).expect("scans");
        let image = Image { pixels: &pixels[..], width, pitch: 3 * width, height, format: PixelFormat::RGB };
        compressor.compress_to_vec(image).expect("a file")
    }

    fn decode(file: &[u8], keep: impl Fn(u32, u32) -> Part) -> (Vec<u8>, Part) {
        let mut pixels = Vec::new();
        let (_, part) =
            Decompressor::new().expect("a decompressor").decode(file, MAX_PIXELS, &mut pixels, keep).expect("pixels");
        (pixels, part)
    }

    /// The rows of `wanted`, if `pixels` is the `part` of an image.
    fn cut(pixels: &[u8], part: Part, wanted: Part) -> Vec<&[u8]> {
        let index = |number: u32| usize::try_from(number).expect("a number");
        let rows = pixels.chunks_exact(3 * index(part.width)).skip(index(wanted.top - part.top));
        let left = 3 * index(wanted.left - part.left);
        rows.take(index(wanted.height)).map(|row| &row[left..left + 3 * index(wanted.width)]).collect()
    }

    fn whole(width: u32, height: u32) -> Part {
        Part { left: 0, top: 0, width, height }
    }

    proptest! {
        #[test]
        fn a_part_has_the_pixels_of_the_whole(
            (width, height) in (1_usize..200, 1_usize..200), subsampling in 0..SUBSAMPLINGS.len(), is_progressive: bool,
            (left, top, right, bottom) in (0.0..1.0, 0.0..1.0, 0.0..1.0, 0.0..1.0),
        ) {
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "below the side")]
            let share = |of: u32, share: f64| (f64::from(of) * share) as u32;
            let keep = |width, height| {
                let (left, top) = (share(width, left), share(height, top));
                let (rest, below) = (width - left - 1, height - top - 1);
                Part { left, top, width: 1 + share(rest, right), height: 1 + share(below, bottom) }
            };
            let file = noise(width, height, SUBSAMPLINGS[subsampling], is_progressive);
            let (all, image) = decode(&file, whole);
            let wanted = keep(image.width, image.height);
            let (some, part) = decode(&file, keep);
            prop_assert_eq!(cut(&some, part, wanted), cut(&all, image, wanted));
            prop_assert!(part.height == wanted.height && part.width < wanted.width + BLOCK + 2 * MARGIN);
        }
    }

    #[test]
    fn a_column_has_the_pixels_of_the_whole() {
        for subsampling in SUBSAMPLINGS {
            for width in [1, 2, 3, 5, 33, 34, 35, 64, 65, 66, 98] {
                let file = noise(width, 3, subsampling, false);
                let (all, image) = decode(&file, whole);
                for left in 0..image.width {
                    let wanted = Part { left, top: 1, width: 1, height: 1 };
                    let (some, part) = decode(&file, |_, _| wanted);
                    assert_eq!(cut(&some, part, wanted), cut(&all, image, wanted), "column {left} of {width}");
                }
            }
        }
    }

    #[test]
    fn a_file_without_an_end_is_not_decoded_in_part() {
        let mut file = noise(64, 64, Subsamp::Sub2x2, false);
        file.truncate(file.len() - 2);
        let mut decompressor = Decompressor::new().expect("a decompressor");
        let keep = |_, _| Part { left: 0, top: 0, width: 8, height: 8 };
        assert_eq!(decompressor.decode(&file, MAX_PIXELS, &mut Vec::new(), keep), Err(Refusal::Unreadable));
        // and the decompressor can be reused
        file.extend(END_OF_IMAGE);
        let (_, part) = decompressor.decode(&file, MAX_PIXELS, &mut Vec::new(), keep).expect("pixels");
        assert_eq!(part, Part { left: 0, top: 0, width: 8 + MARGIN, height: 8 });
        let (_, part) = decompressor.decode(&file, MAX_PIXELS, &mut Vec::new(), whole).expect("pixels");
        assert_eq!(part, whole(64, 64));
    }
}
