//! Promptable segmentation.

use std::num::{NonZeroU32, NonZeroUsize};
use std::ops::{Deref, RangeInclusive};
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use numpy::{PyReadonlyArray3, PyReadonlyArrayDyn, PyUntypedArray, PyUntypedArrayMethods};
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PyString};
use runoff_core::protocol::{Mask, Prompt, Segment, bad_request};
use runoff_core::segment::sieve::Found;
use runoff_core::segmenter as core;
use runoff_session::{Dtype, Error, RawTensor};

use crate::arguments::{BATCH, Listed, SIDE, positive, whole, within};
use crate::array;
use crate::errors::{argument, bad_argument, to_python};
use crate::feeds::{class, shown};
use crate::session::Session;

/// Points of a grid, layers of crops, pixels of a region: their own checks follow.
const COUNT: RangeInclusive<i64> = 0..=0x7fff_ffff;
/// The prompt in messages.
const PROMPT: &str = "the prompt";

/// A session that Python owns.
struct Shared(Py<Session>);

impl Deref for Shared {
    type Target = runoff_session::Session;

    fn deref(&self) -> &Self::Target {
        &self.0.get().core
    }
}

#[doc = stub!("Segmenter")]
#[pyclass(frozen, module = "runoff_ort")]
pub struct Segmenter {
    /// Locked only with the GIL released, so that a thread that waits for it does not stop the others.
    core: Mutex<core::Segmenter<Shared>>,
    spec: Segment,
    #[doc = stub!("Segmenter.encoder")]
    #[pyo3(get)]
    encoder: Py<Session>,
    #[doc = stub!("Segmenter.decoder")]
    #[pyo3(get)]
    decoder: Py<Session>,
}

/// Masks, predicted IoUs, low-resolution logits.
type Predicted<'py> = (Bound<'py, PyUntypedArray>, Bound<'py, PyUntypedArray>, Bound<'py, PyUntypedArray>);

