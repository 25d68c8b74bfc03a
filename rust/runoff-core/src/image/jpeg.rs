//! JPEG files, by libjpeg-turbo.

use turbojpeg::{Colorspace, Decompressor, Image, PixelFormat};

use super::orientation::{Orientation, START_OF_SCAN};
use super::{Header, Refusal, check_size};

const END_OF_IMAGE: [u8; 2] = [0xff, 0xd9];

pub fn decode(file: &[u8], pixels: &mut Vec<u8>) -> Result<Header, Refusal> {
    let mut decoder = Decompressor::new()?;
    let header = decoder.read_header(file)?;
    let (width, height) = (u32::try_from(header.width)?, u32::try_from(header.height)?);
    let is_cmyk = matches!(header.colorspace, Colorspace::CMYK | Colorspace::YCCK);
    let format = if is_cmyk { PixelFormat::CMYK } else { PixelFormat::RGB };
    let bytes = format.size();
    pixels.resize(check_size(width, height)? * bytes, 0);
    let (pitch, height_px) = (bytes * header.width, header.height);
    let image = Image { pixels: pixels.as_mut_slice(), width: header.width, pitch, height: height_px, format };
    match decoder.decompress(file, image) {
        Err(turbojpeg::Error::TurboJpegError(warning)) if is_harmless(&warning, file) => {}
        done => done?,
    }
    if is_cmyk {
        cmyk_to_rgb(pixels);
    }
    Ok(Header { width, height, orientation: Orientation::of_jpeg(file) })
}

/// Whether libjpeg-turbo decoded all of `file` in spite of some damage, as Pillow does: cameras leave stray bytes.
fn is_harmless(warning: &str, file: &[u8]) -> bool {
    let last = |marker: [u8; 2]| file.windows(2).rposition(|bytes| bytes == marker);
    warning.starts_with("Corrupt JPEG data") && last(END_OF_IMAGE) > last([0xff, START_OF_SCAN])
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
