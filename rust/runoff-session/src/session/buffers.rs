//! Runs with inputs and outputs in the memory of the session's device, allocated once and reused (I/O binding).

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Deref;
use std::time::{Duration, Instant};
use std::vec::IntoIter;

use super::binding::Binding;
use super::{Session, ValueInfo};
use crate::dtype::Dtype;
use crate::error::{Error, Kind};
use crate::value::{Dimensions, Value};

/// Durations of the parts of one run, in nanoseconds. Each part ends when the device is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parts {
    /// Copies from host to device.
    pub copy_in_ns: u64,
    /// Computation.
    pub compute_ns: u64,
    /// Copies from device to host.
    pub copy_out_ns: u64,
}

impl Parts {
    /// Each part with its name, in chronological order.
    #[must_use]
    pub const fn named(&self) -> [(&'static str, u64); 3] {
        [("copy_in", self.copy_in_ns), ("compute", self.compute_ns), ("copy_out", self.copy_out_ns)]
    }

    /// Total duration, host to host.
    #[must_use]
    pub const fn total_ns(&self) -> u64 {
        self.copy_in_ns + self.compute_ns + self.copy_out_ns
    }
}

/// Outputs in host memory. Only [`Buffers`] creates them: the next run may overwrite them.
#[derive(Debug, Default)]
pub struct Results(pub(super) Vec<Value<'static>>);

impl Deref for Results {
    type Target = [Value<'static>];

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl IntoIterator for Results {
    type Item = Value<'static>;
    type IntoIter = IntoIter<Self::Item>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

/// Element type and dimensions.
type Kinds = Vec<(Dtype, Dimensions)>;

/// Tensors on the device for all inputs and outputs of a session. One thread at a time uses them.
///
/// If the model's shapes are fixed, tensors are allocated on creation. Otherwise the first copy of inputs allocates
/// them, and a later one only if shapes change. ONNX Runtime allocates outputs whose shape cannot be derived from the
/// inputs in each run.
pub struct Buffers {
    binding: Binding,
    inputs: Vec<ValueInfo>,
    outputs: Vec<ValueInfo>,
    /// Types and shapes of the inputs that the tensors are allocated for.
    kinds: Kinds,
    /// Outputs that ONNX Runtime allocates in each run.
    free: Vec<usize>,
}

impl fmt::Debug for Buffers {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Buffers").field("kinds", &self.kinds).field("free", &self.free).finish_non_exhaustive()
    }
}

impl Buffers {
    /// Creates buffers for runs of `session`.
    ///
    /// # Errors
    ///
    /// `model-mismatch` if an input or output is not a numeric tensor; `runtime-failed`, for instance if the device is
    /// out of memory.
    pub fn new(session: &Session) -> Result<Self, Error> {
        let all = |infos: &[ValueInfo]| (0..infos.len()).collect::<Vec<_>>();
        Self::of(session, &all(session.inputs()), &all(session.outputs()))
    }

    /// As [`Self::new`], for the inputs at `inputs` and the outputs at `outputs` only.
    ///
    /// # Errors
    ///
    /// As [`Self::new`].
    ///
    /// # Panics
    ///
    /// If there is no such input or output.
    pub fn of(session: &Session, inputs: &[usize], outputs: &[usize]) -> Result<Self, Error> {
        let at = |infos: &[ValueInfo], places: &[usize]| places.iter().map(|&place| infos[place].clone()).collect();
        let (inputs, outputs): (Vec<_>, Vec<_>) = (at(session.inputs(), inputs), at(session.outputs(), outputs));
        if let Some(info) = inputs.iter().chain(&outputs).find(|info| info.dtype.is_none_or(|own| own == Dtype::Str)) {
            let message = format!("{:?} is {}, which device memory cannot hold", info.name, info.kind);
            return Err(Error::new(Kind::ModelMismatch, message, "use a model whose inputs and outputs are numbers"));
        }
        let binding = Binding::new(session.loaded.clone(), session.device)?;
        let fixed = |info: &ValueInfo| info.dtype.zip(known_shape(info, &BTreeMap::new()));
        let kinds: Option<Kinds> = inputs.iter().map(fixed).collect();
        let mut buffers = Self { binding, inputs, outputs, kinds: Kinds::new(), free: Vec::new() };
        kinds.map_or(Ok(()), |kinds| buffers.make(kinds))?;
        Ok(buffers)
    }

    /// Runs the model once. `values` are the inputs, `results` receives the outputs, both in graph order and in host
    /// memory. Existing results of the right type and shape are reused; others are created.
    ///
    /// # Errors
    ///
    /// `runtime-failed`.
    ///
    /// # Panics
    ///
    /// If the number of values is not the number of inputs.
    pub fn run(&mut self, values: &[Value<'_>], results: &mut Results) -> Result<Parts, Error> {
        let begun = Instant::now();
        self.copy_in(values)?;
        let given = Instant::now();
        self.compute()?;
        let computed = Instant::now();
        self.copy_out(results)?;
        Ok(Parts {
            copy_in_ns: nanoseconds(given - begun),
            compute_ns: nanoseconds(computed - given),
            copy_out_ns: nanoseconds(computed.elapsed()),
        })
    }

    /// Copies `values`, one for each input, to the device; the copies are done when this returns. The elements of a value
    /// may be on the device already.
    ///
    /// # Errors
    ///
    /// `model-mismatch` if a value is not a tensor; `runtime-failed`, for instance if the device is out of memory.
    ///
    /// # Panics
    ///
    /// If the number of values is not the number of inputs.
    pub fn copy_in(&mut self, values: &[Value<'_>]) -> Result<(), Error> {
        let kinds = self.kinds_of(values)?;
        if kinds != self.kinds {
            self.make(kinds)?;
        }
        self.binding.fill(self.inputs.iter().zip(values))
    }

    /// Runs the model on the copied inputs; the device is done when this returns.
    ///
    /// # Errors
    ///
    /// `runtime-failed`, for instance if no inputs were copied.
    pub fn compute(&mut self) -> Result<(), Error> {
        for &place in &self.free {
            self.binding.free_output(&self.outputs[place])?;
        }
        self.binding.run()
    }

    /// Copies the outputs to `results`, one for each output; see [`Self::run`].
    ///
    /// # Errors
    ///
    /// `runtime-failed`, for instance if nothing was computed.
    pub fn copy_out(&self, results: &mut Results) -> Result<(), Error> {
        self.binding.read(&self.outputs, results)
    }

    /// The outputs of the last run where they are, in the order of the graph; the next may write into them.
    ///
    /// # Errors
    ///
    /// `runtime-failed`, among others when nothing was computed.
    ///
    /// # Safety
    ///
    /// These buffers must outlive the values. Elements that are not in the host's memory must not be looked at, nor any
    /// while the model runs.
    #[expect(unsafe_code, reason = "the caller has to keep the buffers")]
    pub unsafe fn outputs(&self) -> Result<Vec<Value<'static>>, Error> {
        self.binding.results()
    }

    fn kinds_of(&self, values: &[Value<'_>]) -> Result<Kinds, Error> {
        assert_eq!(values.len(), self.inputs.len(), "a value for each input");
        let kind =
            |(info, value): (&ValueInfo, &Value<'_>)| value.tensor(&info.name).map(|view| (view.dtype, view.shape));
        self.inputs.iter().zip(values).map(kind).collect()
    }

    fn make(&mut self, kinds: Kinds) -> Result<(), Error> {
        // If this fails halfway, the next run allocates all tensors again.
        self.kinds.clear();
        self.free.clear();
        self.binding.clear();
        for (info, (dtype, shape)) in self.inputs.iter().zip(&kinds) {
            self.binding.make_input(info, *dtype, shape)?;
        }
        let dims = dims_by_name(&self.inputs, &kinds);
        for (place, info) in self.outputs.iter().enumerate() {
            // ONNX Runtime does not write to an output that passes an input through.
            let is_passed_on = self.inputs.iter().any(|input| input.name == info.name);
            if let Some((dtype, shape)) = info.dtype.zip(known_shape(info, &dims)).filter(|_| !is_passed_on) {
                self.binding.make_output(info, dtype, &shape)?;
                continue;
            }
            // Bound here as well, so outputs are bound in graph order.
            self.binding.free_output(info)?;
            self.free.push(place);
        }
        self.kinds = kinds;
        Ok(())
    }
}

/// The duration in nanoseconds, of which 64 bits hold those of 584 years.
pub(super) fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// The named dimensions of the inputs.
fn dims_by_name<'p>(inputs: &'p [ValueInfo], kinds: &Kinds) -> BTreeMap<&'p str, i64> {
    let named = |(info, (_, shape)): (&'p ValueInfo, &(Dtype, Dimensions))| {
        let named = info.symbols.iter().zip(shape.clone());
        named.filter_map(|(symbol, dim)| symbol.as_deref().map(|symbol| (symbol, dim))).collect::<Vec<_>>()
    };
    inputs.iter().zip(kinds).flat_map(named).collect()
}

/// The shape of an output, if each dimension is fixed or has the name of an input dimension. An empty shape may mean an
/// unknown rank.
fn known_shape(info: &ValueInfo, dims: &BTreeMap<&str, i64>) -> Option<Dimensions> {
    let dim = |(own, symbol): (&Option<usize>, &Option<String>)| match own {
        Some(own) => i64::try_from(*own).ok(),
        None => symbol.as_deref().and_then(|symbol| dims.get(symbol).copied()),
    };
    let known = info.shape.iter().zip(&info.symbols).map(dim).collect::<Option<Dimensions>>();
    known.filter(|known| !known.is_empty() && known.len() == info.shape.len())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::cuda::tests::late;
    use crate::dlpack::{self, Imported, export};
    use crate::runtime::tests::started;
    use crate::session::Device;
    use crate::settings::Settings;
    use crate::tensor::{Buffer, RawTensor};

    #[test]
    fn the_model_runs_when_its_inputs_have_arrived() {
        let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/add.onnx");
        let mut session = Session::open(started(), &model, &Settings::default()).expect("a session");
        // Host memory with delayed copies: a run that does not wait computes with stale data.
        session.device = Device { copies: Some(late()), ..Device::HOST };
        let (mut buffers, mut results) = (Buffers::new(&session).expect("buffers"), Results::default());
        for number in [1.0, 2.0, 3.0] {
            let (mut a, n) = (Buffer::zeros(16), Buffer::zeros(16));
            a.floats_mut().fill(number);
            let terms = || Value::over(Dtype::Float32, &[2, 2], a.bytes()).expect("a tensor");
            let counts = Value::over(Dtype::Int64, &[2], n.bytes()).expect("a tensor");
            buffers.run(&[terms(), terms(), counts], &mut results).expect("a run");
            let sum = RawTensor::copy_of(&results[0], "sum").expect("a tensor");
            assert_eq!(sum.to_f32(), Some(vec![2.0 * number; 4]));
        }
    }

    #[test]
    #[expect(unsafe_code, reason = "tensors of other libraries")]
    fn tensors_that_are_on_the_device_are_copied_there() {
        let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/add.onnx");
        let mut session = Session::open(started(), &model, &Settings::default()).expect("a session");
        // The host's memory in the place of a GPU's: this fake is given everything that a GPU's run time would be.
        session.device = Device::cuda(late());
        assert_eq!(session.memory(), dlpack::Device::cuda(0));
        session.device = Device { copies: Some(late()), ..Device::HOST };
        let (floats, counts) = ([1.5_f32, 2.0, 3.0, 4.0], [0_i64, 0]);
        let tensor = |dtype, dims: &[i64], data: *const u8| {
            // SAFETY: the arrays outlive the tensors, and have as many elements.
            let taken = unsafe {
                let device = dlpack::Device::cuda(0);
                Imported::of(export((dtype, dims), data.cast_mut().cast(), device, ()).expect("a tensor"), device)
            };
            taken.expect("a tensor in C order")
        };
        let terms = tensor(Dtype::Float32, &[2, 2], floats.as_ptr().cast());
        let counts = tensor(Dtype::Int64, &[2], counts.as_ptr().cast());
        let (mut buffers, mut results) = (Buffers::new(&session).expect("buffers"), Results::default());
        let values = [&terms, &terms, &counts].map(|tensor| tensor.value().expect("a value"));
        buffers.run(&values, &mut results).expect("a run");
        let sum = RawTensor::copy_of(&results[0], "sum").expect("a tensor");
        assert_eq!(sum.to_f32(), Some(vec![3.0, 4.0, 6.0, 8.0]));
        // SAFETY: the buffers outlive the values, which are in the host's memory, and no run is under way.
        let there = unsafe { buffers.outputs() }.expect("outputs");
        assert_eq!(RawTensor::copy_of(&there[0], "sum").expect("a tensor").to_f32(), sum.to_f32());
    }
}
