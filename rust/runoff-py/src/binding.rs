//! Inputs and outputs bound to a session, for repeated calls.

#![allow(unsafe_code)]

use std::sync::{Mutex, PoisonError};

use pyo3::prelude::*;
use pyo3::types::PyDict;
use runoff_session::{Error, Value};

use crate::call;
use crate::errors::{mismatch, to_python};
use crate::feeds::{Few, items, text, twice};
use crate::held::{InPlace, Kept};
use crate::options::{RunOptions, Way};
use crate::output::to_object;
use crate::session::Session;
use crate::targets::{self, Target};

// The values lie on the memory of the arrays, which are held for as long: fields are dropped in this order.
#[doc = stub!("Binding")]
#[pyclass(frozen, module = "runoff_ort")]
pub struct Binding {
    values: Few<Value<'static>>,
    /// One for each wanted output; those that are not bound are `None` between calls. Locked only with the GIL
    /// released, so that a thread that waits for it does not stop the others.
    results: Mutex<Few<Option<Value<'static>>>>,
    session: Py<Session>,
    given: Few<usize>,
    wanted: Few<usize>,
    arrays: Few<Kept>,
    /// One for each wanted output; those that are not bound are `None`.
    targets: Few<Option<Kept>>,
    in_place: InPlace,
}

#[pymethods]
impl Binding {
    #[doc = stub!("Binding.run")]
    #[pyo3(signature = (*, timeout = None, options = None))]
    fn run<'py>(
        &self,
        py: Python<'py>,
        timeout: Option<f64>,
        options: Option<&Bound<'py, RunOptions>>,
    ) -> PyResult<Bound<'py, PyDict>> {
        let session = self.session.get();
        let call = |options: Option<&_>| {
            let mut results = self.results.lock().unwrap_or_else(PoisonError::into_inner);
            // SAFETY: the arrays share no memory with each other and with the inputs (`targets::read`), and the lock
            // keeps other calls of this binding away; the caller guarantees the rest, as for `Session.run_into`.
            unsafe { call::run_bound(&session.core, options, (&self.given, &self.values), &self.wanted, &mut results) }
        };
        let made = Way::of(py, options, timeout)?.call(py, call)?;
        let outputs = PyDict::new(py);
        for ((&place, target), made) in self.wanted.iter().zip(&self.targets).zip(made) {
            let name = session.output_name(py, place);
            match (target, made) {
                (Some(kept), _) => outputs.set_item(name, &kept.array)?,
                (None, Some(value)) => {
                    let info = &session.core.outputs()[place];
                    outputs.set_item(name, to_object(py, info, value, &self.in_place)?)?;
                }
                (None, None) => outputs.set_item(name, py.None())?,
            }
        }
        Ok(outputs)
    }

    #[doc = stub!("Binding.inputs")]
    #[getter]
    fn inputs<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let inputs = PyDict::new(py);
        for (&place, kept) in self.given.iter().zip(&self.arrays) {
            inputs.set_item(&self.session.get().core.input_at(place).name, &kept.array)?;
        }
        Ok(inputs)
    }

    #[doc = stub!("Binding.outputs")]
    #[getter]
    fn outputs<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let outputs = PyDict::new(py);
        for (&place, target) in self.wanted.iter().zip(&self.targets) {
            if let Some(kept) = target {
                outputs.set_item(self.session.get().output_name(py, place), &kept.array)?;
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
        let (mut read, mut in_place) = (InPlace::default(), InPlace::default());
        for input in &inputs {
            read.add(&input.held.view);
            in_place.add(&input.held.view);
        }
        let bound = outputs.map_or_else(|| Ok(Few::new()), |outputs| targets::read(core, outputs, read))?;
        let mut binding = Self {
            values: Few::new(),
            results: Mutex::default(),
            session: session.clone().unbind(),
            given: inputs.iter().map(|input| input.place).collect(),
            wanted: (0..core.outputs().len()).collect(),
            arrays: Few::new(),
            targets: core.outputs().iter().map(|_| None).collect(),
            in_place,
        };
        let failed = |error: Error| to_python(py, &error);
        for Target { held, .. } in inputs {
            // SAFETY: `arrays` holds the array, and is dropped after the value.
            let value = unsafe { held.lasting_value() }.map_err(failed)?;
            binding.arrays.push(held.unbind());
            binding.values.push(value);
        }
        let results = binding.results.get_mut().unwrap_or_else(PoisonError::into_inner);
        results.extend(core.outputs().iter().map(|_| None));
        for Target { place, held } in bound {
            // SAFETY: `targets` holds the array, and is dropped after the value.
            results[place] = Some(unsafe { held.lasting_value() }.map_err(failed)?);
            binding.targets[place] = Some(held.unbind());
        }
        Ok(binding)
    }
}

/// Reads arrays for all inputs, which are used in place.
fn read_inputs<'py>(session: &Bound<'py, Session>, feeds: &Bound<'py, PyAny>) -> PyResult<Few<Target<'py>>> {
    let (py, core) = (session.py(), &session.get().core);
    let mut inputs: Few<Target<'py>> = Few::new();
    for (name, value) in items(feeds, "feeds")? {
        let place = core.input(text(&name)?).map_err(|error| mismatch(py, &error))?;
        if inputs.iter().any(|input| input.place == place) {
            return Err(twice(&name));
        }
        inputs.push(Target { place, held: targets::plain(core.input_at(place), &value)? });
    }
    let places: Few<usize> = inputs.iter().map(|input| input.place).collect();
    core.check_all_given(&places).map_err(|error| mismatch(py, &error))?;
    Ok(inputs)
}
