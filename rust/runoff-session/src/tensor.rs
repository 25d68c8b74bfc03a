//! Tensors in this program's memory.

use bytemuck::allocation::try_zeroed_vec;
use bytemuck::cast_slice;

use crate::dtype::Dtype;
use crate::error::{Error, Kind};
use crate::value::Value;

#[cfg(target_endian = "big")]
compile_error!("the elements of tensors are little-endian, and are used as they stand");

/// Bytes that are aligned for every element type.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Buffer {
    words: Vec<u64>,
    len: usize,
}

impl Buffer {
    /// Allocates `len` zero bytes.
    ///
    /// # Panics
    ///
    /// If there is not enough memory: see [`Self::try_zeros`].
    #[must_use]
    pub fn zeros(len: usize) -> Self {
        Self::try_zeros(len).unwrap_or_else(|error| panic!("{error}"))
    }

    /// Allocates `len` zero bytes, for a size that comes from outside.
    ///
    /// # Errors
    ///
    /// `bad-request` if there is not enough memory.
    pub fn try_zeros(len: usize) -> Result<Self, Error> {
        let words = try_zeroed_vec(len.div_ceil(8)).map_err(|()| Error::memory(&format!("a tensor of {len} bytes")))?;
        Ok(Self { words, len })
    }

    /// Allocates zeros for a tensor of `dtype` and `shape`.
    ///
    /// # Errors
    ///
    /// `bad-request` if there is not enough memory, or the size overflows.
    pub fn for_shape(dtype: Dtype, shape: &[usize]) -> Result<Self, Error> {
        let len = shape.iter().try_fold(dtype.size(), |len, &dim| len.checked_mul(dim));
        let too_large = || Error::memory(&format!("a tensor of {} and shape {shape:?}", dtype.name()));
        Self::try_zeros(len.ok_or_else(too_large)?)
    }

    /// The bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &cast_slice(&self.words)[..self.len]
    }

    /// The bytes, for writing.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        &mut bytemuck::cast_slice_mut(&mut self.words)[..self.len]
    }

    /// The bytes as float32, for writing; an incomplete last element is excluded.
    pub fn floats_mut(&mut self) -> &mut [f32] {
        let count = self.len / size_of::<f32>();
        &mut bytemuck::cast_slice_mut(&mut self.words)[..count]
    }
}

/// A tensor's elements, independent of ONNX Runtime.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawTensor {
    /// Element type.
    pub dtype: Dtype,
    /// Dimensions.
    pub shape: Vec<usize>,
    /// Little-endian elements in C order. A string is its length in bytes, as a `u32`, and its UTF-8 bytes.
    pub bytes: Vec<u8>,
}

impl RawTensor {
    /// Copies `value`, the output `name` of a model.
    ///
    /// # Errors
    ///
    /// `model-mismatch` if it is not a tensor; `runtime-failed` for a string of 4 GiB.
    pub fn copy_of(value: &Value<'_>, name: &str) -> Result<Self, Error> {
        let view = value.tensor(name)?;
        let shape = view.dims();
        let bytes = match view.dtype {
            Dtype::Str => with_lengths(&value.texts(shape.iter().product())?)?,
            _ => view.bytes().to_vec(),
        };
        Ok(Self { dtype: view.dtype, shape, bytes })
    }

    /// The strings of a tensor of strings; `None` if `bytes` are not as many strings as the shape has elements.
    #[must_use]
    pub fn texts(&self) -> Option<Vec<&str>> {
        let (mut texts, mut rest) = (Vec::new(), &*self.bytes);
        while let Some((len, more)) = rest.split_first_chunk() {
            let text = more.get(..usize::try_from(u32::from_le_bytes(*len)).ok()?)?;
            texts.push(str::from_utf8(text).ok()?);
            rest = &more[text.len()..];
        }
        let is_whole = rest.is_empty() && texts.len() == self.shape.iter().product::<usize>();
        is_whole.then_some(texts).filter(|_| self.dtype == Dtype::Str)
    }

    /// The elements as float32; `None` if they have another type.
    #[must_use]
    pub fn to_f32(&self) -> Option<Vec<f32>> {
        let float = |bytes: &[u8; 4]| f32::from_le_bytes(*bytes);
        (self.dtype == Dtype::Float32).then(|| self.bytes.as_chunks().0.iter().map(float).collect())
    }
}

/// Strings as bytes, each with its length.
fn with_lengths(texts: &[String]) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::with_capacity(texts.iter().map(|text| text.len() + size_of::<u32>()).sum());
    for text in texts {
        let too_long = |_| Error::new(Kind::RuntimeFailed, "a string of 4 GiB or more", "use shorter strings");
        bytes.extend(u32::try_from(text.len()).map_err(too_long)?.to_le_bytes());
        bytes.extend(text.as_bytes());
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_have_their_lengths() {
        let texts = ["", "a\0é", "word"].map(str::to_owned);
        let bytes = with_lengths(&texts).expect("short strings");
        assert_eq!(bytes[..9], *b"\0\0\0\0\x04\0\0\0a");
        let tensor = |len: usize, shape| RawTensor { dtype: Dtype::Str, shape, bytes: bytes[..len].to_vec() };
        assert_eq!(tensor(bytes.len(), vec![1, 3]).texts(), Some(vec!["", "a\0é", "word"]));
        for damaged in [tensor(bytes.len(), vec![2]), tensor(bytes.len() - 1, vec![3]), tensor(14, vec![3])] {
            assert_eq!(damaged.texts(), None);
        }
        assert_eq!(tensor(0, vec![0, 2]).texts(), Some(vec![]));
    }

    #[test]
    fn a_buffer_is_the_same_bytes_in_every_type() {
        let mut buffer = Buffer::zeros(9);
        assert_eq!(buffer.floats_mut().len(), 2);
        buffer.floats_mut()[1] = 1.5;
        assert_eq!(buffer.bytes()[4..8], 1.5_f32.to_le_bytes());
        buffer.bytes_mut()[8] = 7;
        assert_eq!(buffer.bytes().len(), 9);
        assert_eq!(buffer.bytes().last(), Some(&7));
    }
}
