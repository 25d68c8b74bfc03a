//! Promptable segmentation with an encoder and a decoder.

mod decoder;

use std::ops::Deref;
use std::path::Path;

use runoff_session::{Buffer, Dtype, Error, Kind, Session, Value};

use crate::clock::now_ns;
use crate::image::{Decoder as ImageDecoder, Part, Pixels};
use crate::protocol::{Prompt, Segment, bad_request};
use crate::segment::frame::Frame;
use crate::segment::grid;
use crate::segment::picture::Fitter;
use crate::segment::prompt::Points;
use crate::segment::sieve::{Found, Meter, Sieve, distinct_between_crops, without_small_regions};

use decoder::Decoder;
pub use decoder::Outputs;

/// Durations since the current picture was given, in nanoseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Times {
    /// Reading and preprocessing the picture.
    pub preprocess_ns: u64,
    /// The encoder, and the preprocessing of crops.
    pub encode_ns: u64,
    /// The decoder.
    pub decode_ns: u64,
    /// Everything else, from logits to masks.
    pub postprocess_ns: u64,
}

/// The masks of a prompt, and what the decoder returned.
#[derive(Debug)]
pub struct Prediction {
    /// The masks, in the decoder's order.
    pub masks: Vec<Found>,
    /// The decoder's outputs.
    pub outputs: Outputs,
}

/// The current picture.
#[derive(Debug)]
struct Picture {
    width: u32,
    height: u32,
    /// RGB; empty unless crops need them.
    pixels: Vec<u8>,
    /// `None` until the encoder has run.
    embeddings: Option<Value<'static>>,
}

/// Segments pictures one after another, reusing its buffers.
#[derive(Debug)]
pub struct Segmenter<S> {
    encoder: S,
    decoder: Decoder<S>,
    images: ImageDecoder,
    fitter: Fitter,
    size: u32,
    /// The encoder's input.
    tensor: Buffer,
    picture: Picture,
    points: Points,
    meters: Vec<Meter>,
    times: Times,
    /// Number of masks of the decoder for the current picture, before any filter.
    raw: usize,
}

impl<S: Deref<Target = Session>> Segmenter<S> {
    /// Creates a segmenter of two sessions; postprocessing uses up to `threads` threads. Of `spec`, the size, the means and
    /// the standard deviations count.
    ///
    /// # Errors
    ///
    /// `bad-request` for a wrong `spec`; `model-mismatch` or `model-unsupported` if a model is not one of those.
    pub fn new(encoder: S, decoder: S, spec: &Segment, threads: usize) -> Result<Self, Error> {
        spec.check()?;
        let [_] = encoder.inputs() else {
            let message = format!("the encoder has {} inputs; it needs one", encoder.inputs().len());
            return Err(Error::new(Kind::ModelMismatch, message, "use an encoder from a picture to its embeddings"));
        };
        let size = spec.size.get();
        encoder.check_tensor(0, Dtype::Float32, &[1, 3, size.into(), size.into()])?;
        Ok(Self {
            encoder,
            decoder: Decoder::new(decoder)?,
            images: ImageDecoder::default(),
            fitter: Fitter::new(spec),
            size,
            tensor: Buffer::for_shape(Dtype::Float32, &[1, 3, size as usize, size as usize])?,
            picture: Picture { width: 0, height: 0, pixels: Vec::new(), embeddings: None },
            points: Points::default(),
            meters: (0..threads.max(1)).map(|_| Meter::default()).collect(),
            times: Times::default(),
            raw: 0,
        })
    }

    /// The session of the encoder.
    #[must_use]
    pub fn encoder(&self) -> &Session {
        &self.encoder
    }

    /// The session of the decoder.
    #[must_use]
    pub fn decoder(&self) -> &Session {
        self.decoder.session()
    }

    /// Durations since the current picture was given.
    #[must_use]
    pub const fn times(&self) -> Times {
        self.times
    }

    /// Number of masks that the decoder made for the current picture, before any filter.
    #[must_use]
    pub const fn raw(&self) -> usize {
        self.raw
    }

