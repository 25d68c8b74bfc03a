//! JPEG files, by libjpeg-turbo: the whole image, or the part of it that is needed.

#![allow(unsafe_code)]

use std::ffi::{CStr, c_int, c_void};
use std::ptr::NonNull;

use turbojpeg_sys as tj;

use super::orientation::{Orientation, START_OF_SCAN};
use super::{Header, Part, Refusal, check_size, make_room};

/// libjpeg-turbo's version, and `SIMD` or `scalar`: how it was built into this program.
pub const DECODER: &str = env!("RUNOFF_JPEG_DECODER");

const END_OF_IMAGE: [u8; 2] = [0xff, 0xd9];

/// The columns that the left edge of a part must be a multiple of: the width of the largest block of pixels that is
/// encoded together, in every kind of chroma subsampling.
const BLOCK: u32 = 32;
/// Columns more than needed on the right: smoothed chroma depends on its neighbours.
const MARGIN: u32 = 2;

/// Most scans of a progressive file. Each takes as long as the image is large, however small it is; encoders write ten.
const MOST_SCANS: c_int = 500;

/// libjpeg-turbo's decompressor; it keeps nothing from one image to the next.
#[derive(Debug)]
pub struct Decompressor(NonNull<c_void>);

// SAFETY: a handle belongs to one thread at a time, and libjpeg-turbo does not care which.
unsafe impl Send for Decompressor {}

impl Drop for Decompressor {
    fn drop(&mut self) {
        // SAFETY: the handle came from `tj3Init` and is not used again.
        unsafe { tj::tj3Destroy(self.0.as_ptr()) };
    }
}

/// Returns the decompressor in `place`, made when it is needed first.
pub fn get(place: &mut Option<Decompressor>) -> Result<&mut Decompressor, Refusal> {
    match place {
        Some(decompressor) => Ok(decompressor),
        None => Ok(place.insert(Decompressor::new()?)),
    }
}

impl Decompressor {
    /// Makes one; `Refusal::Unreadable` if there is no memory for it.
    fn new() -> Result<Self, Refusal> {
        // SAFETY: it takes no pointers.
        let handle = unsafe { tj::tj3Init(into_int(tj::TJINIT_TJINIT_DECOMPRESS)?) };
        let made = NonNull::new(handle).map(Self).ok_or(Refusal::Unreadable)?;
        // SAFETY: the handle is alive; a value out of range would be refused.
        unsafe { tj::tj3Set(made.0.as_ptr(), into_int(tj::TJPARAM_TJPARAM_SCANLIMIT)?, MOST_SCANS) };
        Ok(made)
    }

    /// Decodes `file` into `pixels`: at least the part that `keep` returns for the image's width and height.
    ///
    /// The pixels are those of the whole image, cut out. All of it is decoded if it has to be turned, and if its end
    /// is missing, which would not be noticed otherwise.
    pub fn decode(
        &mut self,
        file: &[u8],
        pixels: &mut Vec<u8>,
        keep: impl Fn(u32, u32) -> Part,
    ) -> Result<(Header, Part), Refusal> {
        // SAFETY: the handle is alive, and the bytes are only read.
        if unsafe { tj::tj3DecompressHeader(self.0.as_ptr(), file.as_ptr(), into_int(file.len())?) } != 0 {
            return Err(Refusal::Unreadable);
        }
        let (width, height) = (self.get(tj::TJPARAM_TJPARAM_JPEGWIDTH)?, self.get(tj::TJPARAM_TJPARAM_JPEGHEIGHT)?);
        check_size(width, height)?;
        let orientation = Orientation::of_jpeg(file);
        let is_partial = orientation == Orientation::UPRIGHT && file.ends_with(&END_OF_IMAGE);
        let part = self.select(width, height, is_partial.then(|| keep(width, height)))?;
        let colorspace = self.get(tj::TJPARAM_TJPARAM_COLORSPACE)?;
        let is_cmyk = [tj::TJCS_TJCS_CMYK, tj::TJCS_TJCS_YCCK].contains(&colorspace);
        let (format, bytes) = if is_cmyk { (tj::TJPF_TJPF_CMYK, 4) } else { (tj::TJPF_TJPF_RGB, 3) };
        make_room(pixels, check_size(part.width, part.height)? * bytes)?;
        self.decompress(file, pixels, into_int(usize::try_from(part.width)? * bytes)?, format)?;
        if is_cmyk {
            cmyk_to_rgb(pixels);
        }
        Ok((Header { width, height, orientation }, part))
    }

    fn get(&self, parameter: tj::TJPARAM) -> Result<u32, Refusal> {
        // SAFETY: the handle is alive; an unknown parameter gives -1.
        Ok(u32::try_from(unsafe { tj::tj3Get(self.0.as_ptr(), into_int(parameter)?) })?)
    }

