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
use runoff_core::Error;
use runoff_core::dtype::Dtype;
use runoff_core::session::{self, ValueInfo};
use runoff_core::value::{Dimensions, Value};

use crate::array::{self, SMALL};
use crate::errors::to_python;
use crate::feeds::Few;

/// What a model takes and gives, and memory for it.
pub struct Quick {
    inputs: Few<Fixed>,
    outputs: Few<Fixed>,
    /// One for each call that ever ran at the same time. Locked for an instant, in which nobody waits for Python.
    frames: Mutex<Vec<Frame>>,
    /// Whether a call failed: then the model may give other shapes than it promises, and calls go the general way.
    failed: AtomicBool,
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
    pub fn of(core: &session::Session) -> Option<Self> {
        // ONNX Runtime does not write an output that is an input passed on.
        let passes_on = core.outputs().iter().any(|info| core.input(&info.name).is_ok());
        let all = |infos: &[ValueInfo]| infos.iter().enumerate().map(|(place, info)| Fixed::of(place, info)).collect();
        let (inputs, outputs): (Option<Few<Fixed>>, Option<Few<Fixed>>) = (all(core.inputs()), all(core.outputs()));
        let (inputs, outputs) = inputs.zip(outputs).filter(|_| !passes_on)?;
        Some(Self { inputs, outputs, frames: Mutex::default(), failed: AtomicBool::new(false) })
    }

    /// Runs the model to all its outputs, which have the `names`; `None` when this call has to go the general way.
    pub fn run<'py>(
        &self,
        core: &session::Session,
        feeds: &Bound<'py, PyAny>,
        names: &[Py<PyString>],
    ) -> PyResult<Option<Bound<'py, PyDict>>> {
        let py = feeds.py();
        let Some(feeds) = feeds.cast_exact::<PyDict>().ok().filter(|feeds| feeds.len() == self.inputs.len()) else {
            return Ok(None);
        };
        if self.failed.load(Ordering::Relaxed) {
            return Ok(None);
        }
        let spare = self.frames.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut frame = spare.map_or_else(|| self.frame(), Ok).map_err(|error| to_python(py, &error))?;
        for (name, value) in feeds.iter() {
            if !self.take(core, &frame, &name, &value)? {
                return Ok(None);
            }
        }
        let (inputs, outputs) = (places(&self.inputs), places(&self.outputs));
        // SAFETY: this call alone has the frame, and nothing else knows its memory.
        let call = || unsafe { core.run_some(&inputs, &frame.values, &outputs, &mut frame.results) };
        if py.detach(call).is_err() {
            self.failed.store(true, Ordering::Relaxed);
            return Ok(None);
        }
        let all = PyDict::new(py);
        for ((fixed, memory), name) in self.outputs.iter().zip(&frame.made).zip(names) {
            all.set_item(name, array::copy_of(py, fixed.dtype, &fixed.shape, memory.bytes())?)?;
        }
        self.frames.lock().unwrap_or_else(PoisonError::into_inner).push(frame);
        Ok(Some(all))
    }

    /// Copies `value` in; returns whether it is an array that needs no conversion.
    fn take(
        &self,
        core: &session::Session,
        frame: &Frame,
        name: &Bound<'_, PyAny>,
        value: &Bound<'_, PyAny>,
    ) -> PyResult<bool> {
        // Equal names of another class could be two keys of one dictionary.
        let Ok(name) = name.cast_exact::<PyString>() else { return Ok(false) };
        let name = name.to_str()?;
        let Some(place) = core.inputs().iter().position(|info| info.name == name) else { return Ok(false) };
        let (fixed, memory) = (&self.inputs[place], &frame.given[place]);
        match array::cast(value)? {
            Some(array) if array::is_plain(array) && array::has_shape(array, &fixed.shape) => {
                let is_same = array::dtype(array)? == Some(fixed.dtype);
                if is_same {
                    memory.write(array::bytes(array, fixed.dtype));
                }
                Ok(is_same)
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