#[pymethods]
impl Segmenter {
    #[new]
    #[pyo3(signature = (encoder, decoder, *, size = 1024, mean = Segment::default().mean, std = Segment::default().std,
        mask_threshold = 0.0, **settings))]
    #[expect(clippy::too_many_arguments, reason = "one for each setting")]
    fn new(
        py: Python<'_>,
        encoder: &Bound<'_, PyAny>,
        decoder: &Bound<'_, PyAny>,
        #[pyo3(from_py_with = whole)] size: i64,
        mean: [f64; 3],
        std: [f64; 3],
        mask_threshold: f64,
        settings: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<Self> {
        let size = within(size, "size", &SIDE).map_err(|error| argument(py, &error))?;
        let size = NonZeroU32::new(size).unwrap_or(NonZeroU32::MIN);
        let spec = Segment { size, mean, std, mask_threshold, ..Segment::default() };
        let open = |model: &Bound<'_, PyAny>| {
            Ok::<_, PyErr>(py.get_type::<Session>().call((model,), settings)?.cast_into::<Session>()?.unbind())
        };
        let (encoder, decoder) = (open(encoder)?, open(decoder)?);
        let shared = [&encoder, &decoder].map(|session| Shared(session.clone_ref(py)));
        let [first, second] = shared;
        let threads = first.threads().unwrap_or(1);
        let core = core::Segmenter::new(first, second, &spec, threads).map_err(|error| to_python(py, &error))?;
        Ok(Self { core: Mutex::new(core), spec, encoder, decoder })
    }

    #[doc = stub!("Segmenter.set_image")]
    #[pyo3(signature = (image, *, encode = true))]
    fn set_image(&self, py: Python<'_>, image: &Bound<'_, PyAny>, encode: bool) -> PyResult<()> {
        let encoded = |core: &mut core::Segmenter<Shared>| if encode { core.encode() } else { Ok(()) };
        if image.is_instance_of::<PyString>() || image.hasattr("__fspath__")? {
            let path: PathBuf = image.extract()?;
            return self.work(py, |core| core.read(&path, true).and_then(|()| encoded(core)));
        }
        let wrong = |given: String| PyTypeError::new_err(format!("an image is uint8 of shape [h, w, 3], not {given}"));
        let array = array::cast(image)?.ok_or_else(|| wrong(class(image)))?;
        let array = if array.is_c_contiguous() { array.clone() } else { array::to_plain(array)? };
        let pixels = array.extract::<PyReadonlyArray3<'_, u8>>();
        let pixels = pixels.ok().filter(|pixels| pixels.shape()[2] == 3).ok_or_else(|| wrong(shown(&array)))?;
        let side = |index: usize| u32::try_from(pixels.shape()[index]).unwrap_or(u32::MAX);
        let (bytes, height, width) = (pixels.as_slice()?, side(0), side(1));
        self.work(py, |core| core.set_pixels(bytes, width, height).and_then(|()| encoded(core)))
    }

    #[doc = stub!("Segmenter.encode")]
    fn encode(&self, py: Python<'_>) -> PyResult<()> {
        self.work(py, core::Segmenter::encode)
    }

    #[doc = stub!("Segmenter.predict")]
    #[pyo3(signature = (points = None, labels = None, r#box = None, mask = None, multimask = true))]
    fn predict<'py>(
        &self,
        py: Python<'py>,
        points: Option<Listed<Listed<f64>>>,
        labels: Option<Listed<i64>>,
        r#box: Option<Listed<f64>>,
        mask: Option<&Bound<'py, PyAny>>,
        multimask: bool,
    ) -> PyResult<Predicted<'py>> {
        let mask = mask.map(logits).transpose()?;
        let prompt = prompt(points, labels, r#box).map_err(|error| argument(py, &error))?;
        prompt.check(PROMPT, mask.is_some()).map_err(|error| argument(py, &error))?;
        let spec = Segment { multimask, ..self.spec.clone() };
        let (masks, shape, low, low_side) = self.work(py, |core| {
            let core::Prediction { masks, outputs } = core.predict(&spec, PROMPT, &prompt, mask.as_deref())?;
            let decoded = outputs.decoded(multimask)?;
            let square = decoded.low_side * decoded.low_side;
            let low = decoded.low[decoded.kept.start * square..][..masks.len() * square].iter();
            let low: Vec<u8> = low.flat_map(|logit| logit.to_le_bytes()).collect();
            let pixels: Vec<u8> = masks.iter().flat_map(pixels).collect();
            let side = |side: fn(&Found) -> u32| masks.first().map_or(0, side);
            let shape = (side(|mask| mask.rle.height), side(|mask| mask.rle.width));
            let ious: Vec<u8> = masks.iter().flat_map(|mask| mask.predicted_iou.to_le_bytes()).collect();
            Ok(((pixels, ious), shape, low, decoded.low_side))
        })?;
        let (pixels, ious) = masks;
        let dim = |dim: usize| i64::try_from(dim).unwrap_or(i64::MAX);
        let (count, low_side) = (dim(ious.len() / size_of::<f32>()), dim(low_side));
        Ok((
            array::copy_of(py, Dtype::Bool, &[count, shape.0.into(), shape.1.into()], &pixels)?,
            array::copy_of(py, Dtype::Float32, &[count], &ious)?,
            array::copy_of(py, Dtype::Float32, &[count, low_side, low_side], &low)?,
        ))
    }

    #[doc = stub!("Segmenter.generate")]
    #[pyo3(signature = (*, points_per_side = 32, points_per_batch = 64, pred_iou_thresh = 0.88,
        stability_score_thresh = 0.95, stability_score_offset = 1.0, box_nms_thresh = 0.7, crop_n_layers = 0,
        crop_nms_thresh = 0.7, crop_overlap_ratio = 512.0 / 1500.0, crop_n_points_downscale_factor = 1,
        min_mask_region_area = 0, output_mode = "binary_mask"))]
    #[expect(clippy::too_many_arguments, reason = "one for each filter")]
    fn generate<'py>(
        &self,
        py: Python<'py>,
        #[pyo3(from_py_with = whole)] points_per_side: i64,
        #[pyo3(from_py_with = whole)] points_per_batch: i64,
        pred_iou_thresh: f64,
        stability_score_thresh: f64,
        stability_score_offset: f64,
        box_nms_thresh: f64,
        #[pyo3(from_py_with = whole)] crop_n_layers: i64,
        crop_nms_thresh: f64,
        crop_overlap_ratio: f64,
        #[pyo3(from_py_with = whole)] crop_n_points_downscale_factor: i64,
        #[pyo3(from_py_with = whole)] min_mask_region_area: i64,
        output_mode: &str,
    ) -> PyResult<Bound<'py, PyList>> {
        let wrong = |error: Error| argument(py, &error);
        let spec = Segment {
            points_per_side: count(points_per_side, "points_per_side").map_err(wrong)?,
            points_per_batch: positive(points_per_batch, "points_per_batch", &BATCH).map_err(wrong)?,
            pred_iou_thresh,
            stability_score_thresh,
            stability_score_offset,
            box_nms_thresh,
            crop_n_layers: within(crop_n_layers, "crop_n_layers", &COUNT).map_err(wrong)?,
            crop_nms_thresh,
            crop_overlap_ratio,
            crop_n_points_downscale_factor: count(crop_n_points_downscale_factor, "crop_n_points_downscale_factor")
                .map_err(wrong)?,
            min_mask_region_area: within(min_mask_region_area, "min_mask_region_area", &COUNT).map_err(wrong)?,
            ..self.spec.clone()
        };
        spec.check().map_err(wrong)?;
        let is_binary = match output_mode {
            "binary_mask" => true,
            "uncompressed_rle" => false,
            _ => return Err(bad_argument(py, "output_mode is not binary_mask or uncompressed_rle")),
        };
        let masks = self.work(py, |core| {
            let painted = |mask: Found| (is_binary.then(|| pixels(&mask)), mask.into_mask());
            Ok(core.generate(&spec)?.into_iter().map(painted).collect::<Vec<_>>())
        })?;
        let all = masks.iter().map(|(pixels, mask)| record(py, pixels.as_deref(), mask));
        PyList::new(py, all.collect::<PyResult<Vec<_>>>()?)
    }

    #[doc = stub!("Segmenter.image_embeddings")]
    #[getter]
    fn image_embeddings<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyUntypedArray>> {
        let raw = self.work(py, |core| {
            let value = core.embeddings().ok_or_else(|| bad_request("there is no picture yet"))?;
            RawTensor::copy_of(value, "image_embeddings")
        })?;
        let dims: Vec<_> = raw.shape.iter().map(|&dim| i64::try_from(dim).unwrap_or(i64::MAX)).collect();
        array::copy_of(py, raw.dtype, &dims, &raw.bytes)
    }

    #[doc = stub!("Segmenter.timings")]
    #[getter]
    fn timings<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let core::Times { preprocess_ns, encode_ns, decode_ns, postprocess_ns } =
            self.work(py, |core| Ok(core.times()))?;
        let all = PyDict::new(py);
        all.set_item("preprocess", preprocess_ns)?;
        all.set_item("encode", encode_ns)?;
        all.set_item("decode", decode_ns)?;
        all.set_item("postprocess", postprocess_ns)?;
        Ok(all)
    }

    #[doc = stub!("Segmenter.raw_masks")]
    #[getter]
    fn raw_masks(&self, py: Python<'_>) -> PyResult<usize> {
        self.work(py, |core| Ok(core.raw()))
    }
}

