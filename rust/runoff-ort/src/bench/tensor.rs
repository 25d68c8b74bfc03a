//! Inputs of a model.

use runoff_session::{Buffer, Dtype, Error, Value};

/// Most bytes of an input, and of a file of them.
pub const MOST_BYTES: u64 = 1 << 32;

/// One input of a model, filled.
#[derive(Debug)]
pub struct Tensor {
    pub dtype: Dtype,
    pub shape: Vec<usize>,
    pub elements: Buffer,
}

impl Tensor {
    /// The tensor for ONNX Runtime, without a copy.
    pub fn value(&self) -> Result<Value<'_>, Error> {
        Value::over(self.dtype, &self.shape, self.elements.bytes())
    }
}
