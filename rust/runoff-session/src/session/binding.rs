//! ONNX Runtime's I/O binding on one device, through its C API.

#![allow(unsafe_code)]

use std::collections::BTreeMap;
use std::ptr::{self, NonNull};
use std::sync::Arc;

use ort::sys::{OrtAllocator, OrtAllocatorType, OrtIoBinding, OrtMemType, OrtMemoryInfo, OrtSession, OrtValue};
use ort::{AsPointer, ortsys};

use super::{Device, Loaded, Results, ValueInfo};
use crate::dtype::Dtype;
use crate::error::{Error, Kind};
use crate::handles::allocator;
use crate::status::check;
use crate::value::Value;

/// ONNX Runtime's description of the device memory.
struct Info(NonNull<OrtMemoryInfo>);

/// The session's own allocator on the device.
struct Allocator(NonNull<OrtAllocator>);

struct Handle(NonNull<OrtIoBinding>);

/// The array of a binding's outputs, freed after its elements.
struct Array(*mut *mut OrtValue, *mut OrtAllocator);

struct Outputs {
    values: Vec<Value<'static>>,
    _array: Array,
}

/// Tensors on a device, bound to a session's inputs and outputs.
///
/// Fields are dropped in this order: each one refers to later ones.
pub struct Binding {
    handle: Handle,
    /// By input name.
    inputs: BTreeMap<String, Value<'static>>,
    allocator: Allocator,
    info: Info,
    device: Device,
    has_run: bool,
    session: Arc<Loaded>,
}

// SAFETY: none of the handles is tied to a thread (onnxruntime_c_api.h), and the CUDA runtime uses the same context of
// a device in all threads. It is not Sync: one thread at a time uses a binding.
unsafe impl Send for Binding {}

impl Drop for Info {
    fn drop(&mut self) {
        // SAFETY: this is the only owner.
        ortsys![unsafe ReleaseMemoryInfo(self.0.as_ptr())];
    }
}

impl Drop for Allocator {
    fn drop(&mut self) {
        // SAFETY: this is the only owner, and its values have been dropped.
        ortsys![unsafe ReleaseAllocator(self.0.as_ptr())];
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        // SAFETY: this is the only owner.
        ortsys![unsafe ReleaseIoBinding(self.0.as_ptr())];
    }
}

impl Drop for Array {
    fn drop(&mut self) {
        if !self.0.is_null() {
            // SAFETY: the array was allocated by this allocator, which lives as long as the process, and is not used
            // again. Freeing host memory does not fail.
            let _ = check(unsafe { (ort::api().AllocatorFree)(self.1, self.0.cast()) }, "reading outputs");
        }
    }
}

impl Binding {
    pub fn new(session: Arc<Loaded>, device: Device) -> Result<Self, Error> {
        let api = ort::api();
        let (name, index) = (device.name.as_ptr(), device.index);
        let (kind, place) = (OrtAllocatorType::OrtDeviceAllocator, OrtMemType::OrtMemTypeDefault);
        // SAFETY: the name is a constant; writes to a local of `made`.
        let info = Info(made(|info| unsafe { (api.CreateMemoryInfo)(name, kind, index, place, info) })?);
        let inner: *mut OrtSession = session.session().ptr().cast_mut();
        // SAFETY: session and description are alive; writes to a local of `made`. The session outlives the allocator.
        let allocator = made(|made| unsafe { (api.CreateAllocator)(inner, info.0.as_ptr(), made) })?;
        let allocator = Allocator(allocator);
        // SAFETY: the session is alive, and outlives the binding; writes to a local of `made`.
        let handle = Handle(made(|made| unsafe { (api.CreateIoBinding)(inner, made) })?);
        Ok(Self { handle, inputs: BTreeMap::new(), allocator, info, device, has_run: false, session })
    }

    /// Releases all tensors.
    pub fn clear(&mut self) {
        // SAFETY: the binding is alive; it drops its references to values.
        ortsys![unsafe ClearBoundInputs(self.handle.0.as_ptr())];
        // SAFETY: as above.
        ortsys![unsafe ClearBoundOutputs(self.handle.0.as_ptr())];
        self.inputs.clear();
        self.has_run = false;
    }

    /// Allocates a tensor on the device for an input.
    pub fn make_input(&mut self, info: &ValueInfo, dtype: Dtype, shape: &[i64]) -> Result<(), Error> {
        self.inputs.insert(info.name.clone(), self.tensor(dtype, shape)?);
        Ok(())
    }

    /// Allocates a tensor on the device for an output; every run writes into it.
    pub fn make_output(&mut self, info: &ValueInfo, dtype: Dtype, shape: &[i64]) -> Result<(), Error> {
        let (handle, value) = (self.handle.0.as_ptr(), self.tensor(dtype, shape)?);
        // SAFETY: all are alive, and the binding keeps its own reference to the value.
        check(unsafe { (ort::api().BindOutput)(handle, info.c_name.as_ptr(), value.as_ptr()) }, "binding an output")
    }

    /// Lets the next run allocate the output on the device, in any shape.
    pub fn free_output(&mut self, info: &ValueInfo) -> Result<(), Error> {
        let (handle, memory) = (self.handle.0.as_ptr(), self.info.0.as_ptr());
        // SAFETY: all are alive; the description is read.
        check(unsafe { (ort::api().BindOutputToDevice)(handle, info.c_name.as_ptr(), memory) }, "binding an output")
    }

