//! Tensors in files.

use std::path::{Path, PathBuf};

use runoff_session::{Dtype, Error, Kind, RawTensor, read as files};

use crate::protocol::TensorFile;

/// Reads the tensor in `file`.
///
/// # Errors
///
/// `tensor-unreadable` if the file is missing, its element type is unknown, or its length does not match its shape.
pub fn read(file: &TensorFile) -> Result<RawTensor, Error> {
    let fail = |message: String| {
        let hint = "a tensor file holds raw little-endian elements in C order and nothing else";
        Error::new(Kind::TensorUnreadable, format!("{}: {message}", file.path.display()), hint)
    };
    let dtype = Dtype::parse(&file.dtype).filter(|dtype| *dtype != Dtype::Str);
    let dtype = dtype.ok_or_else(|| fail(format!("unknown dtype {:?}", file.dtype)))?;
    let length = file.shape.iter().try_fold(dtype.size(), |length, &dim| length.checked_mul(dim));
    let length = length.ok_or_else(|| fail(format!("shape {:?} is too large", file.shape)))?;
    let unread = |error: std::io::Error| fail(error.to_string());
    let (_, found) = files::open(&file.path).map_err(unread)?;
    let mut bytes = Vec::new();
    if usize::try_from(found) == Ok(length) {
        files::read(&file.path, found, &mut bytes).map_err(unread)?;
    }
    if bytes.len() != length {
        return Err(fail(format!("{found} bytes, but {} of shape {:?} are {length}", dtype.name(), file.shape)));
    }
    if dtype == Dtype::Bool && bytes.iter().any(|&byte| byte > 1) {
        return Err(fail("a bool is 0 or 1".to_owned()));
    }
    Ok(RawTensor { dtype, shape: file.shape.clone(), bytes })
}

/// Converts a tensor's name to a file name: characters other than ASCII letters, digits, `-`, `_` and `.` become `_`.
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
pub fn write(folder: &Path, name: &str, first_item: usize, tensor: &RawTensor) -> Result<PathBuf, Error> {
    let path = folder.join(format!("{}.{first_item}.bin", file_name(name)));
    std::fs::write(&path, &tensor.bytes).map_err(|error| Error::write(&path, &error))?;
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_the_wrong_length_is_unreadable() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("x.bin");
        std::fs::write(&path, [0; 7]).expect("a file");
        let mut file = TensorFile { path, dtype: "float32".into(), shape: vec![1, 2] };
        let error = read(&file).expect_err("too short");
        assert_eq!(error.kind, Kind::TensorUnreadable);
        assert!(error.message.contains("7 bytes"), "{error}");
        file.shape = vec![usize::MAX, 2];
        assert!(read(&file).expect_err("too large").message.contains("too large"));
        file.dtype = "text".into();
        assert!(read(&file).expect_err("no dtype").message.contains("text"));
    }

    #[test]
    fn file_names_are_plain() {
        assert_eq!(file_name("a/b:c-d_e.0"), "a_b_c-d_e.0");
    }
}
