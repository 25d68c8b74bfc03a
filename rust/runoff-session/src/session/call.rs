//! Running a session once, with values as inputs and outputs.

#![allow(unsafe_code)]

use std::ffi::c_char;
use std::ptr;
use std::time::Instant;

use ort::AsPointer;
use smallvec::SmallVec;

use super::buffers::nanoseconds;
use super::{RunOptions, Session, ValueInfo};
use crate::error::Error;
use crate::status::check;
use crate::value::Value;

impl Session {
    /// Runs the model once. `values` are all inputs in graph order; returns all outputs in graph order.
    ///
    /// An output may share the memory of an input that the model passes through, so it cannot outlive the inputs:
    ///
    /// ```compile_fail,E0505
    /// # use runoff_session::{Buffer, Dtype, Session, Value};
    /// # fn passed_on(session: &Session) -> Result<(), runoff_session::Error> {
    /// let buffer = Buffer::zeros(16);
    /// let outputs = session.run(&[Value::over(Dtype::Float32, &[4], buffer.bytes())?])?;
    /// drop(buffer);
    /// outputs[0].tensor("y")?.bytes(); // reads freed memory, if this compiled
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// [`Value::detach`] lifts this restriction:
    ///
    /// ```
    /// # use runoff_session::{Buffer, Dtype, Session, Value};
    /// # fn passed_on(session: &Session) -> Result<(), runoff_session::Error> {
    /// let buffer = Buffer::zeros(16);
    /// let inputs = [Value::over(Dtype::Float32, &[4], buffer.bytes())?];
    /// let output = session.run(&inputs)?.remove(0).detach("y")?;
    /// drop(inputs);
    /// drop(buffer);
    /// output.tensor("y")?.bytes();
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// `runtime-failed`.
    ///
    /// # Panics
    ///
    /// If the number of values is not the number of inputs.
    pub fn run<'v>(&self, values: &[Value<'v>]) -> Result<Vec<Value<'v>>, Error> {
        let mut results: Vec<Option<Value<'v>>> = self.outputs.iter().map(|_| None).collect();
        run(self.loaded.session(), None, (self.inputs().iter(), values), (self.outputs.iter(), &mut results))?;
        Ok(results.into_iter().flatten().collect())
    }

    /// As [`Self::run`], for outputs that outlive the inputs: those that lie on an input's memory are copied. Returns them
    /// with the duration of the run in nanoseconds, without that of copies.
    ///
    /// # Errors
    ///
    /// As [`Self::run`]; `model-mismatch` when an output is not a tensor.
    pub fn run_timed(&self, values: &[Value<'_>]) -> Result<(Vec<Value<'static>>, u64), Error> {
        let (inputs, outputs): (Vec<_>, Vec<_>) = ((0..self.needed).collect(), (0..self.outputs.len()).collect());
        self.run_some_timed(&inputs, values, &outputs)
    }

    /// As [`Self::run_timed`], from `values` for the inputs at `inputs` to the outputs at `outputs`.
    ///
    /// # Errors
    ///
    /// As [`Self::run_timed`].
    ///
    /// # Panics
    ///
    /// If the number of values differs from the number of places.
    pub fn run_some_timed(
        &self,
        inputs: &[usize],
        values: &[Value<'_>],
        outputs: &[usize],
    ) -> Result<(Vec<Value<'static>>, u64), Error> {
        let begun = Instant::now();
        let mut results: Vec<Option<Value<'_>>> = outputs.iter().map(|_| None).collect();
        let given = inputs.iter().map(|&place| &self.inputs[place]);
        let wanted = outputs.iter().map(|&place| &self.outputs[place]);
        run(self.loaded.session(), None, (given, values), (wanted.clone(), &mut results))?;
        let took_ns = nanoseconds(begun.elapsed());
        let named = wanted.zip(results.into_iter().flatten());
        // SAFETY: these are the outputs of a run on these values.
        let lasting = named.map(|(info, output)| unsafe { output.apart_from(&info.name, values) });
        Ok((lasting.collect::<Result<_, _>>()?, took_ns))
    }

    /// Runs the model once from `values` for the inputs at `inputs` to the outputs at `outputs`.
    ///
    /// If `results` contains a value for an output, the output is written into it; other outputs are created.
    ///
    /// # Errors
    ///
    /// `runtime-failed`, for instance if an output does not fit into its value.
    ///
    /// # Panics
    ///
    /// If the number of values differs from the number of places.
    ///
    /// # Safety
    ///
    /// Values in `results` must come from [`Value::over_raw`], over memory that nothing else reads or writes during the
    /// call. Values that the call adds may share the memory of `values`, and must not outlive it.
    pub unsafe fn run_some(
        &self,
        inputs: &[usize],
        values: &[Value<'_>],
        outputs: &[usize],
        results: &mut [Option<Value<'_>>],
    ) -> Result<(), Error> {
        // SAFETY: the caller guarantees the same conditions.
        unsafe { self.run_some_with(None, inputs, values, outputs, results) }
    }

    /// As [`Self::run_some`], with `options`, through which another thread can stop the run.
    ///
    /// # Errors
    ///
    /// As [`Self::run_some`].
    ///
    /// # Panics
    ///
    /// As [`Self::run_some`].
    ///
    /// # Safety
    ///
    /// As [`Self::run_some`].
    pub unsafe fn run_some_with(
        &self,
        options: Option<&RunOptions>,
        inputs: &[usize],
        values: &[Value<'_>],
        outputs: &[usize],
        results: &mut [Option<Value<'_>>],
    ) -> Result<(), Error> {
        let given = inputs.iter().map(|&place| &self.inputs[place]);
        let wanted = outputs.iter().map(|&place| &self.outputs[place]);
        run(self.loaded.session(), options, (given, values), (wanted, results))
    }
}

/// Runs `session` from `inputs` to `outputs`; ONNX Runtime creates the outputs that are `None` in `results`.
///
/// Any number of threads can call this concurrently: ONNX Runtime's `Run` supports it, and takes a lock for providers
/// that do not. Only the `ort` crate requires `&mut`.
pub fn run<'p>(
    session: &ort::session::Session,
    options: Option<&RunOptions>,
    (inputs, values): (impl Iterator<Item = &'p ValueInfo>, &[Value<'_>]),
    (outputs, results): (impl Iterator<Item = &'p ValueInfo>, &mut [Option<Value<'_>>]),
) -> Result<(), Error> {
    let inputs: SmallVec<[*const c_char; 8]> = inputs.map(|info| info.c_name.as_ptr()).collect();
    let outputs: SmallVec<[*const c_char; 8]> = outputs.map(|info| info.c_name.as_ptr()).collect();
    assert_eq!((inputs.len(), outputs.len()), (values.len(), results.len()), "a value for each info");
    // SAFETY: names and values have the given lengths, and live as long as the call. A Value consists of one pointer to
    // an OrtValue, and None is null, so both slices have the required layout.
    let status = unsafe {
        (ort::api().Run)(
            session.ptr().cast_mut(),
            options.map_or(ptr::null(), |options| options.0.ptr()),
            inputs.as_ptr(),
            values.as_ptr().cast(),
            inputs.len(),
            outputs.as_ptr(),
            outputs.len(),
            results.as_mut_ptr().cast(),
        )
    };
    check(status, "running the model")
}
