//! Images to arrays.

use std::cell::Cell;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};

use numpy::{PyArray4, PyArrayMethods};
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::PyDict;
use runoff_core::preprocess::Preprocessor;
use runoff_core::protocol;
use runoff_core::protocol::parse_word;
use runoff_session::Error;

use crate::arguments::{Listed, SIDE, whole, within};
use crate::array;
use crate::errors::to_python;

/// `Preprocess` as a mapping.
#[derive(FromPyObject)]
#[pyo3(from_item_all)]
pub struct Spec {
    #[pyo3(from_py_with = whole)]
    resize: i64,
    #[pyo3(from_py_with = whole)]
    crop: i64,
    interpolation: String,
    mean: [f64; 3],
    std: [f64; 3],
}

/// An image file, or its contents.
pub enum Image {
    File(PathBuf),
    Bytes(PyBackedBytes),
}

impl<'py> FromPyObject<'_, 'py> for Image {
    type Error = PyErr;

    fn extract(object: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        if let Ok(bytes) = object.extract() {
            return Ok(Self::Bytes(bytes));
        }
        object.extract().map(Self::File)
    }
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
        let side = |name: &str, value: i64| {
            let side: u32 = within(value, &format!("preprocess.{name}"), &SIDE)?;
            Ok(NonZeroU32::new(side).unwrap_or(NonZeroU32::MIN))
        };
        Ok(protocol::Preprocess {
            resize: side("resize", self.resize)?,
            crop: side("crop", self.crop)?,
            interpolation: parse_word("preprocess.interpolation", &self.interpolation)?,
            mean: self.mean,
            std: self.std,
        })
    }
}

#[doc = stub!("preprocess")]
#[pyfunction]
#[pyo3(signature = (paths, resize, crop, interpolation, mean, std))]
#[expect(clippy::needless_pass_by_value, reason = "extracted from Python objects")]
pub fn preprocess(
    py: Python<'_>,
    paths: Listed<Image>,
    #[pyo3(from_py_with = whole)] resize: i64,
    #[pyo3(from_py_with = whole)] crop: i64,
    interpolation: String,
    mean: [f64; 3],
    std: [f64; 3],
) -> PyResult<Bound<'_, PyArray4<f32>>> {
    let failed = |error: Error| to_python(py, &error);
    let spec = Spec { resize, crop, interpolation, mean, std }.checked().map_err(failed)?;
    let side = spec.crop.get();
    let named = PyDict::new(py);
    named.set_item("dtype", "float32")?;
    let shape = (paths.0.len(), 3, side, side).into_pyobject(py)?;
    let array = array::numpy(py, "zeros", shape.as_any(), Some(&named))?.cast_into::<PyArray4<f32>>()?;
    let mut elements = array.readwrite();
    let tensor = elements.as_slice_mut()?;
    py.detach(|| load_all(&paths.0, spec, tensor)).map_err(failed)?;
    drop(elements);
    Ok(array)
}

fn load_all(images: &[Image], spec: protocol::Preprocess, tensor: &mut [f32]) -> Result<(), Error> {
    let mut preprocessor = match LATEST.take() {
        Some((latest, preprocessor)) if latest == spec => preprocessor,
        _ => Preprocessor::new(&spec)?,
    };
    for (image, part) in images.iter().zip(tensor.chunks_exact_mut(preprocessor.tensor_len())) {
        match image {
            Image::File(path) => preprocessor.load(path, part)?,
            Image::Bytes(bytes) => preprocessor.load_bytes(bytes, Path::new(""), part)?,
        }
    }
    if preprocessor.buffered_bytes() <= KEPT_BYTES {
        LATEST.set(Some((spec, preprocessor)));
    }
    Ok(())
}
