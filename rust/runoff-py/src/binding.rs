//! Inputs and outputs bound to a session, for repeated calls.

#![allow(unsafe_code)]

use std::sync::{Mutex, PoisonError};

use numpy::PyUntypedArray;
use pyo3::prelude::*;
use pyo3::types::PyDict;
use runoff_core::Error;
use runoff_core::value::Value;

use crate::array::{self, InPlace};
use crate::call;
use crate::errors::{mismatch, to_python};
use crate::feeds::{Few, dictionary, text};
use crate::output::to_object;
use crate::session::Session;
use crate::targets::{self, Target};

/// Inputs and outputs bound to a session.
///
/// The values lie on the memory of the arrays, which are held for as long: fields are dropped in this order.
#[pyclass(frozen, module = "runoff_ort")]
pub struct Binding {
    values: Few<Value<'static>>,
    /// One for each wanted output; those that are not bound are `None` between calls. Locked only with the GIL
    /// released, so that a thread that waits for it does not stop the others.
    results: Mutex<Few<Option<Value<'static>>>>,
    session: Py<Session>,
    given: Few<usize>,
    wanted: Few<usize>,
    arrays: Few<Py<PyUntypedArray>>,
    /// One for each wanted output; those that are not bound are `None`.
    targets: Few<Option<Py<PyUntypedArray>>>,
    in_place: InPlace,
}

#[pymethods]
impl Binding {
    /// Runs the model once.
    fn run<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let session = self.session.get();
        let call = || {
            let mut results = self.results.lock().unwrap_or_else(PoisonError::into_inner);
            // SAFETY: the arrays share no memory with each other and with the inputs (`targets::read`), and the lock
            // keeps other calls of this binding away; the caller guarantees the rest, as for `Session.run_into`.
            unsafe { call::run_bound(&session.core, (&self.given, &self.values), &self.wanted, &mut results) }
        };
        let made = py.detach(call).map_err(|error| to_python(py, &error))?;
        let outputs = PyDict::new(py);
        for ((&place, target), made) in self.wanted.iter().zip(&self.targets).zip(made) {
            let name = session.output_name(py, place);
            match (target, made) {
                (Some(array), _) => outputs.set_item(name, array)?,
                (None, Some(value)) => {
                    let info = &session.core.outputs()[place];
                    outputs.set_item(name, to_object(py, info, value, &self.in_place)?)?;
                }
                (None, None) => outputs.set_item(name, py.None())?,
            }
        }
        Ok(outputs)
    }

    /// The bound inputs.
    #[getter]
    fn inputs<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let inputs = PyDict::new(py);
        for (&place, array) in self.given.iter().zip(&self.arrays) {
            inputs.set_item(&self.session.get().core.input_at(place).name, array)?;
        }
        Ok(inputs)
    }

    /// The bound outputs.
    #[getter]
    fn outputs<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let outputs = PyDict::new(py);
        for (&place, target) in self.wanted.iter().zip(&self.targets) {
            if let Some(array) = target {
                outputs.set_item(self.session.get().output_name(py, place), array)?;
            }
        }
        Ok(outputs)
    }
}

impl Binding {
    /// Binds `feeds` for all inputs and, where there are some, arrays for outputs.
    pub fn new(
        session: &Bound<'_, Session>,
        feeds: &Bound<'_, PyAny>,
        outputs: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Self> {
        let (py, core) = (session.py(), &session.get().core);
        let inputs = read_inputs(session, feeds)?;
        let mut in_place = InPlace::default();
        inputs.iter().for_each(|input| in_place.add(&input.array, input.dtype));
        let bound = outputs.map_or_else(|| Ok(Few::new()), |outputs| targets::read(core, outputs, in_place))?;
        let mut binding = Self {
            values: Few::new(),
            results: Mutex::default(),
            session: session.clone().unbind(),
            given: inputs.iter().map(|input| input.place).collect(),
            wanted: (0..core.outputs().len()).collect(),
            arrays: inputs.iter().map(|input| input.array.clone().unbind()).collect(),
            targets: core.outputs().iter().map(|_| None).collect(),
            in_place: InPlace::default(),
        };
        let failed = |error: Error| to_python(py, &error);
        for input in &inputs {
            binding.in_place.add(&input.array, input.dtype);
            // SAFETY: `arrays` holds the array, and is dropped after the value.
            binding.values.push(unsafe { array::lasting_tensor(&input.array, input.dtype) }.map_err(failed)?);
        }
        let results = binding.results.get_mut().unwrap_or_else(PoisonError::into_inner);
        results.extend(core.outputs().iter().map(|_| None));
        for Target { place, array, dtype } in bound {
            // SAFETY: `targets` holds the array, and is dropped after the value.
            results[place] = Some(unsafe { array::lasting_tensor(&array, dtype) }.map_err(failed)?);
            binding.targets[place] = Some(array.unbind());
        }
        Ok(binding)
    }
}

/// Reads arrays for all inputs, which are used in place.
fn read_inputs<'py>(session: &Bound<'py, Session>, feeds: &Bound<'py, PyAny>) -> PyResult<Few<Target<'py>>> {
    let (py, core) = (session.py(), &session.get().core);
    let mut inputs = Few::new();
    for (name, value) in dictionary(feeds, "feeds")?.iter() {
        let place = core.input(text(&name)?).map_err(|error| mismatch(py, &error))?;
        let (array, dtype) = targets::plain(core.input_at(place), &value)?;
        inputs.push(Target { place, array, dtype });
    }
    let places: Few<usize> = inputs.iter().map(|input: &Target<'_>| input.place).collect();
    core.check_all_given(&places).map_err(|error| mismatch(py, &error))?;
    Ok(inputs)
}
