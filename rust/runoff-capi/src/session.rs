//! A session, its options, and its input and output tensors.

#![allow(unsafe_code)]

use std::ffi::{CStr, CString};
use std::marker::PhantomData;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::{ptr, slice};

use ort_sys::{
    GraphOptimizationLevel, ONNXTensorElementDataType, OrtAllocator, OrtAllocatorType, OrtMemType, OrtSession,
    OrtSessionOptions, OrtStatusPtr, OrtValue,
};

use crate::api::{Api, Environment, Owned};
use crate::failure::Failure;
use crate::request::{Optimization, Settings};

const FLOAT: ONNXTensorElementDataType = ONNXTensorElementDataType::ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT;

/// Configuration entries for a session on the bytes of a prepared model.
const IN_PLACE: [&CStr; 2] = [c"session.use_ort_model_bytes_directly", c"session.use_ort_model_bytes_for_initializers"];

/// Options of a session: the request's settings, and ONNX Runtime's defaults otherwise.
#[derive(Debug)]
pub struct Options {
    api: Api,
    object: Owned<OrtSessionOptions>,
}

impl Options {
    /// Creates the options.
    ///
    /// `in_place`: the session uses the model's bytes in place. `turns`: its threads must not spin during the turn of
    /// another process.
    ///
    /// # Errors
    ///
    /// `runtime-failed`.
    pub fn new(api: Api, settings: &Settings, in_place: bool, turns: bool) -> Result<Self, Failure> {
        let object = api.make("making session options", api.table.ReleaseSessionOptions, |out| {
            // SAFETY: `out` is a place for one pointer.
            unsafe { (api.table.CreateSessionOptions)(out) }
        })?;
        let made = Self { api, object };
        let options = made.object.pointer();
        // SAFETY: the options are alive, and only this thread has access to them.
        api.check(unsafe { (api.table.SetIntraOpNumThreads)(options, settings.threads()) }, "setting the threads")?;
        if let Some(level) = settings.optimization {
            // SAFETY: as above.
            api.check(unsafe { (api.table.SetSessionGraphOptimizationLevel)(options, to_level(level)) }, "optimising")?;
        }
        if let Some(arena) = settings.arena {
            let set = if arena { api.table.EnableCpuMemArena } else { api.table.DisableCpuMemArena };
            // SAFETY: as above.
            api.check(unsafe { set(options) }, "setting the arena")?;
        }
        if let Some(spinning) = settings.spinning {
            made.entry(c"session.intra_op.allow_spinning", spinning)?;
            made.entry(c"session.inter_op.allow_spinning", spinning)?;
        }
        if let Some(spin_us) = settings.spin_duration_us {
            made.number(c"session.intra_op.spin_duration_us", spin_us)?;
            made.number(c"session.inter_op.spin_duration_us", spin_us)?;
        }
        if let Some(most) = settings.spin_backoff_max {
            made.number(c"session.intra_op.spin_backoff_max", most.get())?;
            made.number(c"session.inter_op.spin_backoff_max", most.get())?;
        }
        if let Some(prepacking) = settings.prepacking {
            made.entry(c"session.disable_prepacking", !prepacking)?;
        }
        if turns {
            made.entry(c"session.force_spinning_stop", true)?;
        }
        for key in IN_PLACE.iter().filter(|_| in_place) {
            made.entry(key, true)?;
        }
        Ok(made)
    }

    fn entry(&self, key: &CStr, value: bool) -> Result<(), Failure> {
        self.number(key, value.into())
    }

    fn number(&self, key: &CStr, value: u32) -> Result<(), Failure> {
        let text = CString::new(value.to_string()).unwrap_or_default();
        let add = self.api.table.AddSessionConfigEntry;
        // SAFETY: the options, key and value are alive; the texts are terminated by NUL, and copied.
        let status = unsafe { add(self.object.pointer(), key.as_ptr(), text.as_ptr()) };
        self.api.check(status, &format!("setting {}", key.to_string_lossy()))
    }
}

const fn to_level(level: Optimization) -> GraphOptimizationLevel {
    match level {
        Optimization::Disable => GraphOptimizationLevel::ORT_DISABLE_ALL,
        Optimization::Basic => GraphOptimizationLevel::ORT_ENABLE_BASIC,
        Optimization::Extended => GraphOptimizationLevel::ORT_ENABLE_EXTENDED,
        Optimization::All => GraphOptimizationLevel::ORT_ENABLE_ALL,
    }
}