    /// Copies host values into the input tensors; the copies are done when this returns.
    pub fn fill<'v>(
        &mut self,
        given: impl Iterator<Item = (&'v ValueInfo, &'v Value<'v>)> + Clone,
    ) -> Result<(), Error> {
        for (info, value) in given.clone() {
            let (from, to) = (value.tensor(&info.name)?, self.input(info)?.tensor(&info.name)?);
            let len = same_length(from.len(), to.len())?;
            // An output that is this input passed on is there already.
            if from.data() != to.data() {
                // SAFETY: both tensors have this many bytes, one of the caller's and one from `make_input`, to which only
                // this binding has access; no run is in progress.
                unsafe { self.device.copy_in(from.data(), to.data(), len) }?;
            }
        }
        self.device.finish()?;
        // If ONNX Runtime needs an input on another device, it copies it when it is bound, and only then.
        for (info, _) in given {
            let (handle, value) = (self.handle.0.as_ptr(), self.input(info)?.as_ptr());
            // SAFETY: all are alive, and the binding keeps its own reference to the value.
            check(unsafe { (ort::api().BindInput)(handle, info.c_name.as_ptr(), value) }, "binding an input")?;
        }
        // SAFETY: the binding is alive.
        check(unsafe { (ort::api().SynchronizeBoundInputs)(self.handle.0.as_ptr()) }, "waiting for inputs")
    }

    /// Runs the model; the device is done when this returns.
    pub fn run(&mut self) -> Result<(), Error> {
        let (inner, handle) = (self.session.session().ptr().cast_mut(), self.handle.0.as_ptr());
        self.has_run = false;
        // SAFETY: session and binding are alive, and no other thread uses the binding. Null means default options, with
        // which the run waits for the providers.
        check(unsafe { (ort::api().RunWithBinding)(inner, ptr::null(), handle) }, "running the model")?;
        // SAFETY: the binding is alive.
        check(unsafe { (ort::api().SynchronizeBoundOutputs)(handle) }, "waiting for outputs")?;
        self.has_run = true;
        Ok(())
    }

    /// Copies the outputs of the last run into `results`, in the order of `infos`. Values of the same type and shape
    /// are reused; others are replaced.
    pub fn read(&self, infos: &[ValueInfo], Results(results): &mut Results) -> Result<(), Error> {
        let bound = self.outputs()?;
        results.truncate(infos.len());
        for (place, (info, value)) in infos.iter().zip(&bound.values).enumerate() {
            let from = value.tensor(&info.name)?;
            let same = |result: &Value<'_>| {
                result.tensor(&info.name).is_ok_and(|own| (own.dtype, &own.shape) == (from.dtype, &from.shape))
            };
            if !results.get(place).is_some_and(same) {
                results.truncate(place);
                // SAFETY: this allocator lives as long as the process; the elements are written below, or the value is
                // dropped.
                results.push(unsafe { Value::unfilled(allocator()?, from.dtype, &from.shape) }?);
            }
            let to = results[place].tensor(&info.name)?;
            // SAFETY: both tensors have this many bytes: one on the host, created by this call or an earlier one, to
            // which only the caller has access, and an output of the last run, which nothing writes to now.
            let copied = unsafe { self.device.copy_out(from.data(), to.data(), same_length(from.len(), to.len())?) };
            copied.inspect_err(|_| results.truncate(place))?;
        }
        Ok(())
    }

    /// References to the values of the outputs, in the order of their first binding.
    pub fn results(&self) -> Result<Vec<Value<'static>>, Error> {
        Ok(self.outputs()?.values)
    }

    fn outputs(&self) -> Result<Outputs, Error> {
        if !self.has_run {
            let message = "there are no outputs to be copied";
            return Err(Error::new(Kind::RuntimeFailed, message, "copy inputs in and compute first"));
        }
        let (mut values, mut count): (*mut *mut OrtValue, usize) = (ptr::null_mut(), 0);
        let own = allocator()?;
        // SAFETY: the binding is alive; the code below takes ownership of the results.
        let status =
            unsafe { (ort::api().GetBoundOutputValues)(self.handle.0.as_ptr(), own, &raw mut values, &raw mut count) };
        check(status, "reading outputs")?;
        let array = Array(values, own);
        // SAFETY: ONNX Runtime has just written `count` values to the array, each a reference that the caller releases.
        let taken = (0..count).map(|index| unsafe { Value::take(*array.0.add(index)) });
        Ok(Outputs { values: taken.collect::<Result<_, _>>()?, _array: array })
    }

    fn tensor(&self, dtype: Dtype, shape: &[i64]) -> Result<Value<'static>, Error> {
        // SAFETY: `self` drops or clears the value, and the binding's reference to it, before the allocator. Elements
        // on the device are only copied, and those of inputs only after they were written.
        unsafe { Value::unfilled(self.allocator.0.as_ptr(), dtype, shape) }
    }

    fn input(&self, info: &ValueInfo) -> Result<&Value<'static>, Error> {
        let missing = || Error::new(Kind::Internal, format!("no tensor for the input {:?}", info.name), "report this");
        self.inputs.get(&info.name).ok_or_else(missing)
    }
}

/// Returns the object that an ONNX Runtime function creates at a given address.
fn made<T>(make: impl FnOnce(*mut *mut T) -> ort::sys::OrtStatusPtr) -> Result<NonNull<T>, Error> {
    let mut pointer = ptr::null_mut();
    check(make(&raw mut pointer), "getting ready to use the device's memory")?;
    NonNull::new(pointer).ok_or_else(|| Error::new(Kind::Internal, "ONNX Runtime returned null", "report this"))
}

fn same_length(from: usize, to: usize) -> Result<usize, Error> {
    let message = || format!("a tensor of {from} bytes does not fit one of {to}");
    if from == to { Ok(to) } else { Err(Error::new(Kind::Internal, message(), "report this")) }
}