impl Segmenter {
    /// Calls `call` with the GIL released, one thread at a time.
    fn work<R: Send>(
        &self,
        py: Python<'_>,
        call: impl FnOnce(&mut core::Segmenter<Shared>) -> Result<R, Error> + Send,
    ) -> PyResult<R> {
        let done = py.detach(|| call(&mut self.core.lock().unwrap_or_else(PoisonError::into_inner)));
        done.map_err(|error| to_python(py, &error))
    }
}

/// Reads the parts of a prompt.
fn prompt(
    points: Option<Listed<Listed<f64>>>,
    labels: Option<Listed<i64>>,
    bounds: Option<Listed<f64>>,
) -> Result<Prompt, Error> {
    let point = |Listed(point): Listed<f64>| {
        <[f64; 2]>::try_from(point).map_err(|point| bad_request(format!("points: {point:?} is not x and y")))
    };
    let label = |label: i64| u8::try_from(label).map_err(|_| bad_request(format!("labels: {label} is not 0 or 1")));
    let edges = |Listed(edges): Listed<f64>| {
        let message = |edges| bad_request(format!("box: {edges:?} is not left, top, right and bottom"));
        <[f64; 4]>::try_from(edges).map_err(message)
    };
    Ok(Prompt {
        points: points.into_iter().flat_map(|points| points.0).map(point).collect::<Result<_, _>>()?,
        labels: labels.into_iter().flat_map(|labels| labels.0).map(label).collect::<Result<_, _>>()?,
        bounds: bounds.map(edges).transpose()?,
        mask: None,
    })
}

/// Copies the logits of a mask.
fn logits(mask: &Bound<'_, PyAny>) -> PyResult<Vec<f32>> {
    let wrong = |given: String| PyTypeError::new_err(format!("a mask is an array of float32, not {given}"));
    let array = array::cast(mask)?.ok_or_else(|| wrong(class(mask)))?;
    let floats: PyReadonlyArrayDyn<'_, f32> = array.extract().map_err(|_| wrong(shown(array)))?;
    Ok(floats.as_array().iter().copied().collect())
}

/// A number that is not 0.
fn count(number: i64, name: &str) -> Result<NonZeroU32, Error> {
    let number: NonZeroUsize = positive(number, name, &BATCH)?;
    Ok(number.try_into().unwrap_or(NonZeroU32::MAX))
}

/// A byte for each pixel of the picture, row by row: 1 on the mask.
fn pixels(mask: &Found) -> Vec<u8> {
    let mut pixels = vec![0; mask.rle.height as usize * mask.rle.width as usize];
    mask.rle.paint(&mut pixels);
    pixels
}

/// A mask as segment-anything's generator returns it.
fn record<'py>(py: Python<'py>, pixels: Option<&[u8]>, mask: &Mask) -> PyResult<Bound<'py, PyDict>> {
    let all = PyDict::new(py);
    if let Some(pixels) = pixels {
        let shape = mask.size.map(i64::from);
        all.set_item("segmentation", array::copy_of(py, Dtype::Bool, &shape, pixels)?)?;
    } else {
        let rle = PyDict::new(py);
        rle.set_item("size", mask.size)?;
        rle.set_item("counts", &mask.counts)?;
        all.set_item("segmentation", rle)?;
    }
    all.set_item("area", mask.area)?;
    all.set_item("bbox", mask.bbox)?;
    all.set_item("predicted_iou", mask.predicted_iou)?;
    all.set_item("point_coords", &mask.point_coords)?;
    all.set_item("stability_score", mask.stability_score)?;
    all.set_item("crop_box", mask.crop_box)?;
    Ok(all)
}