/// A loaded model. It must not outlive its environment, or the bytes that it was created from.
#[derive(Debug)]
pub struct Session<'a> {
    api: Api,
    object: Owned<OrtSession>,
    input: CString,
    output: CString,
    made_of: PhantomData<&'a [u8]>,
}

impl<'a> Session<'a> {
    /// Creates a session from the model file `path`.
    ///
    /// # Errors
    ///
    /// `model-unreadable`, naming the file.
    pub fn from_file(environment: &'a Environment, options: &Options, path: &Path) -> Result<Self, Failure> {
        let name =
            CString::new(path.as_os_str().as_bytes()).map_err(|_| unreadable(path, "the path contains a NUL byte"))?;
        let api = environment.api;
        Self::make(environment, path, |out| {
            // SAFETY: environment and options are alive, the name ends with NUL, and `out` is a place for one pointer.
            unsafe {
                (api.table.CreateSession)(environment.object.pointer(), name.as_ptr(), options.object.pointer(), out)
            }
        })
    }

    /// Creates a session from the model in `bytes`, which the session keeps using; `path` is for messages.
    ///
    /// # Errors
    ///
    /// `model-unreadable`, naming the file.
    pub fn from_bytes(
        environment: &'a Environment,
        options: &Options,
        bytes: &'a [u8],
        path: &Path,
    ) -> Result<Self, Failure> {
        let api = environment.api;
        let create = api.table.CreateSessionFromArray;
        Self::make(environment, path, |out| {
            // SAFETY: environment and options are alive, `out` is a place for one pointer, and the bytes are borrowed
            // as long as the session exists.
            unsafe {
                create(environment.object.pointer(), bytes.as_ptr().cast(), bytes.len(), options.object.pointer(), out)
            }
        })
    }

    fn make(
        environment: &'a Environment,
        path: &Path,
        create: impl FnOnce(*mut *mut OrtSession) -> OrtStatusPtr,
    ) -> Result<Self, Failure> {
        let api = environment.api;
        let object = api
            .make("making a session", api.table.ReleaseSession, create)
            .map_err(|error| unreadable(path, &error.message))?;
        let mut allocator = ptr::null_mut();
        // SAFETY: `allocator` is a place for one pointer; the default allocator is never released.
        let status = unsafe { (api.table.GetAllocatorWithDefaultOptions)(&raw mut allocator) };
        api.check(status, "finding its allocator")?;
        let input = name(api, allocator, "reading the input's name", |out| {
            // SAFETY: session and allocator are alive; an index out of range returns an error.
            unsafe { (api.table.SessionGetInputName)(object.pointer(), 0, allocator, out) }
        })?;
        let output = name(api, allocator, "reading the output's name", |out| {
            // SAFETY: as above.
            unsafe { (api.table.SessionGetOutputName)(object.pointer(), 0, allocator, out) }
        })?;
        Ok(Self { api, object, input, output, made_of: PhantomData })
    }

    /// Names of the model's first input and first output.
    pub fn names(&self) -> (String, String) {
        (self.input.to_string_lossy().into_owned(), self.output.to_string_lossy().into_owned())
    }

    /// Runs the model once; the runtime allocates the output.
    ///
    /// # Errors
    ///
    /// `runtime-failed`.
    pub fn run(&self, input: &Input) -> Result<Output, Failure> {
        let (api, names, values) = (self.api, [self.input.as_ptr()], [input.object.pointer().cast_const()]);
        let outputs = [self.output.as_ptr()];
        api.make("running the model", api.table.ReleaseValue, |out| {
            // SAFETY: the session, the input and its buffer are alive; there is one name and one value on each side;
            // `out` contains a null pointer, so the runtime allocates the output.
            unsafe {
                (api.table.Run)(
                    self.object.pointer(),
                    ptr::null(),
                    names.as_ptr(),
                    values.as_ptr(),
                    1,
                    outputs.as_ptr(),
                    1,
                    out,
                )
            }
        })
        .map(|object| Output { api, object })
    }
}

/// Copies a name that `get` allocates with the allocator, and frees the original.
fn name(
    api: Api,
    allocator: *mut OrtAllocator,
    what: &str,
    get: impl FnOnce(*mut *mut std::ffi::c_char) -> OrtStatusPtr,
) -> Result<CString, Failure> {
    let mut pointer = ptr::null_mut();
    let status = get(&raw mut pointer);
    api.check(status, what)?;
    // SAFETY: after success, the name is a string terminated by NUL.
    let name = unsafe { CStr::from_ptr(pointer) }.to_owned();
    // SAFETY: the name was allocated by this allocator and is freed once.
    api.check(unsafe { (api.table.AllocatorFree)(allocator, pointer.cast()) }, what)?;
    Ok(name)
}

