//! Calls of models whose inputs and outputs are all small and of fixed shapes.
//!
//! Their elements are copied in and out of memory that is bound once: for so few of them, that is quicker than making
//! and freeing ONNX Runtime's values at each call.

#![allow(unsafe_code)]

use std::cell::UnsafeCell;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString};
use runoff_session::{Dimensions, Dtype, Error, Value, ValueInfo};

use crate::array::{self, SMALL};
use crate::call::Made;
use crate::errors::to_python;
use crate::feeds::{Few, pairs};
use crate::held::View;

/// What a model takes and gives, and memory for it.
pub struct Quick {
    inputs: Few<Fixed>,
    outputs: Few<Fixed>,
    /// One for each call that ever ran at the same time. Locked for an instant, in which nobody waits for Python.
    frames: Mutex<Vec<Frame>>,
    /// Whether the model gives other shapes than it promises: then calls go the general way.
    is_off: AtomicBool,
}

/// What became of a call.
pub enum Outcome<'py> {
    Ran(Bound<'py, PyDict>),
    /// Nothing: it has to go the general way.
    General,
    /// It failed over an output's shape, and has to go the general way: [`Quick::learn`] sees whether that is the model's.
    Doubted,
}

/// A tensor that is small and of a fixed shape.
struct Fixed {
    place: usize,
    dtype: Dtype,
    shape: Dimensions,
    len: usize,
}

/// Memory for one call at a time. The values lie on the memory: fields are dropped in this order.
struct Frame {
    values: Few<Value<'static>>,
    results: Few<Option<Value<'static>>>,
    given: Few<Memory>,
    made: Few<Memory>,
}

/// Bytes that ONNX Runtime reads or writes through a pointer that it keeps.
struct Memory {
    words: Box<[UnsafeCell<u64>]>,
    len: usize,
}

impl Quick {
    /// Collects the shapes of such a model; `None` for every other.
    pub fn of(core: &runoff_session::Session) -> Option<Self> {
        // ONNX Runtime does not write an output that is an input passed on.
        let passes_on = core.outputs().iter().any(|info| core.input(&info.name).is_ok());
        let all = |infos: &[ValueInfo]| infos.iter().enumerate().map(|(place, info)| Fixed::of(place, info)).collect();
        let (inputs, outputs): (Option<Few<Fixed>>, Option<Few<Fixed>>) = (all(core.inputs()), all(core.outputs()));
        let (inputs, outputs) = inputs.zip(outputs).filter(|_| !passes_on)?;
        Some(Self { inputs, outputs, frames: Mutex::default(), is_off: AtomicBool::new(false) })
    }

