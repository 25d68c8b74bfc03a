//! Image files to RGB pixels: JPEG, PNG, WebP, BMP and TIFF, as `protocol/README.md` ("Images") defines them.
//!
//! The pixels match those of Pillow. Both decode JPEG with libjpeg-turbo: decoders that round chroma differently are
//! off by up to 4 of 255.

#[cfg(test)]
mod built;
mod formats;
mod jpeg;
mod orientation;

use std::io::ErrorKind;
use std::path::Path;

use runoff_session::{Error, Kind, read};

use crate::memory::try_resize;
use jpeg::Decompressor;
use orientation::Orientation;

pub use jpeg::DECODER as JPEG_DECODER;

/// Maximum size of an image, in pixels; the same as Pillow's. Fuzzing is more effective with smaller images.
pub const MAX_PIXELS: u64 = if cfg!(fuzzing) { 1 << 18 } else { 178_956_970 };

/// Maximum size of a file, in bytes: an uncompressed image of the maximum size, with four channels of 16 bits.
const MAX_FILE_BYTES: u64 = 8 * MAX_PIXELS + (1 << 20);

const HINT: &str = "convert it to an RGB JPEG or PNG file";

/// Decodes images one after another, reusing its buffers.
#[derive(Debug)]
pub struct Decoder {
    /// Maximum size of an image, in pixels.
    most: u64,
    file: Vec<u8>,
    pixels: Vec<u8>,
    /// Pixels before rotation; empty until an image needs it.
    stored: Vec<u8>,
    /// `None` until the first JPEG file.
    jpeg: Option<Decompressor>,
}

/// A rectangle of an image, in pixels.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Part {
    /// Left edge: columns to its left.
    pub left: u32,
    /// Top edge: rows above it.
    pub top: u32,
    /// Number of columns.
    pub width: u32,
    /// Number of rows.
    pub height: u32,
}

/// Decoded pixels: three bytes each (RGB), row by row, without gaps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pixels<'a> {
    /// Width of the image, in pixels.
    pub width: u32,
    /// Height of the image, in pixels.
    pub height: u32,
    /// Part of the image in `bytes`.
    pub part: Part,
    /// `3 * part.width * part.height` bytes.
    pub bytes: &'a [u8],
}

impl Default for Decoder {
    fn default() -> Self {
        Self { most: MAX_PIXELS, file: Vec::new(), pixels: Vec::new(), stored: Vec::new(), jpeg: None }
    }
}

impl Decoder {
    /// Refuses images of more than `most` pixels, if that is below [`MAX_PIXELS`].
    #[must_use]
    pub fn with_limit(self, most: u64) -> Self {
        Self { most: most.min(MAX_PIXELS), ..self }
    }

    /// Reads the file `path` once and decodes it; the image is upright.
    ///
    /// `keep` returns the required part of an image, given its width and height. At least this part is decoded.
    ///
    /// # Errors
    ///
    /// `image-missing`, `image-unreadable` or `image-too-large`, naming the file.
    pub fn open(&mut self, path: &Path, keep: impl Fn(u32, u32) -> Part) -> Result<Pixels<'_>, Error> {
        self.read(path)?;
        let file = std::mem::take(&mut self.file);
        let decoded = self.decode(&file, keep);
        self.file = file;
        self.turn_upright(decoded, path)
    }

    /// Decodes the contents of a file, which messages call `path` unless that is empty; as [`Self::open`].
    ///
    /// # Errors
    ///
    /// `image-unreadable` or `image-too-large`.
    pub fn decode_bytes(
        &mut self,
        bytes: &[u8],
        path: &Path,
        keep: impl Fn(u32, u32) -> Part,
    ) -> Result<Pixels<'_>, Error> {
        let decoded = self.decode(bytes, keep);
        self.turn_upright(decoded, path)
    }

    fn turn_upright(&mut self, decoded: Result<(Header, Part), Failure>, path: &Path) -> Result<Pixels<'_>, Error> {
        let (header, part) = decoded.map_err(|error| error.at(path, self.most))?;
        if header.orientation == Orientation::UPRIGHT {
            return Ok(Pixels { width: header.width, height: header.height, part, bytes: &self.pixels });
        }
        std::mem::swap(&mut self.pixels, &mut self.stored);
        make_room(&mut self.pixels, self.stored.len()).map_err(|_| Failure::NoMemory.at(path, self.most))?;
        let (width, height) = header.orientation.apply(&self.stored, header.width, header.height, &mut self.pixels);
        Ok(Pixels { width, height, part: Part { left: 0, top: 0, width, height }, bytes: &self.pixels })
    }

    /// Decodes `file` into `self.pixels`, as stored in the file. If the image is not upright, the part is the entire
    /// image.
    fn decode(&mut self, file: &[u8], keep: impl Fn(u32, u32) -> Part) -> Result<(Header, Part), Failure> {
        let Self { most, pixels, jpeg, .. } = self;
        let format = Format::of(file).ok_or(Failure::Unknown)?;
        let whole = |header: Header| (header, Part { left: 0, top: 0, width: header.width, height: header.height });
        let decoded = match format {
            Format::Jpeg => jpeg::get(jpeg).and_then(|jpeg| jpeg.decode(file, *most, pixels, keep)),
            Format::Png => formats::decode_png(file, *most, pixels).map(whole),
            Format::WebP => formats::decode_webp(file, *most, pixels).map(whole),
            Format::Bmp => formats::decode_bmp(file, *most, pixels).map(whole),
            Format::Tiff => formats::decode_tiff(file, *most, pixels).map(whole),
        };
        decoded.map_err(|refusal| match refusal {
            Refusal::Unreadable => Failure::Unreadable(format),
            Refusal::TooLarge(width, height) => Failure::TooLarge(width, height),
            Refusal::NoMemory => Failure::NoMemory,
        })
    }

    /// Size of the reused buffers, in bytes.
    #[must_use]
    pub fn buffered_bytes(&self) -> usize {
        self.file.capacity() + self.pixels.capacity() + self.stored.capacity()
    }

    fn read(&mut self, path: &Path) -> Result<(), Error> {
        read::read(path, MAX_FILE_BYTES, &mut self.file).map_err(|error| {
            let text = error.to_string();
            let (kind, reason) = match error.kind() {
                ErrorKind::NotFound => (Kind::ImageMissing, "not found"),
                ErrorKind::FileTooLarge => (Kind::ImageTooLarge, &*text),
                // without Rust's " (os error 21)"
                _ => (Kind::ImageUnreadable, text.split(" (os error").next().unwrap_or_default()),
            };
            Error::new(kind, format!("image {}: {reason}", path.display()), "check the path")
        })
    }
}

