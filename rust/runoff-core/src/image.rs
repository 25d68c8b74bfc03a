//! JPEG and PNG files to RGB pixels.
//!
//! Like Pillow's `Image.open(f).convert("RGB")`: the stored orientation (EXIF) and colour profile are not
//! applied, and transparency is dropped, not blended.
//!
//! The pixels are Pillow's: both decode JPEG with libjpeg-turbo, where decoders that round chroma in another place are
//! off by up to 4 of 255.

use std::fs::File;
use std::io::{Cursor, ErrorKind, Read};
use std::path::Path;

use turbojpeg::{Colorspace, Decompressor, Image, PixelFormat};

use crate::error::{Error, Kind};

/// Largest image, in pixels; the same as Pillow's.
pub const MAX_PIXELS: u64 = 178_956_970;

const HINT: &str = "convert it to an RGB JPEG or PNG with another program";

/// Decodes images one after the other, reusing its buffers.
#[derive(Debug, Default)]
pub struct Decoder {
    file: Vec<u8>,
    pixels: Vec<u8>,
}

/// Decoded pixels: three bytes each (RGB), row by row, without gaps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pixels<'a> {
    /// In pixels.
    pub width: u32,
    /// In pixels.
    pub height: u32,
    /// `3 * width * height` bytes.
    pub bytes: &'a [u8],
}

impl Decoder {
    /// Reads the file `path` once and decodes it.
    ///
    /// # Errors
    ///
    /// `image-missing`, `image-unreadable` or `image-too-large`, naming the file.
    pub fn open(&mut self, path: &Path) -> Result<Pixels<'_>, Error> {
        let in_file = |error: Error| Error { message: format!("{}: {}", path.display(), error.message), ..error };
        self.read(path)?;
        let (width, height) = decode(&self.file, &mut self.pixels).map_err(in_file)?;
        Ok(Pixels { width, height, bytes: &self.pixels })
    }

    /// Size of the buffers that are kept for the next image, in bytes.
    #[must_use]
    pub fn buffered_bytes(&self) -> usize {
        self.file.capacity() + self.pixels.capacity()
    }

    fn read(&mut self, path: &Path) -> Result<(), Error> {
        self.file.clear();
        File::open(path).and_then(|mut file| file.read_to_end(&mut self.file)).map_err(|error| {
            let kind = if error.kind() == ErrorKind::NotFound { Kind::ImageMissing } else { Kind::ImageUnreadable };
            Error::new(kind, format!("cannot read the image {}: {error}", path.display()), "check the path")
        })?;
        Ok(())
    }
}

/// Decodes `file` into `pixels`; returns width and height.
fn decode(file: &[u8], pixels: &mut Vec<u8>) -> Result<(u32, u32), Error> {
    match file {
        [0xff, 0xd8, ..] => decode_jpeg(file, pixels),
        [0x89, b'P', b'N', b'G', ..] => decode_png(file, pixels),
        [] => Err(unreadable("the file is empty")),
        _ => Err(unreadable("neither a JPEG nor a PNG file")),
    }
}

fn decode_jpeg(file: &[u8], pixels: &mut Vec<u8>) -> Result<(u32, u32), Error> {
    let broken = |error: turbojpeg::Error| unreadable(&format!("not a whole JPEG: {error}"));
    let mut decoder = Decompressor::new().map_err(broken)?;
    let header = decoder.read_header(file).map_err(broken)?;
    if matches!(header.colorspace, Colorspace::CMYK | Colorspace::YCCK) {
        return Err(unreadable(&format!("a JPEG in {:?}, not RGB or grey", header.colorspace)));
    }
    let (width, height) = (to_u32(header.width), to_u32(header.height));
    pixels.resize(check_size(width, height)?, 0);
    let image = Image {
        pixels: pixels.as_mut_slice(),
        width: header.width,
        pitch: 3 * header.width,
        height: header.height,
        format: PixelFormat::RGB,
    };
    decoder.decompress(file, image).map_err(broken)?;
    Ok((width, height))
}

/// Sides of a JPEG have 16 bits.
fn to_u32(side: usize) -> u32 {
    u32::try_from(side).unwrap_or(u32::MAX)
}