    /// Makes the next image give only `wanted` and the pixels around it that decoding needs; returns what it will give:
    /// everything if there is nothing wanted, and of files that cannot be decoded in part.
    fn select(&mut self, width: u32, height: u32, wanted: Option<Part>) -> Result<Part, Refusal> {
        if let Some(wanted) = wanted.filter(|wanted| wanted.width > 0 && wanted.height > 0) {
            let left = wanted.left.saturating_sub(1) / BLOCK * BLOCK;
            let right = (wanted.left + wanted.width + MARGIN).min(width);
            let part = Part { left, width: right - left, ..wanted };
            if self.crop(part).is_ok() {
                return Ok(part);
            }
        }
        self.crop(Part::default())?;
        Ok(Part { left: 0, top: 0, width, height })
    }

    /// Selects a part, or everything by one without pixels.
    fn crop(&mut self, part: Part) -> Result<(), Refusal> {
        let Part { left, top, width, height } = part;
        let region = tj::tjregion { x: into_int(left)?, y: into_int(top)?, w: into_int(width)?, h: into_int(height)? };
        // SAFETY: the handle is alive; a region that does not fit is refused.
        if unsafe { tj::tj3SetCroppingRegion(self.0.as_ptr(), region) } == 0 {
            Ok(())
        } else {
            Err(Refusal::Unreadable)
        }
    }

    /// Fills `pixels`, rows of `pitch` bytes, which must hold the part that was selected.
    fn decompress(&mut self, file: &[u8], pixels: &mut [u8], pitch: c_int, format: tj::TJPF) -> Result<(), Refusal> {
        let (handle, len) = (self.0.as_ptr(), into_int(file.len())?);
        // SAFETY: the handle is alive, the file is only read, and the part of the image that was selected after its header
        // was read fills `pixels`.
        let code = unsafe { tj::tj3Decompress8(handle, file.as_ptr(), len, pixels.as_mut_ptr(), pitch, format) };
        if code == 0 {
            return Ok(());
        }
        // SAFETY: the handle is alive and has just failed: its message is a string that ends with NUL.
        let message = unsafe { CStr::from_ptr(tj::tj3GetErrorStr(handle)) };
        if is_harmless(message.to_bytes(), file) { Ok(()) } else { Err(Refusal::Unreadable) }
    }
}

/// Converts to a number of C; what does not fit is no image.
fn into_int<From, To: TryFrom<From>>(value: From) -> Result<To, Refusal> {
    To::try_from(value).map_err(|_| Refusal::Unreadable)
}

/// Whether libjpeg-turbo decoded all of `file` in spite of some damage, as Pillow does: cameras leave stray bytes.
fn is_harmless(warning: &[u8], file: &[u8]) -> bool {
    let last = |marker: [u8; 2]| file.windows(2).rposition(|bytes| bytes == marker);
    warning.starts_with(b"Corrupt JPEG data") && last(END_OF_IMAGE) > last([0xff, START_OF_SCAN])
}

/// Inverted CMYK, as Adobe stores it, to RGB, with the rounding of Pillow.
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

    const SUBSAMPLINGS: [Subsamp; 7] = [
        Subsamp::None,
        Subsamp::Sub2x1,
        Subsamp::Sub2x2,
        Subsamp::Gray,
        Subsamp::Sub1x2,
        Subsamp::Sub4x1,
        Subsamp::Sub1x4,
    ];

    /// A JPEG file of noise: neighbours differ in every channel.
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
        let (_, part) = Decompressor::new().expect("a decompressor").decode(file, &mut pixels, keep).expect("pixels");
        (pixels, part)
    }

    /// The rows of `wanted`, of an image of which `pixels` are `part`.
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
            prop_assert!(part.height == wanted.height && part.width < wanted.width + BLOCK + 1 + MARGIN);
        }
    }

    #[test]
    fn a_file_without_an_end_is_not_decoded_in_part() {
        let mut file = noise(64, 64, Subsamp::Sub2x2, false);
        file.truncate(file.len() - 2);
        let mut decompressor = Decompressor::new().expect("a decompressor");
        let keep = |_, _| Part { left: 0, top: 0, width: 8, height: 8 };
        assert_eq!(decompressor.decode(&file, &mut Vec::new(), keep), Err(Refusal::Unreadable));
        // and it can be used again
        file.extend(END_OF_IMAGE);
        let (_, part) = decompressor.decode(&file, &mut Vec::new(), keep).expect("pixels");
        assert_eq!(part, Part { left: 0, top: 0, width: 8 + MARGIN, height: 8 });
        let (_, part) = decompressor.decode(&file, &mut Vec::new(), whole).expect("pixels");
        assert_eq!(part, whole(64, 64));
    }
}
