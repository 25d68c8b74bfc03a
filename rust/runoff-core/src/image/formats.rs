//! PNG, WebP, BMP and TIFF files, by crates of their own.
//!
//! Of 16 bits per channel the upper 8 are kept, as Pillow does; of several pictures the first.

use std::io::Cursor;

use tiff::decoder::{Decoder as TiffDecoder, DecodingResult, Limits};
use tiff::tags::Tag;
use zune_bmp::BmpDecoder;
use zune_bmp::zune_core::bytestream::ZCursor;
use zune_bmp::zune_core::options::DecoderOptions;

use super::orientation::Orientation;
use super::{Header, Refusal, check_size, to_rgb};

pub fn decode_png(file: &[u8], pixels: &mut Vec<u8>) -> Result<Header, Refusal> {
    let mut decoder = png::Decoder::new(Cursor::new(file));
    decoder.set_transformations(png::Transformations::EXPAND | png::Transformations::STRIP_16);
    let header = decoder.read_header_info()?;
    let (width, height) = (header.width, header.height);
    check_size(width, height)?;
    decoder.set_limits(png::Limits { bytes: usize::MAX });
    let mut reader = decoder.read_info()?;
    pixels.resize(reader.output_buffer_size().ok_or(Refusal::Unreadable)?, 0);
    let frame = reader.next_frame(pixels)?;
    to_rgb(pixels, frame.color_type.samples());
    // The EXIF block may follow the pixels; what is damaged there does not matter.
    let _ = reader.finish();
    let orientation = reader.info().exif_metadata.as_deref().map_or(Orientation::UPRIGHT, Orientation::of);
    Ok(Header { width, height, orientation })
}

pub fn decode_webp(file: &[u8], pixels: &mut Vec<u8>) -> Result<Header, Refusal> {
    let mut decoder = image_webp::WebPDecoder::new(Cursor::new(file))?;
    let (width, height) = decoder.dimensions();
    check_size(width, height)?;
    pixels.resize(decoder.output_buffer_size().ok_or(Refusal::Unreadable)?, 0);
    decoder.read_image(pixels)?;
    to_rgb(pixels, if decoder.has_alpha() { 4 } else { 3 });
    let orientation = decoder.exif_metadata()?.as_deref().map_or(Orientation::UPRIGHT, Orientation::of);
    Ok(Header { width, height, orientation })
}

pub fn decode_bmp(file: &[u8], pixels: &mut Vec<u8>) -> Result<Header, Refusal> {
    // Bits per pixel and compression. Of fewer bits and of run lengths the crate makes other pixels than Pillow.
    let (Some([8 | 24 | 32, 0]), Some([0, 0, 0, 0])) = (file.get(28..30), file.get(30..34)) else {
        return Err(Refusal::Unreadable);
    };
    let options = DecoderOptions::default().set_max_width(usize::MAX).set_max_height(usize::MAX);
    let mut decoder = BmpDecoder::new_with_options(ZCursor::new(file), options);
    // its errors are no `std::error::Error`
    decoder.decode_headers().map_err(|_| Refusal::Unreadable)?;
    let (width, height) = decoder.dimensions().ok_or(Refusal::Unreadable)?;
    let (width, height) = (u32::try_from(width)?, u32::try_from(height)?);
    check_size(width, height)?;
    pixels.resize(decoder.output_buf_size().ok_or(Refusal::Unreadable)?, 0);
    decoder.decode_into(pixels).map_err(|_| Refusal::Unreadable)?;
    to_rgb(pixels, decoder.colorspace().map_or(3, |colorspace| colorspace.num_components()));
    Ok(Header { width, height, orientation: Orientation::UPRIGHT })
}

pub fn decode_tiff(file: &[u8], pixels: &mut Vec<u8>) -> Result<Header, Refusal> {
    let mut decoder = TiffDecoder::new(Cursor::new(file))?.with_limits(Limits::unlimited());
    let (width, height) = decoder.dimensions()?;
    check_size(width, height)?;
    let channels = tiff_channels(&mut decoder)?;
    *pixels = match decoder.read_image()? {
        DecodingResult::U8(bytes) => bytes,
        DecodingResult::U16(values) => values.into_iter().map(|value| value.to_be_bytes()[0]).collect(),
        _ => return Err(Refusal::Unreadable),
    };
    to_rgb(pixels, channels);
    let orientation = decoder.find_tag_unsigned(Tag::Orientation)?.map_or(Orientation::UPRIGHT, Orientation::from_tag);
    Ok(Header { width, height, orientation })
}

/// Channels of a TIFF file of a kind that Pillow and this program read alike: grey, RGB or RGB with alpha that is not
/// multiplied into it, of 8 or 16 bits, in one plane, without compression or with a lossless one.
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
