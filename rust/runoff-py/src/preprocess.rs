//! Images to arrays.

use std::cell::Cell;
use std::path::PathBuf;

use numpy::{PyArray1, PyArray4, PyArrayMethods};
use pyo3::prelude::*;
use runoff_core::Error;
use runoff_core::preprocess::Preprocessor;
use runoff_core::protocol::{self, parse_word};

use crate::errors::to_python;

/// `Preprocess` as a mapping.
#[derive(FromPyObject)]
#[pyo3(from_item_all)]
pub struct Spec {
    resize: u32,
    crop: u32,
    interpolation: String,
    mean: [f64; 3],
    std: [f64; 3],
}

thread_local! {
    /// What this thread used last, with its buffers: fresh ones cost a tenth of an image of half a megapixel.
    static LATEST: Cell<Option<(protocol::Preprocess, Preprocessor)>> = const { Cell::new(None) };
}

/// Buffers larger than this are given back after a call, in bytes.
const KEPT_BYTES: usize = 4 << 20;

impl Spec {
    /// Gets ready for images.
    pub fn preprocessor(&self) -> Result<Preprocessor, Error> {
        Preprocessor::new(&self.checked()?)
    }

    fn checked(&self) -> Result<protocol::Preprocess, Error> {
        let positive = |name: &str, value: u32| {
            value.try_into().map_err(|_| Error::bad_request(format!("preprocess.{name} is 0, not positive")))
        };
        Ok(protocol::Preprocess {
            resize: positive("resize", self.resize)?,
            crop: positive("crop", self.crop)?,
            interpolation: parse_word("preprocess.interpolation", &self.interpolation)?,
            mean: self.mean,
            std: self.std,
        })
    }
}

/// Reads, decodes, resizes, crops and normalises images.
#[pyfunction]
#[pyo3(signature = (paths, resize, crop, interpolation, mean, std))]
#[expect(clippy::needless_pass_by_value, reason = "extracted from Python objects")]
pub fn preprocess(
    py: Python<'_>,
    paths: Vec<PathBuf>,
    resize: u32,
    crop: u32,
    interpolation: String,
    mean: [f64; 3],
    std: [f64; 3],
) -> PyResult<Bound<'_, PyArray4<f32>>> {
    let spec = Spec { resize, crop, interpolation, mean, std };
    let (tensor, side) = py.detach(|| load_all(&paths, &spec)).map_err(|error| to_python(py, &error))?;
    PyArray1::from_vec(py, tensor).reshape([paths.len(), 3, side, side])
}

fn load_all(paths: &[PathBuf], spec: &Spec) -> Result<(Vec<f32>, usize), Error> {
    let spec = spec.checked()?;
    let mut preprocessor = match LATEST.take() {
        Some((latest, preprocessor)) if latest == spec => preprocessor,
        _ => Preprocessor::new(&spec)?,
    };
    let len = preprocessor.tensor_len();
    let mut tensor = vec![0.0; paths.len() * len];
    for (path, part) in paths.iter().zip(tensor.chunks_exact_mut(len)) {
        preprocessor.load(path, part)?;
    }
    let side = preprocessor.crop();
    if preprocessor.buffered_bytes() <= KEPT_BYTES {
        LATEST.set(Some((spec, preprocessor)));
    }
    Ok((tensor, side))
}