/// File formats, detected by their first bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Jpeg,
    Png,
    WebP,
    Bmp,
    Tiff,
}

impl Format {
    fn of(file: &[u8]) -> Option<Self> {
        match file {
            [0xff, 0xd8, 0xff, ..] => Some(Self::Jpeg),
            [0x89, b'P', b'N', b'G', b'\r', b'\n', 0x1a, b'\n', ..] => Some(Self::Png),
            [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => Some(Self::WebP),
            [b'B', b'M', ..] => Some(Self::Bmp),
            [b'I', b'I', 42, 0, ..] | [b'M', b'M', 0, 42, ..] => Some(Self::Tiff),
            _ => None,
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Jpeg => "JPEG",
            Self::Png => "PNG",
            Self::WebP => "WebP",
            Self::Bmp => "BMP",
            Self::Tiff => "TIFF",
        }
    }
}

/// An image as stored in its file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Header {
    width: u32,
    height: u32,
    orientation: Orientation,
}

/// Reason why a file was not decoded. The messages are the same as in `runoff_runners/preprocess.py`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Failure {
    /// Not in a supported format.
    Unknown,
    /// Damaged, truncated, or of an unsupported variant.
    Unreadable(Format),
    /// More pixels than the limit.
    TooLarge(u32, u32),
    /// Not enough memory for the pixels.
    NoMemory,
}

impl Failure {
    fn at(self, path: &Path, most: u64) -> Error {
        // what comes from memory has no name
        let name = if path.as_os_str().is_empty() { String::new() } else { format!(" {}", path.display()) };
        match self {
            Self::Unknown => {
                let message = format!("image{name}: not a JPEG, PNG, WebP, BMP or TIFF file");
                Error::new(Kind::ImageUnreadable, message, HINT)
            }
            Self::Unreadable(format) => {
                let message = format!("image{name}: damaged, truncated or unsupported {} file", format.name());
                Error::new(Kind::ImageUnreadable, message, HINT)
            }
            Self::TooLarge(width, height) => {
                let message = format!("image{name}: {width} x {height} is more than {most} pixels");
                Error::new(Kind::ImageTooLarge, message, "scale it down first")
            }
            Self::NoMemory => {
                let message = format!("image{name}: not enough memory for its pixels");
                Error::new(Kind::ImageTooLarge, message, "scale it down first")
            }
        }
    }
}

/// Reason why a decoder failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Refusal {
    Unreadable,
    TooLarge(u32, u32),
    NoMemory,
}

/// The decoder's own message is dropped: it differs between the languages.
impl<E: std::error::Error> From<E> for Refusal {
    fn from(_: E) -> Self {
        Self::Unreadable
    }
}

/// Checks that there are at most `most` pixels before anything is allocated, and returns their number.
fn check_size(width: u32, height: u32, most: u64) -> Result<usize, Refusal> {
    match u64::from(width) * u64::from(height) {
        0 => Err(Refusal::Unreadable),
        count if count > most => Err(Refusal::TooLarge(width, height)),
        count => Ok(usize::try_from(count)?),
    }
}

/// Resizes `pixels` to `len` bytes.
fn make_room(pixels: &mut Vec<u8>, len: usize) -> Result<(), Refusal> {
    try_resize(pixels, len, 0).map_err(|_| Refusal::NoMemory)
}