fn decode_png(file: &[u8], pixels: &mut Vec<u8>) -> Result<(u32, u32), Error> {
    let broken = |error: png::DecodingError| unreadable(&format!("not a whole PNG: {error}"));
    let mut decoder = png::Decoder::new(Cursor::new(file));
    decoder.set_transformations(png::Transformations::EXPAND | png::Transformations::STRIP_16);
    let header = decoder.read_header_info().map_err(broken)?;
    let (width, height) = (header.width, header.height);
    let rgb_len = check_size(width, height)?;
    decoder.set_limits(png::Limits { bytes: usize::MAX });
    let mut reader = decoder.read_info().map_err(broken)?;
    let len = reader.output_buffer_size().ok_or_else(|| unreadable("a PNG that does not fit into memory"))?;
    pixels.resize(len, 0);
    let frame = reader.next_frame(pixels).map_err(broken)?;
    match frame.color_type {
        png::ColorType::Rgb => {}
        png::ColorType::Rgba => drop_alpha(pixels, rgb_len),
        png::ColorType::Grayscale => *pixels = spread_grey(pixels, 1),
        png::ColorType::GrayscaleAlpha => *pixels = spread_grey(pixels, 2),
        png::ColorType::Indexed => return Err(unreadable("a PNG with a palette that was not expanded")),
    }
    Ok((width, height))
}

fn drop_alpha(pixels: &mut Vec<u8>, rgb_len: usize) {
    for pixel in 0..rgb_len / 3 {
        pixels.copy_within(pixel * 4..pixel * 4 + 3, pixel * 3);
    }
    pixels.truncate(rgb_len);
}

fn spread_grey(pixels: &[u8], channels: usize) -> Vec<u8> {
    pixels.iter().step_by(channels).flat_map(|&grey| [grey; 3]).collect()
}

/// Refuses too many pixels before anything is allocated for them; returns the length in bytes as RGB.
fn check_size(width: u32, height: u32) -> Result<usize, Error> {
    let count = u64::from(width) * u64::from(height);
    if count == 0 {
        return Err(unreadable("an image without pixels"));
    }
    if count > MAX_PIXELS {
        let message = format!("{width}x{height} are {count} pixels, more than {MAX_PIXELS}");
        return Err(Error::new(Kind::ImageTooLarge, message, "scale the image down first"));
    }
    usize::try_from(count * 3).map_err(|_| unreadable("an image that does not fit into memory"))
}

fn unreadable(message: &str) -> Error {
    Error::new(Kind::ImageUnreadable, message, HINT)
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

    fn kind(file: &[u8]) -> Kind {
        decode(file, &mut Vec::new()).expect_err("a bad image").kind
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
            let mut pixels = vec![99; 40];
            assert_eq!(decode(&png(2, 1, color, data), &mut pixels).expect("pixels"), (2, 1));
            assert_eq!(pixels, expected, "{color:?}");
        }
    }

    #[test]
    fn what_is_not_an_image_is_said_to_be_unreadable() {
        assert_eq!(kind(b""), Kind::ImageUnreadable);
        assert_eq!(kind(b"hello"), Kind::ImageUnreadable);
        assert_eq!(kind(&[0xff, 0xd8, 0xff]), Kind::ImageUnreadable);
        let whole = png(64, 64, png::ColorType::Rgb, &[77; 64 * 64 * 3]);
        assert_eq!(kind(&whole[..whole.len() / 2]), Kind::ImageUnreadable);
    }

    #[test]
    fn a_bomb_is_refused_by_its_header() {
        let mut bomb = png(1, 1, png::ColorType::Rgb, &[0, 0, 0]);
        bomb[16..20].copy_from_slice(&60_000_u32.to_be_bytes());
        bomb[20..24].copy_from_slice(&60_000_u32.to_be_bytes());
        let crc = crc32(&bomb[12..29]);
        bomb[29..33].copy_from_slice(&crc.to_be_bytes());
        let mut pixels = Vec::new();
        assert_eq!(decode(&bomb, &mut pixels).expect_err("a bomb").kind, Kind::ImageTooLarge);
        assert_eq!(pixels.capacity(), 0);
    }

    /// CRC-32 as PNG chunks carry it (ISO 3309).
    fn crc32(bytes: &[u8]) -> u32 {
        !bytes.iter().fold(u32::MAX, |crc, &byte| {
            (0..8).fold(crc ^ u32::from(byte), |crc, _| if crc & 1 == 1 { (crc >> 1) ^ 0xedb8_8320 } else { crc >> 1 })
        })
    }

    #[test]
    fn a_file_that_is_not_there_is_missing() {
        let error = Decoder::default().open(Path::new("/nowhere/x.jpg")).expect_err("no file");
        assert_eq!(error.kind, Kind::ImageMissing);
        assert!(error.message.contains("/nowhere/x.jpg"));
    }
}