    /// Reads the picture in the file `path`, for [`Self::encode`]. `keep_pixels`: crops of it may follow.
    ///
    /// # Errors
    ///
    /// `image-missing`, `image-unreadable`, `image-too-large`; `bad-request` without memory.
    pub fn read(&mut self, path: &Path, keep_pixels: bool) -> Result<(), Error> {
        let (begun_ns, whole) = (now_ns(), |width, height| Part { left: 0, top: 0, width, height });
        let Pixels { width, height, bytes, .. } = self.images.open(path, whole)?;
        self.fitter.fit(bytes, width, whole(width, height), self.tensor.floats_mut())?;
        self.picture.begin(bytes, (width, height), keep_pixels)?;
        self.restart(begun_ns);
        Ok(())
    }

    /// Takes a picture, three bytes a pixel, for [`Self::encode`].
    ///
    /// # Errors
    ///
    /// `bad-request` for an empty picture, or without memory.
    ///
    /// # Panics
    ///
    /// If there are not as many bytes.
    pub fn set_pixels(&mut self, pixels: &[u8], width: u32, height: u32) -> Result<(), Error> {
        if width == 0 || height == 0 {
            return Err(bad_request("the picture has no pixels"));
        }
        let begun_ns = now_ns();
        self.fitter.fit(pixels, width, Part { left: 0, top: 0, width, height }, self.tensor.floats_mut())?;
        self.picture.begin(pixels, (width, height), true)?;
        self.restart(begun_ns);
        Ok(())
    }

    /// Begins the durations of a picture that was read since `begun_ns`.
    fn restart(&mut self, begun_ns: u64) {
        self.times = Times { preprocess_ns: now_ns() - begun_ns, ..Times::default() };
        self.raw = 0;
    }

    /// Runs the encoder on the picture.
    ///
    /// # Errors
    ///
    /// `runtime-failed`.
    pub fn encode(&mut self) -> Result<(), Error> {
        let begun_ns = now_ns();
        self.picture.embeddings = Some(self.run_encoder()?);
        self.times.encode_ns += now_ns() - begun_ns;
        Ok(())
    }