    /// Runs the model to all its outputs, which have the `names`.
    pub fn run<'py>(
        &self,
        core: &runoff_session::Session,
        feeds: &Bound<'py, PyAny>,
        names: &[Py<PyString>],
    ) -> PyResult<Outcome<'py>> {
        let feeds = feeds.cast_exact::<PyDict>().ok().filter(|feeds| feeds.len() == self.inputs.len());
        let Some(feeds) = feeds.filter(|_| !self.is_off.load(Ordering::Relaxed)) else {
            return Ok(Outcome::General);
        };
        let spare = self.frames.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut frame = spare.map_or_else(|| self.frame(), Ok).map_err(|error| to_python(feeds.py(), &error))?;
        let outcome = self.run_in(&mut frame, core, feeds, names);
        self.frames.lock().unwrap_or_else(PoisonError::into_inner).push(frame);
        outcome
    }

    fn run_in<'py>(
        &self,
        frame: &mut Frame,
        core: &runoff_session::Session,
        feeds: &Bound<'py, PyDict>,
        names: &[Py<PyString>],
    ) -> PyResult<Outcome<'py>> {
        let py = feeds.py();
        for (name, value) in pairs(feeds)? {
            if !self.take(core, frame, &name, &value)? {
                return Ok(Outcome::General);
            }
        }
        let (inputs, outputs) = (places(&self.inputs), places(&self.outputs));
        // SAFETY: this call alone has the frame, and nothing else knows its memory.
        let call = || unsafe { core.run_some(&inputs, &frame.values, &outputs, &mut frame.results) };
        if let Err(error) = py.detach(call) {
            let is_over_shape = self.outputs.iter().any(|fixed| error.message.contains(&fixed.shown()));
            return if is_over_shape { Ok(Outcome::Doubted) } else { Err(to_python(py, &error)) };
        }
        let all = PyDict::new(py);
        for ((fixed, memory), name) in self.outputs.iter().zip(&frame.made).zip(names) {
            all.set_item(name, array::copy_of(py, fixed.dtype, &fixed.shape, memory.bytes())?)?;
        }
        Ok(Outcome::Ran(all))
    }

    /// Takes the shapes of outputs that ONNX Runtime made itself: calls go the general way for good where those are not
    /// the ones that the model promises.
    pub fn learn(&self, made: &Made) {
        let is_promised = |(fixed, value): (&Fixed, &Option<Value<'_>>)| {
            let shape = value.as_ref().and_then(|value| value.tensor("").ok()).map(|view| view.shape);
            shape.is_some_and(|shape| shape == fixed.shape)
        };
        if !self.outputs.iter().zip(made).all(is_promised) {
            self.is_off.store(true, Ordering::Relaxed);
        }
    }

    /// Copies `value` in; returns whether it is an array that needs no conversion.
    fn take(
        &self,
        core: &runoff_session::Session,
        frame: &Frame,
        name: &Bound<'_, PyAny>,
        value: &Bound<'_, PyAny>,
    ) -> PyResult<bool> {
        // Equal names of another class could be two keys of one dictionary.
        let Ok(name) = name.cast_exact::<PyString>() else { return Ok(false) };
        let name = name.to_str()?;
        let Some(place) = core.inputs().iter().position(|info| info.name == name) else { return Ok(false) };
        let (fixed, memory) = (&self.inputs[place], &frame.given[place]);
        let Some(array) = array::cast(value)? else { return Ok(false) };
        match View::of(array)? {
            (Some(dtype), Some(view)) if dtype == fixed.dtype && view.dims == fixed.shape => {
                // SAFETY: `value` is held, and nothing has run since it was looked at.
                memory.write(unsafe { view.bytes() });
                Ok(true)
            }
            _ => Ok(false),
        }
    }

    fn frame(&self) -> Result<Frame, Error> {
        let given: Few<Memory> = self.inputs.iter().map(|fixed| Memory::new(fixed.len)).collect();
        let made: Few<Memory> = self.outputs.iter().map(|fixed| Memory::new(fixed.len)).collect();
        let values = self.inputs.iter().zip(&given).map(|(fixed, memory)| memory.value(fixed));
        let results = self.outputs.iter().zip(&made).map(|(fixed, memory)| memory.value(fixed).map(Some));
        Ok(Frame {
            values: values.collect::<Result<_, _>>()?,
            results: results.collect::<Result<_, _>>()?,
            given,
            made,
        })
    }
}

fn places(all: &[Fixed]) -> Few<usize> {
    all.iter().map(|fixed| fixed.place).collect()
}

impl Fixed {
    fn of(place: usize, info: &ValueInfo) -> Option<Self> {
        let dtype = info.dtype.filter(|&dtype| dtype != Dtype::Str)?;
        let dims: Few<usize> = info.shape.iter().copied().collect::<Option<_>>()?;
        let len = dims.iter().try_fold(dtype.size(), |len, &dim| len.checked_mul(dim))?;
        // No dimensions may mean an unknown rank.
        let is_small = !dims.is_empty() && (1..=SMALL).contains(&len);
        let shape = dims.iter().map(|&dim| i64::try_from(dim).unwrap_or(i64::MAX)).collect();
        is_small.then_some(Self { place, dtype, shape, len })
    }

    /// The shape as ONNX Runtime's messages have it.
    fn shown(&self) -> String {
        let dims: Few<String> = self.shape.iter().map(ToString::to_string).collect();
        format!("{{{}}}", dims.join(","))
    }
}

impl Memory {
    fn new(len: usize) -> Self {
        Self { words: (0..len.div_ceil(8)).map(|_| UnsafeCell::new(0)).collect(), len }
    }

    /// A value over these bytes, to be dropped before them.
    fn value(&self, fixed: &Fixed) -> Result<Value<'static>, Error> {
        let data = UnsafeCell::raw_get(self.words.as_ptr()).cast();
        // SAFETY: the words hold `len` bytes, stay where they are when the box moves, and may be written to through a
        // shared reference; `Frame` drops the value first.
        unsafe { Value::over_raw(fixed.dtype, &fixed.shape, data, self.len) }
    }

    fn write(&self, bytes: &[u8]) {
        assert_eq!(bytes.len(), self.len, "as many as the shape needs");
        let data: *mut u8 = UnsafeCell::raw_get(self.words.as_ptr()).cast();
        // SAFETY: there is room for `len` bytes, and only the thread that has the frame uses them.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), data, self.len) };
    }

    fn bytes(&self) -> &[u8] {
        // SAFETY: there are `len` bytes, and nobody writes while the thread that has the frame reads them.
        unsafe { std::slice::from_raw_parts(UnsafeCell::raw_get(self.words.as_ptr()).cast(), self.len) }
    }
}
