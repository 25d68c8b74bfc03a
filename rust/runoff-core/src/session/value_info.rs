//! What a model takes and gives.

use std::ffi::CString;

use ort::value::{Outlet, TensorElementType, ValueType};

use crate::dtype::Dtype;
use crate::protocol::TensorSpec;

/// An input or output of a model.
#[derive(Debug, Clone)]
pub struct ValueInfo {
    /// Name in the graph.
    pub name: String,
    pub(super) c_name: CString,
    /// `NumPy`'s name of the element type, or ONNX's words for what is not a tensor of such, as `seq(tensor(float))`.
    pub kind: String,
    /// What goes through, in full.
    pub value: ValueType,
    /// Element type of a tensor; `None` for anything else.
    pub dtype: Option<Dtype>,
    /// Dimensions; `None` is a dynamic one. Empty for scalars, tensors of unknown rank, and what is not a tensor.
    pub shape: Vec<Option<usize>>,
    /// Names of dynamic dimensions, where they have one.
    pub symbols: Vec<Option<String>>,
}

impl ValueInfo {
    pub(super) fn of(outlet: &Outlet) -> Self {
        Self::new(outlet.name(), outlet.dtype())
    }

    pub(super) fn new(name: &str, value: &ValueType) -> Self {
        let dtype = value.tensor_type().and_then(|element| Dtype::from_onnx(element.into()));
        let shape = value.tensor_shape().map(|shape| shape.iter().map(|&dim| usize::try_from(dim).ok()).collect());
        let named = |symbol: &String| Some(symbol.clone()).filter(|symbol| !symbol.is_empty());
        let symbols = match value {
            ValueType::Tensor { dimension_symbols, .. } => dimension_symbols.iter().map(named).collect(),
            _ => Vec::new(),
        };
        Self {
            name: name.to_owned(),
            // A name with a NUL in it cannot have come through the C API.
            c_name: CString::new(name).unwrap_or_default(),
            kind: dtype.map_or_else(|| words(value), |dtype| dtype.name().to_owned()),
            value: value.clone(),
            dtype,
            shape: shape.unwrap_or_default(),
            symbols,
        }
    }

    /// Whether a tensor of these dimensions fits. An empty shape in the model may stand for an unknown rank.
    #[must_use]
    pub fn takes(&self, shape: &[i64]) -> bool {
        let dim_fits = |(own, &given): (&Option<usize>, &i64)| own.is_none_or(|own| usize::try_from(given) == Ok(own));
        self.shape.is_empty() || self.shape.len() == shape.len() && self.shape.iter().zip(shape).all(dim_fits)
    }

    /// Whether the model's own description and `spec` can be those of one tensor.
    #[must_use]
    pub(super) fn agrees_with(&self, spec: &TensorSpec) -> bool {
        self.shape.len() == spec.shape.len()
            && self.shape.iter().zip(&spec.shape).all(|(a, b)| a.is_none() || b.is_none() || a == b)
    }
}

/// ONNX's words for a type of values.
fn words(value: &ValueType) -> String {
    match value {
        ValueType::Tensor { ty, .. } => format!("tensor({})", element(*ty)),
        ValueType::Sequence(item) => format!("seq({})", words(item)),
        ValueType::Map { key, value } => format!("map({},tensor({}))", element(*key), element(*value)),
        ValueType::Optional(value) => format!("optional({})", words(value)),
    }
}

/// ONNX's word for a type of elements.
fn element(element: TensorElementType) -> String {
    match Dtype::from_onnx(element.into()) {
        Some(Dtype::Float32) => "float".to_owned(),
        Some(Dtype::Float64) => "double".to_owned(),
        Some(Dtype::Str) => "string".to_owned(),
        Some(dtype) => dtype.name().to_owned(),
        None => format!("{element:?}").to_lowercase(),
    }
}

/// Shows dimensions as messages do, with `?` for dynamic ones.
#[must_use]
pub fn show_shape(shape: &[Option<usize>]) -> String {
    let dims: Vec<_> = shape.iter().map(|dim| dim.map_or_else(|| "?".to_owned(), |dim| dim.to_string())).collect();
    format!("[{}]", dims.join(", "))
}
