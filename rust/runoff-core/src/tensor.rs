//! Tensors between files, memory and ONNX Runtime.

use std::fmt::Debug;
use std::path::Path;

use ort::value::{DynValue, PrimitiveTensorElementType, Tensor, TensorElementType};

use crate::error::{Error, Kind};
use crate::protocol::TensorFile;

/// Element types that can be read and written, with `NumPy`'s names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Dtype {
    Bool,
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
}

/// A number that tensors are made of.
pub trait Element: PrimitiveTensorElementType + Copy + Default + Debug + 'static {
    /// Its element type.
    const DTYPE: Dtype;

    /// Reads it from exactly `DTYPE.size()` little-endian bytes.
    fn from_bytes(bytes: &[u8]) -> Self;

    /// Appends its little-endian bytes.
    fn append_to(self, bytes: &mut Vec<u8>);
}

macro_rules! elements {
    ($($type:ty => $dtype:ident),*) => {$(
        impl Element for $type {
            const DTYPE: Dtype = Dtype::$dtype;

            fn from_bytes(bytes: &[u8]) -> Self {
                let mut array = [0; size_of::<Self>()];
                array.copy_from_slice(bytes);
                Self::from_le_bytes(array)
            }

            fn append_to(self, bytes: &mut Vec<u8>) {
                bytes.extend_from_slice(&self.to_le_bytes());
            }
        }
    )*};
}

elements!(f32 => Float32, f64 => Float64, i8 => Int8, i16 => Int16, i32 => Int32, i64 => Int64,
    u8 => Uint8, u16 => Uint16, u32 => Uint32, u64 => Uint64);

impl Element for bool {
    const DTYPE: Dtype = Dtype::Bool;

    fn from_bytes(bytes: &[u8]) -> Self {
        bytes[0] != 0
    }

    fn append_to(self, bytes: &mut Vec<u8>) {
        bytes.push(u8::from(self));
    }
}

/// Evaluates `$body` with `$type` standing for the Rust type of the element type `$dtype`.
#[macro_export]
macro_rules! with_element {
    ($dtype:expr, $type:ident => $body:expr) => {
        match $dtype {
            $crate::tensor::Dtype::Bool => {
                type $type = bool;
                $body
            }
            $crate::tensor::Dtype::Float32 => {
                type $type = f32;
                $body
            }
            $crate::tensor::Dtype::Float64 => {
                type $type = f64;
                $body
            }
            $crate::tensor::Dtype::Int8 => {
                type $type = i8;
                $body
            }
            $crate::tensor::Dtype::Int16 => {
                type $type = i16;
                $body
            }
            $crate::tensor::Dtype::Int32 => {
                type $type = i32;
                $body
            }
            $crate::tensor::Dtype::Int64 => {
                type $type = i64;
                $body
            }
            $crate::tensor::Dtype::Uint8 => {
                type $type = u8;
                $body
            }
            $crate::tensor::Dtype::Uint16 => {
                type $type = u16;
                $body
            }
            $crate::tensor::Dtype::Uint32 => {
                type $type = u32;
                $body
            }
            $crate::tensor::Dtype::Uint64 => {
                type $type = u64;
                $body
            }
        }
    };
}

const DTYPES: [(Dtype, &str, TensorElementType); 11] = [
    (Dtype::Bool, "bool", TensorElementType::Bool),
    (Dtype::Float32, "float32", TensorElementType::Float32),
    (Dtype::Float64, "float64", TensorElementType::Float64),
    (Dtype::Int8, "int8", TensorElementType::Int8),
    (Dtype::Int16, "int16", TensorElementType::Int16),
    (Dtype::Int32, "int32", TensorElementType::Int32),
    (Dtype::Int64, "int64", TensorElementType::Int64),
    (Dtype::Uint8, "uint8", TensorElementType::Uint8),
    (Dtype::Uint16, "uint16", TensorElementType::Uint16),
    (Dtype::Uint32, "uint32", TensorElementType::Uint32),
    (Dtype::Uint64, "uint64", TensorElementType::Uint64),
];

