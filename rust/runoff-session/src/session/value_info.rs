//! Descriptions of a model's inputs and outputs.

use std::ffi::CString;

use ort::value::{Outlet, TensorElementType, ValueType as Description};
use serde::{Deserialize, Serialize};

use crate::dtype::Dtype;
use crate::error::{Error, Kind};

/// The type of an input or output. Element types are `None` if this crate has none for them.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ValueType {
    /// A tensor.
    Tensor(Option<Dtype>),
    /// A list of values.
    Sequence(Box<Self>),
    /// A map.
    Map {
        /// Type of the keys.
        key: Option<Dtype>,
        /// Type of the elements of the values.
        value: Option<Dtype>,
    },
    /// A value that may be missing.
    Optional(Box<Self>),
}

impl ValueType {
    fn of(description: &Description) -> Self {
        let dtype = |element: TensorElementType| Dtype::from_onnx(element.into());
        match description {
            Description::Tensor { ty, .. } => Self::Tensor(dtype(*ty)),
            Description::Sequence(item) => Self::Sequence(Box::new(Self::of(item))),
            Description::Map { key, value } => Self::Map { key: dtype(*key), value: dtype(*value) },
            Description::Optional(value) => Self::Optional(Box::new(Self::of(value))),
        }
    }
}

/// An input or output of a model.
#[derive(Debug, Clone)]
pub struct ValueInfo {
    /// Name in the graph.
    pub name: String,
    pub(super) c_name: CString,
    /// `NumPy` dtype name of the elements, or for other values the ONNX type, such as `seq(tensor(float))`.
    pub kind: String,
    /// Type of the value.
    pub value: ValueType,
    /// Element type of a tensor; `None` for other values.
    pub dtype: Option<Dtype>,
    /// Dimensions, `None` if dynamic. Empty for scalars, for an unknown rank and for values other than tensors.
    pub shape: Vec<Option<usize>>,
    /// Names of dynamic dimensions; `None` for unnamed and fixed ones.
    pub symbols: Vec<Option<String>>,
}

impl ValueInfo {
    pub(super) fn of(outlet: &Outlet) -> Self {
        Self::new(outlet.name(), outlet.dtype())
    }

    pub(super) fn new(name: &str, value: &Description) -> Self {
        let dtype = value.tensor_type().and_then(|element| Dtype::from_onnx(element.into()));
        let shape = value.tensor_shape().map(|shape| shape.iter().map(|&dim| usize::try_from(dim).ok()).collect());
        let named = |symbol: &String| Some(symbol.clone()).filter(|symbol| !symbol.is_empty());
        let symbols = match value {
            Description::Tensor { dimension_symbols, .. } => dimension_symbols.iter().map(named).collect(),
            _ => Vec::new(),
        };
        Self {
            name: name.to_owned(),
            // Names come from the C API, so they cannot contain NUL.
            c_name: CString::new(name).unwrap_or_default(),
            kind: dtype.map_or_else(|| words(value), |dtype| dtype.name().to_owned()),
            value: ValueType::of(value),
            dtype,
            shape: shape.unwrap_or_default(),
            symbols,
        }
    }

    /// Name, type and dimensions.
    #[must_use]
    pub fn spec(&self) -> TensorSpec {
        TensorSpec { name: self.name.clone(), dtype: self.kind.clone(), shape: self.shape.clone() }
    }

    /// Whether a tensor of these dimensions matches. An empty shape in the model may mean an unknown rank.
    #[must_use]
    pub fn takes(&self, shape: &[i64]) -> bool {
        let dim_fits = |(own, &given): (&Option<usize>, &i64)| own.is_none_or(|own| usize::try_from(given) == Ok(own));
        self.shape.is_empty() || self.shape.len() == shape.len() && self.shape.iter().zip(shape).all(dim_fits)
    }
}

/// The ONNX type string of a value.
fn words(value: &Description) -> String {
    match value {
        Description::Tensor { ty, .. } => format!("tensor({})", element(*ty)),
        Description::Sequence(item) => format!("seq({})", words(item)),
        Description::Map { key, value } => format!("map({},tensor({}))", element(*key), element(*value)),
        Description::Optional(value) => format!("optional({})", words(value)),
    }
}

/// ONNX's name of an element type.
fn element(element: TensorElementType) -> String {
    match Dtype::from_onnx(element.into()) {
        Some(Dtype::Float32) => "float".to_owned(),
        Some(Dtype::Float64) => "double".to_owned(),
        Some(Dtype::Str) => "string".to_owned(),
        Some(dtype) => dtype.name().to_owned(),
        None => format!("{element:?}").to_lowercase(),
    }
}

/// An input or output of a model, as a program expects it. `None` in `shape` is a dynamic dimension.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TensorSpec {
    /// Name in the graph.
    pub name: String,
    /// `NumPy` dtype name of the elements.
    pub dtype: String,
    /// Dimensions.
    pub shape: Vec<Option<usize>>,
}

impl TensorSpec {
    /// Checks that a tensor matches this input of a model. An empty shape in the model may mean an unknown rank.
    ///
    /// # Errors
    ///
    /// `model-mismatch`, with the expected type and shape.
    pub fn check(&self, dtype: Dtype, shape: &[usize]) -> Result<(), Error> {
        let fits = |(own, given): (&Option<usize>, &usize)| own.is_none_or(|own| own == *given);
        let is_as_long = self.shape.is_empty() || self.shape.len() == shape.len();
        if self.dtype == dtype.name() && is_as_long && self.shape.iter().zip(shape).all(fits) {
            return Ok(());
        }
        Err(self.unfit(dtype, &format!("{shape:?}")))
    }

    /// The failure for a tensor of another type or shape.
    pub(super) fn unfit(&self, dtype: Dtype, shape: &str) -> Error {
        let own = if self.shape.is_empty() { String::new() } else { format!(" of shape {}", show_shape(&self.shape)) };
        let (name, dtype) = (&self.name, dtype.name());
        let message = format!("input {name:?} takes {}{own}, not {dtype} of shape {shape}", self.dtype);
        Error::new(Kind::ModelMismatch, message, "compare the request with the model's inputs and outputs")
    }

    /// Whether the shapes of the model and of `other` are compatible. An empty shape may mean an unknown rank.
    #[must_use]
    pub fn agrees_with(&self, other: &Self) -> bool {
        let is_as_long = self.shape.is_empty() || self.shape.len() == other.shape.len();
        is_as_long && self.shape.iter().zip(&other.shape).all(|(a, b)| a.is_none() || b.is_none() || a == b)
    }
}

/// Formats dimensions for messages, with `?` for dynamic ones.
#[must_use]
pub fn show_shape(shape: &[Option<usize>]) -> String {
    let dims: Vec<_> = shape.iter().map(|dim| dim.map_or_else(|| "?".to_owned(), |dim| dim.to_string())).collect();
    format!("[{}]", dims.join(", "))
}