    /// The embeddings of the picture; `None` before [`Self::encode`].
    #[must_use]
    pub fn embeddings(&self) -> Option<&Value<'static>> {
        self.picture.embeddings.as_ref()
    }

    /// Makes the masks of a prompt. `mask` holds low-resolution logits; `field` names the prompt in messages.
    ///
    /// # Errors
    ///
    /// `bad-request` if there is no picture or the prompt is outside of it; `model-unsupported` for a mask that the decoder
    /// has no input for; `model-mismatch`, `runtime-failed`.
    pub fn predict(
        &mut self,
        spec: &Segment,
        field: &str,
        prompt: &Prompt,
        mask: Option<&[f32]>,
    ) -> Result<Prediction, Error> {
        let Picture { width, height, .. } = self.picture;
        self.with_embeddings(|own, embeddings| {
            prompt.check_within(field, width, height)?;
            let crop = Part { left: 0, top: 0, width, height };
            let frame = own.frame(crop);
            own.points.set_prompt(prompt, frame);
            let outputs = own.decode(embeddings, mask, frame)?;
            let decoded = outputs.decoded(spec.multimask)?;
            let sieve = Sieve::new(spec, (width, height), crop, decoded.low_side);
            let masks = sieve.masks(&decoded, &mut own.meters);
            own.raw += masks.len();
            Ok(Prediction { masks, outputs })
        })
    }

    /// Makes the masks of the whole picture, with a grid of points, also of its crops.
    ///
    /// # Errors
    ///
    /// As [`Self::predict`]; `bad-request` if the picture is too small for so many crops.
    pub fn generate(&mut self, spec: &Segment) -> Result<Vec<Found>, Error> {
        let crops = grid::crops(self.picture.width, self.picture.height, spec);
        self.with_embeddings(|own, embeddings| {
            if crops.iter().any(|(crop, _)| crop.width == 0 || crop.height == 0) {
                let Picture { width, height, .. } = own.picture;
                let message = format!("segment.crop_n_layers: a picture of {width} x {height} has fewer crops");
                return Err(bad_request(message));
            }
            let mut all = Vec::new();
            for &(crop, layer) in &crops {
                let cropped = if layer == 0 { None } else { Some(own.encode_crop(crop)?) };
                own.sift(spec, (crop, layer), cropped.as_ref().unwrap_or(embeddings), &mut all)?;
            }
            if crops.len() > 1 {
                all = distinct_between_crops(all, spec);
            }
            if spec.min_mask_region_area > 0 {
                all = without_small_regions(all, spec);
            }
            Ok(all)
        })
    }

    /// Adds the masks of a crop to `all`.
    fn sift(
        &mut self,
        spec: &Segment,
        (crop, layer): (Part, u32),
        embeddings: &Value<'_>,
        all: &mut Vec<Found>,
    ) -> Result<(), Error> {
        let frame = self.frame(crop);
        let points = grid::points(spec.points_in_layer(layer), crop.width, crop.height);
        let batch = self.decoder.fixed_prompts().unwrap_or(spec.points_per_batch.get()).max(1);
        let picture = (self.picture.width, self.picture.height);
        let (mut sieve, mut found) = (None, Vec::new());
        for points in points.chunks(batch) {
            self.points.set_grid(points, frame);
            let outputs = self.decode(embeddings, None, frame)?;
            let decoded = outputs.decoded(true)?;
            self.raw += points.len() * decoded.kept.len();
            let sieve = sieve.get_or_insert_with(|| Sieve::new(spec, picture, crop, decoded.low_side));
            found.extend(sieve.sift(&decoded, points, &mut self.meters));
        }
        all.extend(sieve.map(|sieve| sieve.distinct(found)).unwrap_or_default());
        Ok(())
    }

    /// Calls `work` with the embeddings of the picture, and measures it.
    fn with_embeddings<R>(
        &mut self,
        work: impl FnOnce(&mut Self, &Value<'static>) -> Result<R, Error>,
    ) -> Result<R, Error> {
        let (begun_ns, before) = (now_ns(), self.times);
        let embeddings = self.picture.embeddings.take().ok_or_else(|| bad_request("there is no picture yet"))?;
        let done = work(self, &embeddings);
        self.picture.embeddings = Some(embeddings);
        let models_ns = self.times.encode_ns - before.encode_ns + self.times.decode_ns - before.decode_ns;
        self.times.postprocess_ns += (now_ns() - begun_ns).saturating_sub(models_ns);
        done
    }

    /// The embeddings of a part of the picture.
    fn encode_crop(&mut self, crop: Part) -> Result<Value<'static>, Error> {
        let Picture { width, pixels, .. } = &self.picture;
        let begun_ns = now_ns();
        self.fitter.fit(pixels, *width, crop, self.tensor.floats_mut())?;
        let embeddings = self.run_encoder();
        self.times.encode_ns += now_ns() - begun_ns;
        embeddings
    }

    fn run_encoder(&self) -> Result<Value<'static>, Error> {
        let size = self.size as usize;
        let input = Value::over(Dtype::Float32, &[1, 3, size, size], self.tensor.bytes())?;
        let (mut outputs, _) = self.encoder.run_some_timed(&[0], &[input], &[0])?;
        Ok(outputs.remove(0))
    }

    fn decode(&mut self, embeddings: &Value<'_>, mask: Option<&[f32]>, frame: Frame) -> Result<Outputs, Error> {
        let begun_ns = now_ns();
        let outputs = self.decoder.run(embeddings, &self.points, mask, frame);
        self.times.decode_ns += now_ns() - begun_ns;
        outputs
    }

    const fn frame(&self, crop: Part) -> Frame {
        Frame { width: crop.width, height: crop.height, size: self.size }
    }
}

impl Picture {
    /// Replaces the picture by one without embeddings.
    fn begin(&mut self, pixels: &[u8], (width, height): (u32, u32), keep_pixels: bool) -> Result<(), Error> {
        (self.width, self.height, self.embeddings) = (width, height, None);
        self.pixels.clear();
        if keep_pixels {
            self.pixels.try_reserve_exact(pixels.len()).map_err(|_| Error::memory("the picture's pixels"))?;
            self.pixels.extend_from_slice(pixels);
        }
        Ok(())
    }
}