/// Converts pixels of 1 (grey), 2 (grey, alpha), 3 (RGB) or 4 (RGB, alpha) bytes to RGB; alpha is dropped.
fn to_rgb(pixels: &mut Vec<u8>, channels: usize) -> Result<(), Refusal> {
    match channels {
        1 | 2 => {
            // Backwards, so every byte is read before it is overwritten.
            let (count, len) = (pixels.len() / channels, pixels.len());
            make_room(pixels, len.max(count * 3))?;
            for pixel in (0..count).rev() {
                let grey = pixels[pixel * channels];
                pixels[pixel * 3..][..3].fill(grey);
            }
            pixels.truncate(count * 3);
        }
        4 => {
            let count = pixels.len() / 4;
            for pixel in 0..count {
                pixels.copy_within(pixel * 4..pixel * 4 + 3, pixel * 3);
            }
            pixels.truncate(count * 3);
        }
        _ => {}
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn png(width: u32, height: u32, color: png::ColorType, data: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut encoder = png::Encoder::new(&mut bytes, width, height);
        encoder.set_color(color);
        let mut writer = encoder.write_header().expect("a header");
        writer.write_image_data(data).expect("data");
        writer.finish().expect("an end");
        bytes
    }

    fn whole(width: u32, height: u32) -> Part {
        Part { left: 0, top: 0, width, height }
    }

    fn failure(file: &[u8]) -> Failure {
        let mut decoder = Decoder::default();
        let failure = decoder.decode(file, whole).expect_err("a bad image");
        if matches!(failure, Failure::TooLarge(..)) {
            assert_eq!(decoder.pixels.capacity(), 0);
        }
        failure
    }

    #[test]
    fn every_kind_of_png_becomes_rgb() {
        let cases: [(png::ColorType, &[u8], &[u8]); 4] = [
            (png::ColorType::Rgb, &[1, 2, 3, 4, 5, 6], &[1, 2, 3, 4, 5, 6]),
            (png::ColorType::Rgba, &[1, 2, 3, 0, 4, 5, 6, 255], &[1, 2, 3, 4, 5, 6]),
            (png::ColorType::Grayscale, &[7, 9], &[7, 7, 7, 9, 9, 9]),
            (png::ColorType::GrayscaleAlpha, &[7, 0, 9, 255], &[7, 7, 7, 9, 9, 9]),
        ];
        for (color, data, expected) in cases {
            let file = png(2, 1, color, data);
            let mut decoder = Decoder { pixels: vec![99; 40], ..Decoder::default() };
            let (header, part) = decoder.decode(&file, whole).expect("pixels");
            assert_eq!((header.width, header.height, part), (2, 1, whole(2, 1)));
            assert_eq!(decoder.pixels, expected, "{color:?}");
        }
    }

    #[test]
    fn other_and_damaged_files_are_unreadable() {
        assert_eq!(failure(b""), Failure::Unknown);
        assert_eq!(failure(b"hello"), Failure::Unknown);
        assert_eq!(failure(&[0xff, 0xd8, 0xff]), Failure::Unreadable(Format::Jpeg));
        let whole = png(64, 64, png::ColorType::Rgb, &[77; 64 * 64 * 3]);
        assert_eq!(failure(&whole[..whole.len() / 2]), Failure::Unreadable(Format::Png));
    }

    #[test]
    fn a_bomb_is_refused_by_its_header() {
        let mut bomb = png(1, 1, png::ColorType::Rgb, &[0, 0, 0]);
        bomb[16..20].copy_from_slice(&60_000_u32.to_be_bytes());
        bomb[20..24].copy_from_slice(&60_000_u32.to_be_bytes());
        let crc = crc32(&bomb[12..29]);
        bomb[29..33].copy_from_slice(&crc.to_be_bytes());
        assert_eq!(failure(&bomb), Failure::TooLarge(60_000, 60_000));
        let file = png(3, 2, png::ColorType::Rgb, &[7; 18]);
        let decode =
            |most| Decoder::default().with_limit(most).decode_bytes(&file, Path::new("x.png"), whole).map(drop);
        assert_eq!(decode(6), Ok(()));
        assert_eq!(decode(5).expect_err("too large").message, "image x.png: 3 x 2 is more than 5 pixels");
    }

    /// CRC-32 of a PNG chunk (ISO 3309).
    fn crc32(bytes: &[u8]) -> u32 {
        !bytes.iter().fold(u32::MAX, |crc, &byte| {
            (0..8).fold(crc ^ u32::from(byte), |crc, _| if crc & 1 == 1 { (crc >> 1) ^ 0xedb8_8320 } else { crc >> 1 })
        })
    }

    #[test]
    fn a_missing_file_is_reported_with_its_path() {
        let error = Decoder::default().open(Path::new("/nowhere/x.jpg"), whole).expect_err("no file");
        assert_eq!(error.kind, Kind::ImageMissing);
        assert!(error.message.contains("/nowhere/x.jpg"));
    }
}