/// A float32 tensor that owns its buffer.
#[derive(Debug)]
pub struct Input {
    object: Owned<OrtValue>,
    buffer: Buffer,
}

/// Elements behind a raw pointer, because the runtime also has a pointer to them.
#[derive(Debug)]
struct Buffer(*mut [f32]);

impl Drop for Buffer {
    fn drop(&mut self) {
        // SAFETY: the pointer was returned by `Box::into_raw` and is freed once, here.
        drop(unsafe { Box::from_raw(self.0) });
    }
}

impl Input {
    /// Creates a tensor from `elements` with the shape `[1, 3, side, side]`.
    ///
    /// # Errors
    ///
    /// `runtime-failed` if there are too few elements.
    pub fn new(api: Api, elements: Vec<f32>, side: u32) -> Result<Self, Failure> {
        let memory = api.make("describing memory", api.table.ReleaseMemoryInfo, |out| {
            let (kind, place) = (OrtAllocatorType::OrtDeviceAllocator, OrtMemType::OrtMemTypeDefault);
            // SAFETY: `out` is a place for one pointer.
            unsafe { (api.table.CreateCpuMemoryInfo)(kind, place, out) }
        })?;
        let side = i64::from(side);
        let (shape, bytes) = ([1, 3, side, side], size_of_val(&*elements));
        let buffer = Buffer(Box::into_raw(elements.into_boxed_slice()));
        let object = api.make("making an input tensor", api.table.ReleaseValue, |out| {
            let create = api.table.CreateTensorWithDataAsOrtValue;
            // SAFETY: the buffer has this many bytes (the runtime checks that they suffice for the shape) and is freed
            // after the tensor (field order); memory description and shape are copied.
            unsafe { create(memory.pointer(), buffer.0.cast(), bytes, shape.as_ptr(), shape.len(), FLOAT, out) }
        })?;
        Ok(Self { object, buffer })
    }

    /// The elements.
    pub const fn elements(&self) -> &[f32] {
        // SAFETY: the buffer is alive, and the runtime only reads it.
        unsafe { &*self.buffer.0 }
    }

    /// The elements, for writing between two runs.
    pub const fn elements_mut(&mut self) -> &mut [f32] {
        // SAFETY: the buffer is alive, and no run uses it: `Session::run` also borrows `self`.
        unsafe { &mut *self.buffer.0 }
    }
}

/// The output of the model.
#[derive(Debug)]
pub struct Output {
    api: Api,
    object: Owned<OrtValue>,
}

impl Output {
    /// The elements, which must be float32.
    ///
    /// # Errors
    ///
    /// `model-mismatch` if they are not; `runtime-failed` if the output is not a tensor.
    pub fn elements(&self) -> Result<&[f32], Failure> {
        let (api, what) = (self.api, "reading the output");
        let info = api.make(what, api.table.ReleaseTensorTypeAndShapeInfo, |out| {
            // SAFETY: the value is alive; `out` is a place for one pointer.
            unsafe { (api.table.GetTensorTypeAndShape)(self.object.pointer(), out) }
        })?;
        let (mut dtype, mut count) = (ONNXTensorElementDataType::ONNX_TENSOR_ELEMENT_DATA_TYPE_UNDEFINED, 0);
        // SAFETY: the description is alive; `dtype` is a place for one dtype.
        api.check(unsafe { (api.table.GetTensorElementType)(info.pointer(), &raw mut dtype) }, what)?;
        if dtype != FLOAT {
            let message = "the model's first output is not float32";
            return Err(Failure::new("model-mismatch", message, "use a model whose first output holds the logits"));
        }
        // SAFETY: the description is alive; `count` is a place for one number.
        api.check(unsafe { (api.table.GetTensorShapeElementCount)(info.pointer(), &raw mut count) }, what)?;
        let mut data = ptr::null_mut();
        // SAFETY: the value is alive; `data` is a place for one pointer.
        api.check(unsafe { (api.table.GetTensorMutableData)(self.object.pointer(), &raw mut data) }, what)?;
        if count == 0 {
            return Ok(&[]);
        }
        // SAFETY: the tensor contains `count` floats, lives as long as `self`, and nothing writes to it.
        Ok(unsafe { slice::from_raw_parts(data.cast::<f32>(), count) })
    }
}

fn unreadable(path: &Path, reason: &str) -> Failure {
    let message = format!("the model {} cannot be loaded: {reason}", path.display());
    Failure::new("model-unreadable", message, "export or prepare the model again, or check the path")
}
