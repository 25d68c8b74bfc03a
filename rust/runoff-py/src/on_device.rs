//! Inputs and outputs in the memory of the session's device.

#![allow(unsafe_code)]

use std::sync::{Mutex, MutexGuard, PoisonError};

use pyo3::prelude::*;
use pyo3::types::PyDict;
use runoff_session::{Buffers, Error, Results, Value};

use crate::dlpack::DeviceTensor;
use crate::errors::{bad_argument, to_python};
use crate::feeds::{Feeds, Few};
use crate::held::InPlace;
use crate::output::to_object;
use crate::session::Session;

#[doc = stub!("DeviceBinding")]
#[pyclass(frozen, module = "runoff_ort")]
pub struct DeviceBinding {
    /// Locked only with the GIL released, so that a thread that waits for it does not stop the others.
    buffers: Mutex<Buffers>,
    session: Py<Session>,
}

#[pymethods]
impl DeviceBinding {
    #[doc = stub!("DeviceBinding.copy_in")]
    fn copy_in(&self, py: Python<'_>, feeds: &Bound<'_, PyAny>) -> PyResult<()> {
        let core = &self.session.get().core;
        let feeds = Feeds::read_from(core, feeds, Some(core.memory()))?;
        if feeds.places.iter().any(|&place| place >= core.inputs().len()) {
            return Err(bad_argument(py, "feeds names an initialiser, which has no place on the device"));
        }
        let values = feeds.values().map_err(|error| to_python(py, &error))?;
        let mut ordered: Few<_> = feeds.places.iter().zip(values).collect();
        ordered.sort_by_key(|(place, _)| **place);
        let values: Few<Value<'_>> = ordered.into_iter().map(|(_, value)| value).collect();
        self.locked(py, |buffers| buffers.copy_in(&values))
    }

    #[doc = stub!("DeviceBinding.compute")]
    fn compute(&self, py: Python<'_>) -> PyResult<()> {
        self.locked(py, Buffers::compute)
    }

    #[doc = stub!("DeviceBinding.copy_out")]
    fn copy_out<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let copy = |buffers: &mut Buffers| {
            let mut results = Results::default();
            buffers.copy_out(&mut results).map(|()| results)
        };
        let results = self.locked(py, copy)?;
        let (session, outputs) = (self.session.get(), PyDict::new(py));
        for (place, value) in results.into_iter().enumerate() {
            let made = to_object(py, &session.core.outputs()[place], value, &InPlace::default())?;
            outputs.set_item(session.output_name(py, place), made)?;
        }
        Ok(outputs)
    }

    #[doc = stub!("DeviceBinding.outputs")]
    fn outputs<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyDict>> {
        let (py, this) = (slf.py(), slf.get());
        // SAFETY: each `DeviceTensor` keeps this, and shows no element.
        let values = this.locked(py, |buffers| unsafe { buffers.outputs() })?;
        let (session, outputs) = (this.session.get(), PyDict::new(py));
        for (place, value) in values.into_iter().enumerate() {
            let made = DeviceTensor::new(slf, &session.core, place, value);
            outputs.set_item(session.output_name(py, place), made.map_err(|error| to_python(py, &error))?)?;
        }
        Ok(outputs)
    }
}

impl DeviceBinding {
    /// Gets ready for runs of `session`.
    pub fn new(session: &Bound<'_, Session>) -> PyResult<Self> {
        let py = session.py();
        let core = &session.get().core;
        let buffers = py.detach(|| Buffers::new(core)).map_err(|error| to_python(py, &error))?;
        Ok(Self { buffers: Mutex::new(buffers), session: session.clone().unbind() })
    }

    /// Calls `step` with the buffers to itself, and the GIL released.
    fn locked<R: Send>(
        &self,
        py: Python<'_>,
        step: impl FnOnce(&mut Buffers) -> Result<R, Error> + Send,
    ) -> PyResult<R> {
        let outcome = py.detach(|| {
            let mut buffers: MutexGuard<'_, Buffers> = self.buffers.lock().unwrap_or_else(PoisonError::into_inner);
            step(&mut buffers)
        });
        outcome.map_err(|error| to_python(py, &error))
    }
}
