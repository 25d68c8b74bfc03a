//! Preprocessing, from a JPEG file to the model's input tensor, with the crates of `runoff-core` but none of its code.
//!
//! Only the part that the crop keeps is resized, in one call. The core also supports other formats, and resizes in
//! Pillow's order of the two passes, which matters for the bicubic filter.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use fast_image_resize::images::{TypedImage, TypedImageRef};
use fast_image_resize::pixels::U8x3;
use fast_image_resize::{FilterType, ResizeAlg, ResizeOptions, Resizer};
use runoff_core::protocol::{Interpolation, Preprocess};
use runoff_session::{Error, Kind};
use turbojpeg::{Decompressor, Image, PixelFormat};

use crate::orientation::Orientation;

/// Maximum size of an image, in pixels; the same in every runner.
const MAX_PIXELS: usize = 178_956_970;
const HINT: &str = "convert it to an RGB JPEG file";

/// Preprocesses image files one after another, reusing its buffers.
pub struct Images {
    paths: Vec<PathBuf>,
    spec: Preprocess,
    resizer: Resizer,
    /// Pixels after rotation; empty until an image needs it.
    upright: Vec<u8>,
    cropped: TypedImage<'static, U8x3>,
    /// `(value - mean) / std` for every byte value of every channel.
    normalised: Box<[[f32; 256]; 3]>,
}

impl Images {
    /// Creates a preprocessor for the images `paths`.
    #[expect(clippy::cast_possible_truncation, reason = "NumPy computes in float32 too")]
    pub fn new(paths: Vec<PathBuf>, spec: Preprocess) -> Self {
        let mut normalised = Box::new([[0.0; 256]; 3]);
        for ((row, &mean), &std) in normalised.iter_mut().zip(&spec.mean).zip(&spec.std) {
            for (entry, value) in row.iter_mut().zip(0..=u8::MAX) {
                *entry = (f32::from(value) - mean as f32) / std as f32;
            }
        }
        let cropped = TypedImage::new(spec.crop.get(), spec.crop.get());
        Self { paths, spec, resizer: Resizer::new(), upright: Vec::new(), cropped, normalised }
    }

    /// Number of images.
    pub fn len(&self) -> usize {
        self.paths.len()
    }

    /// Side of a tensor's image, in pixels.
    pub fn side(&self) -> usize {
        usize::try_from(self.spec.crop.get()).unwrap_or(usize::MAX)
    }

    /// Writes image `item` as float32, CHW, RGB into `tensor`, which has `3 * side * side` elements.
    ///
    /// # Errors
    ///
    /// `image-missing`, `image-unreadable` or `image-too-large`, naming the file.
    pub fn load(&mut self, item: usize, tensor: &mut [f32]) -> Result<(), Error> {
        let path = self.paths[item].clone();
        let shown = path.display();
        let file = read(&path)?;
        let (decoded, width, height) = decode(&file, &path)?;
        let orientation = Orientation::of_jpeg(&file);
        let (pixels, (width, height)) = if orientation == Orientation::UPRIGHT {
            (&decoded, (width, height))
        } else {
            let size = orientation.apply(&decoded, width, height, &mut self.upright);
            (&self.upright, size)
        };
        let options = self.kept(width, height);
        let internal = |error: &dyn std::error::Error| {
            Error::new(Kind::Internal, format!("cannot resize {shown}: {error}"), "report this")
        };
        let source = TypedImageRef::<U8x3>::from_buffer(width, height, pixels).map_err(|error| internal(&error))?;
        self.resizer.resize_typed(&source, &mut self.cropped, &options).map_err(|error| internal(&error))?;
        normalise(self.cropped.pixels(), &self.normalised, tensor);
        Ok(())
    }

    /// The part of the source that remains after resizing the shorter side and cropping the middle.
    fn kept(&self, width: u32, height: u32) -> ResizeOptions {
        let filter = match self.spec.interpolation {
            Interpolation::Bilinear => FilterType::Bilinear,
            Interpolation::Bicubic => FilterType::CatmullRom,
        };
        let (resize, crop) = (self.spec.resize.get(), self.spec.crop.get());
        let span = |side: u32| {
            let resized = u64::from(resize) * u64::from(side) / u64::from(width.min(height));
            let resized = u32::try_from(resized).unwrap_or(u32::MAX);
            let scale = f64::from(side) / f64::from(resized);
            let start = f64::from(resized.saturating_sub(crop) / 2) * scale;
            (start, (f64::from(crop) * scale).min(f64::from(side) - start))
        };
        let (across, down) = (span(width), span(height));
        ResizeOptions::new().resize_alg(ResizeAlg::Convolution(filter)).crop(across.0, down.0, across.1, down.1)
    }
}

/// Reads a regular file: a pipe may block, and a device never end.
fn read_file(path: &Path) -> io::Result<Vec<u8>> {
    let found = fs::metadata(path)?;
    // for a folder, the system has its own error message
    let is_allowed = found.is_file() || found.is_dir();
    if is_allowed { fs::read(path) } else { Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file")) }
}

fn read(path: &Path) -> Result<Vec<u8>, Error> {
    read_file(path).map_err(|error| {
        let text = error.to_string();
        let (kind, reason) = match error.kind() {
            io::ErrorKind::NotFound => (Kind::ImageMissing, "not found"),
            // without Rust's " (os error 21)"
            _ => (Kind::ImageUnreadable, text.split(" (os error").next().unwrap_or_default()),
        };
        Error::new(kind, format!("image {}: {reason}", path.display()), "check the path")
    })
}

/// Decodes the JPEG file `file`; returns the RGB pixels, width and height.
fn decode(file: &[u8], path: &Path) -> Result<(Vec<u8>, u32, u32), Error> {
    let shown = path.display();
    let unreadable = |why: &str| Error::new(Kind::ImageUnreadable, format!("image {shown}: {why}"), HINT);
    let damaged = |_| unreadable("damaged, truncated or unsupported JPEG file");
    if !file.starts_with(&[0xff, 0xd8, 0xff]) {
        return Err(unreadable("not a JPEG file, the only format of this runner"));
    }
    let mut decoder = Decompressor::new().map_err(damaged)?;
    let header = decoder.read_header(file).map_err(damaged)?;
    let (width, height, format) = (header.width, header.height, PixelFormat::RGB);
    let count = width.saturating_mul(height);
    if count > MAX_PIXELS {
        let message = format!("image {shown}: {width} x {height} is more than {MAX_PIXELS} pixels");
        return Err(Error::new(Kind::ImageTooLarge, message, "scale it down first"));
    }
    let mut pixels = vec![0; 3 * count];
    let image = Image { pixels: &mut pixels[..], width, pitch: 3 * width, height, format };
    decoder.decompress(file, image).map_err(damaged)?;
    Ok((pixels, u32::try_from(width).unwrap_or(0), u32::try_from(height).unwrap_or(0)))
}

/// Converts interleaved bytes to planar normalised floats.
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
