//! A model's own description, as Python objects.

use std::collections::BTreeMap;

use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};
use runoff_session::ValueInfo;

#[doc = stub!("TensorInfo")]
#[pyclass(frozen, eq, hash, module = "runoff_ort")]
#[derive(PartialEq, Eq, Hash)]
pub struct TensorInfo {
    #[doc = stub!("TensorInfo.name")]
    #[pyo3(get)]
    name: String,
    #[doc = stub!("TensorInfo.dtype")]
    #[pyo3(get)]
    dtype: String,
    shape: Vec<Option<usize>>,
    dimensions: Vec<Option<String>>,
}

#[pymethods]
impl TensorInfo {
    #[doc = stub!("TensorInfo.shape")]
    #[getter]
    fn shape<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        PyTuple::new(py, &self.shape)
    }

    #[doc = stub!("TensorInfo.dimensions")]
    #[getter]
    fn dimensions<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        PyTuple::new(py, &self.dimensions)
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        let (name, dtype) = (quoted(py, &self.name)?, quoted(py, &self.dtype)?);
        Ok(format!("TensorInfo(name={name}, dtype={dtype}, shape={})", self.shape(py)?.repr()?))
    }
}

impl TensorInfo {
    /// Describes `info`.
    pub fn of(info: &ValueInfo) -> Self {
        let symbol = |place: usize| info.symbols.get(place).cloned().flatten();
        let named = |(place, dim): (usize, &Option<usize>)| if dim.is_none() { symbol(place) } else { None };
        Self {
            name: info.name.clone(),
            dtype: info.kind.clone(),
            shape: info.shape.clone(),
            dimensions: info.shape.iter().enumerate().map(named).collect(),
        }
    }
}

#[doc = stub!("Metadata")]
#[pyclass(frozen, eq, module = "runoff_ort")]
#[derive(PartialEq, Eq)]
pub struct Metadata {
    metadata: runoff_session::Metadata,
}

#[pymethods]
impl Metadata {
    #[doc = stub!("Metadata.producer")]
    #[getter]
    fn producer(&self) -> &str {
        &self.metadata.producer
    }

    #[doc = stub!("Metadata.graph")]
    #[getter]
    fn graph(&self) -> &str {
        &self.metadata.graph
    }

    #[doc = stub!("Metadata.graph_description")]
    #[getter]
    fn graph_description(&self) -> &str {
        &self.metadata.graph_description
    }

    #[doc = stub!("Metadata.domain")]
    #[getter]
    fn domain(&self) -> &str {
        &self.metadata.domain
    }

    #[doc = stub!("Metadata.description")]
    #[getter]
    fn description(&self) -> &str {
        &self.metadata.description
    }

    #[doc = stub!("Metadata.version")]
    #[getter]
    const fn version(&self) -> i64 {
        self.metadata.version
    }

    #[doc = stub!("Metadata.custom")]
    #[getter]
    const fn custom(&self) -> &BTreeMap<String, String> {
        &self.metadata.custom
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        let runoff_session::Metadata {
            producer, graph, graph_description, domain, description, version, custom, ..
        } = &self.metadata;
        let texts = [
            ("producer", producer),
            ("graph", graph),
            ("graph_description", graph_description),
            ("domain", domain),
            ("description", description),
        ];
        let shown = texts.iter().map(|(name, text)| Ok(format!("{name}={}", quoted(py, text)?)));
        let shown = shown.collect::<PyResult<Vec<_>>>()?.join(", ");
        let custom: Bound<'_, PyDict> = custom.into_pyobject(py)?;
        Ok(format!("Metadata({shown}, version={version}, custom={})", custom.repr()?))
    }
}

impl From<runoff_session::Metadata> for Metadata {
    fn from(metadata: runoff_session::Metadata) -> Self {
        Self { metadata }
    }
}

fn quoted(py: Python<'_>, text: &str) -> PyResult<String> {
    Ok(text.into_pyobject(py)?.repr()?.to_string())
}
