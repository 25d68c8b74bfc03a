//! A session, its options, and its input and output tensors.

#![allow(unsafe_code)]

use std::ffi::{CStr, CString, c_char};
use std::fs::File;
use std::marker::PhantomData;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::{ptr, slice};

use memmap2::Mmap;
use ort_sys::ONNXTensorElementDataType as Onnx;
use ort_sys::{
    GraphOptimizationLevel, OrtAllocator, OrtAllocatorType, OrtMemType, OrtMemoryInfo, OrtSession, OrtSessionOptions,
    OrtStatusPtr, OrtTensorTypeAndShapeInfo, OrtTypeInfo, OrtValue,
};
use runoff_core::protocol::bad_request;
use runoff_core::tensor_file::unsupported;
use runoff_session::{Dtype, Error, Kind, Optimization, RawTensor, Settings, TensorSpec};

use crate::api::{Api, Environment, Owned};

/// Element types of numbers.
const DTYPES: [(Dtype, Onnx); 13] = [
    (Dtype::Bool, Onnx::ONNX_TENSOR_ELEMENT_DATA_TYPE_BOOL),
    (Dtype::Bfloat16, Onnx::ONNX_TENSOR_ELEMENT_DATA_TYPE_BFLOAT16),
    (Dtype::Float16, Onnx::ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT16),
    (Dtype::Float32, Onnx::ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT),
    (Dtype::Float64, Onnx::ONNX_TENSOR_ELEMENT_DATA_TYPE_DOUBLE),
    (Dtype::Int8, Onnx::ONNX_TENSOR_ELEMENT_DATA_TYPE_INT8),
    (Dtype::Int16, Onnx::ONNX_TENSOR_ELEMENT_DATA_TYPE_INT16),
    (Dtype::Int32, Onnx::ONNX_TENSOR_ELEMENT_DATA_TYPE_INT32),
    (Dtype::Int64, Onnx::ONNX_TENSOR_ELEMENT_DATA_TYPE_INT64),
    (Dtype::Uint8, Onnx::ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT8),
    (Dtype::Uint16, Onnx::ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT16),
    (Dtype::Uint32, Onnx::ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT32),
    (Dtype::Uint64, Onnx::ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT64),
];

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
    pub fn new(api: Api, settings: &Settings, in_place: bool, turns: bool) -> Result<Self, Error> {
        let object = api.make("making session options", api.table.ReleaseSessionOptions, |out| {
            // SAFETY: `out` is a place for one pointer.
            unsafe { (api.table.CreateSessionOptions)(out) }
        })?;
        let made = Self { api, object };
        let options = made.object.pointer();
        let threads = i32::try_from(settings.threads.get())
            .map_err(|_| bad_request(format!("settings.threads: {}", settings.threads)))?;
        // SAFETY: the options are alive, and only this thread has access to them.
        api.check(unsafe { (api.table.SetIntraOpNumThreads)(options, threads) }, "setting the threads")?;
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
        if settings.spin_duration_us.is_some_and(|spin_us| spin_us > 1_000_000)
            || settings.spin_backoff_max.is_some_and(|most| most.get() > 64)
        {
            return Err(bad_request("settings: spin_duration_us is at most 1000000, spin_backoff_max at most 64"));
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

    fn entry(&self, key: &CStr, value: bool) -> Result<(), Error> {
        self.number(key, value.into())
    }

    fn number(&self, key: &CStr, value: usize) -> Result<(), Error> {
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
        _ => GraphOptimizationLevel::ORT_ENABLE_ALL,
    }
}

/// A loaded model.
///
/// Fields are dropped in this order: the session must be gone before the file that it uses, and the environment.
pub struct Session {
    object: Owned<OrtSession>,
    memory: Owned<OrtMemoryInfo>,
    inputs: Vec<CString>,
    outputs: Vec<CString>,
    _file: Mmap,
    environment: Environment,
}

impl Session {
    /// The type of an input or output that is not a tensor, among those of a [`TensorSpec`].
    pub const NO_TENSOR: &str = "not a tensor";

    /// Creates a session from the model file `path`; `in_place`: it uses the file's content where it is mapped.
    ///
    /// # Errors
    ///
    /// `model-missing` or `model-unreadable`, naming the file.
    pub fn open(environment: Environment, options: &Options, path: &Path, in_place: bool) -> Result<Self, Error> {
        let (api, file) = (environment.api, map(path)?);
        let name =
            CString::new(path.as_os_str().as_bytes()).map_err(|_| unreadable(path, "the path contains a NUL byte"))?;
        let (owner, options) = (environment.object.pointer(), options.object.pointer());
        let create = |out: *mut *mut OrtSession| {
            if in_place {
                // SAFETY: environment and options are alive, `out` is a place for one pointer, and the mapping is kept
                // as long as the session exists.
                unsafe { (api.table.CreateSessionFromArray)(owner, file.as_ptr().cast(), file.len(), options, out) }
            } else {
                // SAFETY: environment and options are alive, the name ends with NUL, `out` is a place for one pointer.
                unsafe { (api.table.CreateSession)(owner, name.as_ptr(), options, out) }
            }
        };
        let object = api
            .make("making a session", api.table.ReleaseSession, create)
            .map_err(|error| unreadable(path, &error.message))?;
        let memory = api.make("describing memory", api.table.ReleaseMemoryInfo, |out| {
            let (kind, place) = (OrtAllocatorType::OrtDeviceAllocator, OrtMemType::OrtMemTypeDefault);
            // SAFETY: `out` is a place for one pointer.
            unsafe { (api.table.CreateCpuMemoryInfo)(kind, place, out) }
        })?;
        let session = object.pointer();
        let inputs = names(api, session, api.table.SessionGetInputCount, api.table.SessionGetInputName)?;
        let outputs = names(api, session, api.table.SessionGetOutputCount, api.table.SessionGetOutputName)?;
        Ok(Self { object, memory, inputs, outputs, _file: file, environment })
    }

    /// Names of the model's first input and first output.
    pub fn names(&self) -> (String, String) {
        let first = |names: &[CString]| names.first().map(|name| name.to_string_lossy().into_owned());
        (first(&self.inputs).unwrap_or_default(), first(&self.outputs).unwrap_or_default())
    }

    /// The model's inputs, in its order.
    ///
    /// # Errors
    ///
    /// `runtime-failed`.
    pub fn inputs(&self) -> Result<Vec<TensorSpec>, Error> {
        let of = self.environment.api.table.SessionGetInputTypeInfo;
        self.inputs.iter().enumerate().map(|(place, name)| self.spec(name, place, of)).collect()
    }

    /// The model's outputs, in its order.
    ///
    /// # Errors
    ///
    /// `runtime-failed`.
    pub fn outputs(&self) -> Result<Vec<TensorSpec>, Error> {
        let of = self.environment.api.table.SessionGetOutputTypeInfo;
        self.outputs.iter().enumerate().map(|(place, name)| self.spec(name, place, of)).collect()
    }

    fn spec(&self, name: &CStr, place: usize, type_of: TypeOf) -> Result<TensorSpec, Error> {
        let (api, what, name) = (self.environment.api, "reading a type", name.to_string_lossy().into_owned());
        let info = api.make(what, api.table.ReleaseTypeInfo, |out| {
            // SAFETY: the session is alive, `out` is a place for one pointer; an index out of range returns an error.
            unsafe { type_of(self.object.pointer(), place, out) }
        })?;
        let mut tensor = ptr::null();
        // SAFETY: the description is alive and owns what `tensor` points to, which is null unless it is of a tensor.
        api.check(unsafe { (api.table.CastTypeInfoToTensorInfo)(info.pointer(), &raw mut tensor) }, what)?;
        if tensor.is_null() {
            return Ok(TensorSpec { name, dtype: Self::NO_TENSOR.to_owned(), shape: Vec::new() });
        }
        let (kind, dims) = describe(api, tensor)?;
        let dtype = dtype(kind).map_or_else(|| format!("{kind:?}"), |dtype| dtype.name().to_owned());
        let shape = dims.into_iter().map(|size| usize::try_from(size).ok()).collect();
        Ok(TensorSpec { name, dtype, shape })
    }

    /// Creates a tensor over `bytes`.
    ///
    /// # Errors
    ///
    /// `type-unsupported`; `runtime-failed` if there are too few bytes.
    pub fn value<'a>(&self, dtype: Dtype, shape: &[usize], bytes: &'a [u8]) -> Result<Value<'a>, Error> {
        let api = self.environment.api;
        let kind = DTYPES.iter().find(|(own, _)| *own == dtype).map(|(_, kind)| *kind);
        let kind = kind.ok_or_else(|| unsupported("input", "", dtype.name()))?;
        let dims: Vec<_> = shape.iter().map(|&size| i64::try_from(size).unwrap_or(i64::MAX)).collect();
        let object = api.make("making an input tensor", api.table.ReleaseValue, |out| {
            let (data, create) = (bytes.as_ptr().cast_mut().cast(), api.table.CreateTensorWithDataAsOrtValue);
            // SAFETY: the runtime checks that the bytes suffice for the shape; they are borrowed as long as the tensor
            // exists, and are only read, since the tensor is an input. Memory description and shape are copied.
            unsafe { create(self.memory.pointer(), data, bytes.len(), dims.as_ptr(), dims.len(), kind, out) }
        })?;
        Ok(Value { api, object, over: PhantomData })
    }

    /// Runs the model once on `inputs`, in the model's order; returns the outputs at `places`, which the runtime
    /// allocates.
    ///
    /// # Errors
    ///
    /// `runtime-failed`.
    pub fn run(&self, inputs: &[Value<'_>], places: &[usize]) -> Result<Vec<Value<'static>>, Error> {
        let api = self.environment.api;
        let names: Vec<_> = self.inputs.iter().map(|name| name.as_ptr()).collect();
        let values: Vec<_> = inputs.iter().map(|value| value.object.pointer().cast_const()).collect();
        let wanted: Vec<_> = places.iter().map(|&place| self.outputs[place].as_ptr()).collect();
        let mut found = vec![ptr::null_mut(); wanted.len()];
        // SAFETY: the session, the inputs and their bytes are alive; there are as many names as values on each side;
        // `found` contains null pointers, so the runtime allocates the outputs.
        let status = unsafe {
            (api.table.Run)(
                self.object.pointer(),
                ptr::null(),
                names.as_ptr(),
                values.as_ptr(),
                names.len().min(values.len()),
                wanted.as_ptr(),
                wanted.len(),
                found.as_mut_ptr(),
            )
        };
        let own = |pointer| Value { api, object: Owned::new(pointer, api.table.ReleaseValue), over: PhantomData };
        let found = found.into_iter().map(own).collect();
        api.check(status, "running the model").map(|()| found)
    }
}

/// A function of the API that describes an input or an output of a session.
type TypeOf = unsafe extern "system" fn(*const OrtSession, usize, *mut *mut OrtTypeInfo) -> OrtStatusPtr;
type Count = unsafe extern "system" fn(*const OrtSession, *mut usize) -> OrtStatusPtr;
type Name = unsafe extern "system" fn(*const OrtSession, usize, *mut OrtAllocator, *mut *mut c_char) -> OrtStatusPtr;

/// Copies the names of a session's inputs or outputs.
fn names(api: Api, session: *mut OrtSession, count: Count, name: Name) -> Result<Vec<CString>, Error> {
    let (what, mut allocator, mut found) = ("reading names", ptr::null_mut(), 0);
    // SAFETY: `allocator` is a place for one pointer; the default allocator is never released.
    api.check(unsafe { (api.table.GetAllocatorWithDefaultOptions)(&raw mut allocator) }, what)?;
    // SAFETY: the session is alive; `found` is a place for one number.
    api.check(unsafe { count(session, &raw mut found) }, what)?;
    let copy = |place| {
        let mut pointer = ptr::null_mut();
        // SAFETY: session and allocator are alive; an index out of range returns an error.
        api.check(unsafe { name(session, place, allocator, &raw mut pointer) }, what)?;
        // SAFETY: after success, the name is a string terminated by NUL.
        let name = unsafe { CStr::from_ptr(pointer) }.to_owned();
        // SAFETY: the name was allocated by this allocator and is freed once.
        api.check(unsafe { (api.table.AllocatorFree)(allocator, pointer.cast()) }, what)?;
        Ok(name)
    };
    (0..found).map(copy).collect()
}

/// Element type and dimensions of a tensor; a free dimension is negative.
fn describe(api: Api, info: *const OrtTensorTypeAndShapeInfo) -> Result<(Onnx, Vec<i64>), Error> {
    let (what, mut kind, mut rank) = ("reading a shape", Onnx::ONNX_TENSOR_ELEMENT_DATA_TYPE_UNDEFINED, 0);
    // SAFETY: the caller's description is alive; `kind` is a place for one type.
    api.check(unsafe { (api.table.GetTensorElementType)(info, &raw mut kind) }, what)?;
    // SAFETY: as above, for one number.
    api.check(unsafe { (api.table.GetDimensionsCount)(info, &raw mut rank) }, what)?;
    let mut dims = vec![0; rank];
    // SAFETY: as above, for `rank` numbers.
    api.check(unsafe { (api.table.GetDimensions)(info, dims.as_mut_ptr(), rank) }, what)?;
    Ok((kind, dims))
}

fn dtype(kind: Onnx) -> Option<Dtype> {
    if kind == Onnx::ONNX_TENSOR_ELEMENT_DATA_TYPE_STRING {
        return Some(Dtype::Str);
    }
    DTYPES.iter().find(|(_, own)| *own == kind).map(|(dtype, _)| *dtype)
}

fn map(path: &Path) -> Result<Mmap, Error> {
    let fail = |error: std::io::Error| {
        let is_missing = error.kind() == std::io::ErrorKind::NotFound;
        let kind = if is_missing { Kind::ModelMissing } else { Kind::ModelUnreadable };
        Error::new(kind, format!("cannot map the model {}: {error}", path.display()), "check model.path")
    };
    let file = File::open(path).map_err(fail)?;
    // SAFETY: a prepared model is written to another file and renamed, so a mapped file does not change.
    unsafe { Mmap::map(&file) }.map_err(fail)
}

/// A tensor over borrowed memory, or one that the runtime allocated.
pub struct Value<'a> {
    api: Api,
    object: Owned<OrtValue>,
    over: PhantomData<&'a [u8]>,
}