impl Dtype {
    /// `NumPy`'s name.
    #[must_use]
    pub fn name(self) -> &'static str {
        DTYPES.iter().find(|entry| entry.0 == self).map_or("unknown", |entry| entry.1)
    }

    /// Finds the element type that `NumPy` calls `name`.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        DTYPES.iter().find(|entry| entry.1 == name).map(|entry| entry.0)
    }

    /// Finds the element type that ONNX Runtime calls `element`.
    #[must_use]
    pub fn from_ort(element: TensorElementType) -> Option<Self> {
        DTYPES.iter().find(|entry| entry.2 == element).map(|entry| entry.0)
    }

    /// Size of one element, in bytes.
    #[must_use]
    pub const fn size(self) -> usize {
        with_element!(self, T => size_of::<T>())
    }
}

/// A tensor's elements, off ONNX Runtime's hands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawTensor {
    /// Element type.
    pub dtype: Dtype,
    /// Dimensions.
    pub shape: Vec<usize>,
    /// Little-endian elements in C order.
    pub bytes: Vec<u8>,
}

impl RawTensor {
    /// Reads `file`.
    ///
    /// # Errors
    ///
    /// `tensor-unreadable` when it is missing, of an unknown element type, or not as long as its shape says.
    pub fn read(file: &TensorFile) -> Result<Self, Error> {
        let fail = |message: String| {
            let hint = "a tensor file holds raw little-endian elements in C order and nothing else";
            Error::new(Kind::TensorUnreadable, format!("{}: {message}", file.path.display()), hint)
        };
        let dtype = Dtype::parse(&file.dtype).ok_or_else(|| fail(format!("unknown dtype {:?}", file.dtype)))?;
        let length = file.shape.iter().try_fold(dtype.size(), |length, &side| length.checked_mul(side));
        let length = length.ok_or_else(|| fail(format!("shape {:?} is too large", file.shape)))?;
        let bytes = std::fs::read(&file.path).map_err(|error| fail(error.to_string()))?;
        if bytes.len() != length {
            return Err(fail(format!(
                "{} bytes, but {} of shape {:?} are {length}",
                bytes.len(),
                dtype.name(),
                file.shape
            )));
        }
        Ok(Self { dtype, shape: file.shape.clone(), bytes })
    }

    /// Finds the element type of the tensor `name`, an input or output of the model.
    ///
    /// # Errors
    ///
    /// `model-mismatch` when it is not a tensor of a known element type.
    pub fn dtype_of(value: &DynValue, name: &str) -> Result<Dtype, Error> {
        value.dtype().tensor_type().and_then(Dtype::from_ort).ok_or_else(|| {
            let message = format!("{name:?} is {}, which this program does not read", value.dtype());
            Error::new(Kind::ModelMismatch, message, "use a model whose inputs and outputs are tensors of numbers")
        })
    }

    /// Copies the tensor `name`, an input or output of the model.
    ///
    /// # Errors
    ///
    /// `model-mismatch` when it is not a tensor of a known element type.
    pub fn copy_of(value: &DynValue, name: &str) -> Result<Self, Error> {
        let dtype = Self::dtype_of(value, name)?;
        with_element!(dtype, T => copy_elements::<T>(value))
    }

    /// The elements as float32, or `None` when they are something else.
    #[must_use]
    pub fn to_f32(&self) -> Option<Vec<f32>> {
        (self.dtype == Dtype::Float32).then(|| self.bytes.chunks_exact(4).map(f32::from_bytes).collect())
    }
}

fn copy_elements<T: Element>(value: &DynValue) -> Result<RawTensor, Error> {
    let (shape, elements) =
        value.try_extract_tensor::<T>().map_err(|error| Error::runtime("reading an output", &error))?;
    let mut bytes = Vec::with_capacity(size_of_val(elements));
    for element in elements {
        element.append_to(&mut bytes);
    }
    let shape = shape.iter().map(|&side| usize::try_from(side).unwrap_or_default()).collect();
    Ok(RawTensor { dtype: T::DTYPE, shape, bytes })
}

