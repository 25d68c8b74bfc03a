//! Element types of tensors.

use ort::sys::ONNXTensorElementDataType as Onnx;

/// Element types, named as in `NumPy`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
#[expect(missing_docs, reason = "the names say it")]
pub enum Dtype {
    Bool,
    Bfloat16,
    Float16,
    Float32,
    Float64,
    Int8,
    Int16,
    Int32,
    Int64,
    Uint8,
    Uint16,
    Uint32,
    Uint64,
    Complex64,
    Complex128,
    /// Strings, which have no fixed size.
    Str,
}

/// Name, size of one element in bytes, and ONNX Runtime's constant of each type.
const DTYPES: [(Dtype, &str, usize, Onnx); 16] = [
    (Dtype::Bool, "bool", 1, Onnx::ONNX_TENSOR_ELEMENT_DATA_TYPE_BOOL),
    (Dtype::Bfloat16, "bfloat16", 2, Onnx::ONNX_TENSOR_ELEMENT_DATA_TYPE_BFLOAT16),
    (Dtype::Float16, "float16", 2, Onnx::ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT16),
    (Dtype::Float32, "float32", 4, Onnx::ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT),
    (Dtype::Float64, "float64", 8, Onnx::ONNX_TENSOR_ELEMENT_DATA_TYPE_DOUBLE),
    (Dtype::Int8, "int8", 1, Onnx::ONNX_TENSOR_ELEMENT_DATA_TYPE_INT8),
    (Dtype::Int16, "int16", 2, Onnx::ONNX_TENSOR_ELEMENT_DATA_TYPE_INT16),
    (Dtype::Int32, "int32", 4, Onnx::ONNX_TENSOR_ELEMENT_DATA_TYPE_INT32),
    (Dtype::Int64, "int64", 8, Onnx::ONNX_TENSOR_ELEMENT_DATA_TYPE_INT64),
    (Dtype::Uint8, "uint8", 1, Onnx::ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT8),
    (Dtype::Uint16, "uint16", 2, Onnx::ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT16),
    (Dtype::Uint32, "uint32", 4, Onnx::ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT32),
    (Dtype::Uint64, "uint64", 8, Onnx::ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT64),
    (Dtype::Complex64, "complex64", 8, Onnx::ONNX_TENSOR_ELEMENT_DATA_TYPE_COMPLEX64),
    (Dtype::Complex128, "complex128", 16, Onnx::ONNX_TENSOR_ELEMENT_DATA_TYPE_COMPLEX128),
    (Dtype::Str, "str", 0, Onnx::ONNX_TENSOR_ELEMENT_DATA_TYPE_STRING),
];

impl Dtype {
    /// Name of the `NumPy` dtype.
    #[must_use]
    pub const fn name(self) -> &'static str {
        DTYPES[self as usize].1
    }

    /// Finds the element type of the `NumPy` dtype `name`.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        DTYPES.iter().find(|entry| entry.1 == name).map(|entry| entry.0)
    }

    /// Finds the element type of ONNX Runtime's constant `element`.
    pub(crate) fn from_onnx(element: Onnx) -> Option<Self> {
        DTYPES.iter().find(|entry| entry.3 == element).map(|entry| entry.0)
    }

    /// ONNX Runtime's constant for the type.
    pub(crate) const fn to_onnx(self) -> Onnx {
        DTYPES[self as usize].3
    }

    /// Size of one element, in bytes; 0 for strings.
    #[must_use]
    pub const fn size(self) -> usize {
        DTYPES[self as usize].2
    }

    /// Alignment of an element, in bytes; 1 for strings.
    #[must_use]
    pub const fn alignment(self) -> usize {
        match self {
            Self::Str => 1,
            Self::Complex64 | Self::Complex128 => self.size() / 2,
            _ => self.size(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_sizes_agree() {
        for (index, (dtype, name, size, onnx)) in DTYPES.into_iter().enumerate() {
            assert_eq!(dtype as usize, index);
            assert_eq!((dtype.name(), dtype.size(), dtype.to_onnx()), (name, size, onnx));
            assert_eq!((Dtype::parse(name), Dtype::from_onnx(onnx)), (Some(dtype), Some(dtype)));
        }
        assert_eq!(Dtype::parse("float8"), None);
    }
}