impl Value<'_> {
    /// Copies the output `name`.
    ///
    /// # Errors
    ///
    /// `type-unsupported`, `runtime-failed`.
    pub fn copy(&self, name: &str) -> Result<RawTensor, Error> {
        let (kind, dims) = self.describe()?;
        let dtype = dtype(kind).filter(|dtype| *dtype != Dtype::Str);
        let dtype = dtype.ok_or_else(|| unsupported("output", name, &format!("{kind:?}")))?;
        let shape: Vec<_> = dims.iter().map(|&size| usize::try_from(size).unwrap_or_default()).collect();
        let bytes = self.data::<u8>(shape.iter().product::<usize>() * dtype.size())?.to_vec();
        Ok(RawTensor { dtype, shape, bytes })
    }

    /// The elements of the model's first output, which must be float32.
    ///
    /// # Errors
    ///
    /// `model-mismatch` if they are not; `runtime-failed` if the output is not a tensor.
    pub fn floats(&self) -> Result<&[f32], Error> {
        let (kind, dims) = self.describe()?;
        if dtype(kind) != Some(Dtype::Float32) {
            let message = "the model's first output is not float32";
            return Err(Error::new(Kind::ModelMismatch, message, "use a model whose first output holds the logits"));
        }
        self.data(dims.iter().map(|&size| usize::try_from(size).unwrap_or_default()).product())
    }

    fn describe(&self) -> Result<(Onnx, Vec<i64>), Error> {
        let api = self.api;
        let info = api.make("reading the output", api.table.ReleaseTensorTypeAndShapeInfo, |out| {
            // SAFETY: the value is alive; `out` is a place for one pointer.
            unsafe { (api.table.GetTensorTypeAndShape)(self.object.pointer(), out) }
        })?;
        describe(api, info.pointer())
    }

    /// The data as `count` numbers, which must be those of the type and shape, or their bytes.
    fn data<T: Copy>(&self, count: usize) -> Result<&[T], Error> {
        let (api, mut data) = (self.api, ptr::null_mut());
        let read = api.table.GetTensorMutableData;
        // SAFETY: the value is alive; `data` is a place for one pointer.
        api.check(unsafe { read(self.object.pointer(), &raw mut data) }, "reading the output")?;
        if count == 0 {
            return Ok(&[]);
        }
        // SAFETY: the tensor contains this many numbers, lives as long as `self`, and nothing writes to it.
        Ok(unsafe { slice::from_raw_parts(data.cast::<T>(), count) })
    }
}

fn unreadable(path: &Path, reason: &str) -> Error {
    let message = format!("the model {} cannot be loaded: {reason}", path.display());
    Error::new(Kind::ModelUnreadable, message, "export or prepare the model again, or check the path")
}
