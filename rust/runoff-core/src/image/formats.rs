//! Decoders for PNG, WebP, BMP and TIFF files, based on one crate per format.
//!
//! As in Pillow, 16 bits per channel are reduced to the upper 8, and only the first of several images is read.

use std::io::Cursor;

use tiff::decoder::{Decoder as TiffDecoder, DecodingResult, Limits};
use tiff::tags::Tag;
use zune_bmp::BmpDecoder;
use zune_bmp::zune_core::bytestream::ZCursor;
use zune_bmp::zune_core::options::DecoderOptions;

use super::orientation::Orientation;
use super::{Header, Refusal, check_size, make_room, to_rgb};

/// Memory limit of a decoder in addition to the pixels, in bytes: for rows, tables and metadata.
const SPARE_BYTES: usize = 64 << 20;

pub fn decode_png(file: &[u8], most: u64, pixels: &mut Vec<u8>) -> Result<Header, Refusal> {
    let mut decoder = png::Decoder::new(Cursor::new(file));
    // These are not needed, and a few kilobytes of them can decompress to gigabytes.
    decoder.set_ignore_iccp_chunk(true);
    decoder.set_ignore_text_chunk(true);
    decoder.set_transformations(png::Transformations::EXPAND | png::Transformations::STRIP_16);
    let header = decoder.read_header_info()?;
    let (width, height) = (header.width, header.height);
    check_size(width, height, most)?;
    decoder.set_limits(png::Limits { bytes: SPARE_BYTES + 4 * usize::try_from(width)? });
    let mut reader = decoder.read_info()?;
    make_room(pixels, reader.output_buffer_size().ok_or(Refusal::Unreadable)?)?;
    let frame = reader.next_frame(pixels)?;
    to_rgb(pixels, frame.color_type.samples())?;
    // The EXIF block may follow the pixels; damage there does not matter.
    let _ = reader.finish();
    let orientation = reader.info().exif_metadata.as_deref().map_or(Orientation::UPRIGHT, Orientation::of);
    Ok(Header { width, height, orientation })
}

pub fn decode_webp(file: &[u8], most: u64, pixels: &mut Vec<u8>) -> Result<Header, Refusal> {
    let mut decoder = image_webp::WebPDecoder::new(Cursor::new(file))?;
    let (width, height) = decoder.dimensions();
    check_size(width, height, most)?;
    decoder.set_memory_limit(file.len());
    make_room(pixels, decoder.output_buffer_size().ok_or(Refusal::Unreadable)?)?;
    decoder.read_image(pixels)?;
    to_rgb(pixels, if decoder.has_alpha() { 4 } else { 3 })?;
    let orientation = decoder.exif_metadata()?.as_deref().map_or(Orientation::UPRIGHT, Orientation::of);
    Ok(Header { width, height, orientation })
}

pub fn decode_bmp(file: &[u8], most: u64, pixels: &mut Vec<u8>) -> Result<Header, Refusal> {
    // Bits per pixel and compression. With fewer bits or run-length encoding, the crate's pixels differ from Pillow's.
    let (Some([8 | 24 | 32, 0]), Some([0, 0, 0, 0])) = (file.get(28..30), file.get(30..34)) else {
        return Err(Refusal::Unreadable);
    };
    let options = DecoderOptions::default().set_max_width(usize::MAX).set_max_height(usize::MAX);
    let mut decoder = BmpDecoder::new_with_options(ZCursor::new(file), options);
    // the crate's errors do not implement `std::error::Error`
    decoder.decode_headers().map_err(|_| Refusal::Unreadable)?;
    let (width, height) = decoder.dimensions().ok_or(Refusal::Unreadable)?;
    let (width, height) = (u32::try_from(width)?, u32::try_from(height)?);
    check_size(width, height, most)?;
    make_room(pixels, decoder.output_buf_size().ok_or(Refusal::Unreadable)?)?;
    decoder.decode_into(pixels).map_err(|_| Refusal::Unreadable)?;
    to_rgb(pixels, decoder.colorspace().map_or(3, |colorspace| colorspace.num_components()))?;
    Ok(Header { width, height, orientation: Orientation::UPRIGHT })
}

pub fn decode_tiff(file: &[u8], most: u64, pixels: &mut Vec<u8>) -> Result<Header, Refusal> {
    let mut decoder = TiffDecoder::new(Cursor::new(file))?;
    let (width, height) = decoder.dimensions()?;
    let mut limits = Limits::default();
    limits.decoding_buffer_size = SPARE_BYTES + 8 * check_size(width, height, most)?;
    limits.intermediate_buffer_size = file.len();
    decoder = decoder.with_limits(limits);
    let channels = tiff_channels(&mut decoder)?;
    match decoder.read_image()? {
        DecodingResult::U8(bytes) => *pixels = bytes,
        DecodingResult::U16(values) => {
            make_room(pixels, values.len())?;
            pixels.iter_mut().zip(values).for_each(|(pixel, value)| *pixel = value.to_be_bytes()[0]);
        }
        _ => return Err(Refusal::Unreadable),
    }
    to_rgb(pixels, channels)?;
    let orientation = decoder.find_tag_unsigned(Tag::Orientation)?.map_or(Orientation::UPRIGHT, Orientation::from_tag);
    Ok(Header { width, height, orientation })
}

/// Channels of a TIFF file of a variant that Pillow and this program read identically: grey, RGB or RGB with straight
/// alpha, of 8 or 16 bits, in one plane, uncompressed or with lossless compression.
fn tiff_channels(decoder: &mut TiffDecoder<Cursor<&[u8]>>) -> Result<usize, Refusal> {
    let mut all = |tag| decoder.find_tag_unsigned_vec::<u16>(tag);
    let bits = all(Tag::BitsPerSample)?.unwrap_or_default();
    let [photometric, planes, order, compression] = [
        (Tag::PhotometricInterpretation, 0),
        (Tag::PlanarConfiguration, 1),
        (Tag::FillOrder, 1),
        (Tag::Compression, 1),
    ]
    .map(|(tag, default)| Ok::<_, Refusal>(all(tag)?.and_then(|values| values.first().copied()).unwrap_or(default)));
    let formats = all(Tag::SampleFormat)?.unwrap_or_default();
    let extra = all(Tag::ExtraSamples)?.unwrap_or_default();
    let is_plain = matches!(&bits[..], [8, rest @ ..] if rest.iter().all(|&bits| bits == 8))
        || matches!(&bits[..], [16, rest @ ..] if rest.iter().all(|&bits| bits == 16));
    let is_known = matches!(compression?, 1 | 5 | 8 | 32773 | 32946) && (planes?, order?) == (1, 1);
    let is_unsigned = formats.iter().all(|&format| format == 1);
    match (photometric?, bits.len(), &extra[..]) {
        (1, 1, []) | (2, 3, []) | (2, 4, [] | [0 | 2]) if is_plain && is_known && is_unsigned => Ok(bits.len()),
        _ => Err(Refusal::Unreadable),
    }
}