/// Makes a tensor of zeros that ONNX Runtime can read.
///
/// # Errors
///
/// `runtime-failed` when ONNX Runtime cannot make it.
pub fn zeros(dtype: Dtype, shape: &[usize]) -> Result<DynValue, Error> {
    let count = shape.iter().product();
    with_element!(dtype, T => Tensor::<T>::from_array((shape.to_vec(), vec![T::default(); count])).map(Tensor::into_dyn))
        .map_err(|error| Error::runtime("making an input tensor", &error))
}

/// Copies little-endian `bytes` into `tensor`, from element `offset` on.
///
/// # Errors
///
/// `runtime-failed` when `tensor` does not hold `dtype`.
///
/// # Panics
///
/// When the bytes do not fit into the tensor.
pub fn fill(tensor: &mut DynValue, dtype: Dtype, offset: usize, bytes: &[u8]) -> Result<(), Error> {
    with_element!(dtype, T => {
        let (_, elements) = tensor
            .try_extract_tensor_mut::<T>()
            .map_err(|error| Error::runtime("filling an input tensor", &error))?;
        let chunks = bytes.chunks_exact(size_of::<T>());
        let target = &mut elements[offset..offset + chunks.len()];
        target.iter_mut().zip(chunks).for_each(|(element, chunk)| *element = T::from_bytes(chunk));
    });
    Ok(())
}

/// Makes a file name of a tensor's name: what is not a letter, digit, `-`, `_` or `.` becomes `_`.
#[must_use]
pub fn file_name(name: &str) -> String {
    let plain = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '-' | '_' | '.');
    name.chars().map(|letter| if plain(letter) { letter } else { '_' }).collect()
}

/// Writes `tensor` into `folder` under the protocol's name, `<name>.<first item>.bin`.
///
/// # Errors
///
/// `no-space` or `internal`, naming the file.
pub fn write(folder: &Path, name: &str, first_item: usize, tensor: &RawTensor) -> Result<std::path::PathBuf, Error> {
    let path = folder.join(format!("{}.{first_item}.bin", file_name(name)));
    std::fs::write(&path, &tensor.bytes).map_err(|error| Error::write(&path, &error))?;
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_sizes_agree() {
        for (dtype, name, element) in DTYPES {
            assert_eq!(dtype.name(), name);
            assert_eq!(Dtype::parse(name), Some(dtype));
            assert_eq!(element.byte_size(1), Some(dtype.size()));
        }
        assert_eq!(Dtype::parse("float16"), None);
    }

    #[test]
    fn elements_survive_bytes() {
        let mut bytes = Vec::new();
        1.5_f32.append_to(&mut bytes);
        (-2_i64).append_to(&mut bytes);
        true.append_to(&mut bytes);
        assert!((f32::from_bytes(&bytes[..4]) - 1.5).abs() < f32::EPSILON);
        assert_eq!(i64::from_bytes(&bytes[4..12]), -2);
        assert!(bool::from_bytes(&bytes[12..]));
    }

    #[test]
    fn a_file_of_the_wrong_length_is_unreadable() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("x.bin");
        std::fs::write(&path, [0; 7]).expect("a file");
        let mut file = TensorFile { path, dtype: "float32".into(), shape: vec![1, 2] };
        let error = RawTensor::read(&file).expect_err("too short");
        assert_eq!(error.kind, Kind::TensorUnreadable);
        assert!(error.message.contains("7 bytes"), "{error}");
        file.shape = vec![usize::MAX, 2];
        assert!(RawTensor::read(&file).expect_err("too large").message.contains("too large"));
        file.dtype = "text".into();
        assert!(RawTensor::read(&file).expect_err("no dtype").message.contains("text"));
    }

    #[test]
    fn file_names_are_plain() {
        assert_eq!(file_name("a/b:c-d_e.0"), "a_b_c-d_e.0");
    }
}
