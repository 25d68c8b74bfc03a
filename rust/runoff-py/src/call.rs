//! The call itself, with the GIL released.

#![allow(unsafe_code)]

use pyo3::prelude::*;
use runoff_session::{Error, RunOptions, Session, Value};

use crate::errors::to_python;
use crate::feeds::{Feeds, Few};
use crate::options::Way;
use crate::targets::Target;

/// Values that a call made, one for each output that was wanted.
pub type Made = Few<Option<Value<'static>>>;

/// Runs the model to new values for the outputs at `places`.
pub fn run(py: Python<'_>, way: &Way<'_>, session: &Session, feeds: &Feeds<'_>, places: &[usize]) -> PyResult<Made> {
    let values = feeds.values().map_err(|error| to_python(py, &error))?;
    let inputs = &feeds.places;
    way.call(py, |options| {
        let mut made: Made = places.iter().map(|_| None).collect();
        // SAFETY: nothing is written into, as there is no value yet.
        unsafe { session.run_some_with(options, inputs, &values, places, &mut made) }.map(|()| made)
    })
}

/// Runs the model into `targets`.
pub fn run_into(
    py: Python<'_>,
    way: &Way<'_>,
    session: &Session,
    feeds: &Feeds<'_>,
    targets: &[Target<'_>],
) -> PyResult<()> {
    let failed = |error: Error| to_python(py, &error);
    let values = feeds.values().map_err(failed)?;
    let inputs = &feeds.places;
    let places: Few<usize> = targets.iter().map(|target| target.place).collect();
    let results = targets.iter().map(|target| target.held.value().map(Some));
    let mut results = results.collect::<Result<Few<_>, _>>().map_err(failed)?;
    // SAFETY: the arrays share no memory with each other and with the inputs (`targets::read`); that no other thread
    // uses them meanwhile is the caller's duty, as for every array that NumPy writes to with the GIL released.
    way.call(py, |options| unsafe { session.run_some_with(options, inputs, &values, &places, &mut results) })
}

/// Runs the model on values that are bound, into those of `results` that are there; returns the others.
///
/// # Safety
///
/// Nothing else may use the memory under `results` during the call.
pub unsafe fn run_bound(
    session: &Session,
    options: Option<&RunOptions>,
    (inputs, values): (&[usize], &[Value<'_>]),
    outputs: &[usize],
    results: &mut [Option<Value<'static>>],
) -> Result<Made, Error> {
    let is_bound: Few<bool> = results.iter().map(Option::is_some).collect();
    // SAFETY: the caller answers for it.
    unsafe { session.run_some_with(options, inputs, values, outputs, results) }?;
    Ok(results.iter_mut().zip(is_bound).map(|(value, bound)| if bound { None } else { value.take() }).collect())
}
