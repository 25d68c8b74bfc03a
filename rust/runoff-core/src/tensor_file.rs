//! Tensors in files.

use std::path::{Path, PathBuf};

use runoff_session::{Dtype, Error, Kind, RawTensor, read as files};

use crate::protocol::TensorFile;

/// Whether tensors of `dtype` can be stored in files.
#[must_use]
pub fn has(dtype: Dtype) -> bool {
    !matches!(dtype, Dtype::Complex64 | Dtype::Complex128)
}

/// The failure for an input or output (`what`) of a type that tensor files do not hold, or not on a device.
#[must_use]
pub fn unsupported(what: &str, name: &str, kind: &str) -> Error {
    let message = format!("the model's {what} '{name}' is {kind}, which this runner does not read or write");
    let hint = "see 'Tensors on disk' in protocol/README.md; outputs can be left out of the request";
    Error::new(Kind::TypeUnsupported, message, hint)
}

/// Reads the tensor in `file` for the input `name`.
///
/// # Errors
///
/// `tensor-unreadable` if the file is missing, or its content does not match its dtype and shape; `type-unsupported`.
pub fn read(file: &TensorFile, name: &str) -> Result<RawTensor, Error> {
    let fail = |message: String| {
        let hint = "see 'Tensors on disk' in protocol/README.md";
        Error::new(Kind::TensorUnreadable, format!("{}: {message}", file.path.display()), hint)
    };
    let dtype = Dtype::parse(&file.dtype).filter(|dtype| has(*dtype));
    let dtype = dtype.ok_or_else(|| unsupported("input", name, &file.dtype))?;
    let length = file.shape.iter().try_fold(dtype.size(), |length, &dim| length.checked_mul(dim));
    let length = length.ok_or_else(|| fail(format!("shape {:?} is too large", file.shape)))?;
    let unread = |error: std::io::Error| fail(error.to_string());
    let (_, found) = files::open(&file.path).map_err(unread)?;
    let mut bytes = Vec::new();
    if dtype == Dtype::Str {
        files::read(&file.path, found, &mut bytes).map_err(unread)?;
        let tensor = RawTensor { dtype, shape: file.shape.clone(), bytes };
        let is_whole = tensor.texts().is_some();
        let message = || format!("not strings of UTF-8 with their lengths, as many as shape {:?} has", file.shape);
        return is_whole.then_some(tensor).ok_or_else(|| fail(message()));
    }
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

/// Writes `tensor` into `folder` under the protocol's name, `<name>.<first item>.bin`, or if it is `taken` by an
/// earlier one, with `_` appended to the name.
///
/// # Errors
///
/// `no-space` or `internal`, naming the file.
pub fn write(
    folder: &Path,
    name: &str,
    first_item: usize,
    tensor: &RawTensor,
    taken: &[PathBuf],
) -> Result<PathBuf, Error> {
    let mut name = file_name(name);
    let path = loop {
        let path = folder.join(format!("{name}.{first_item}.bin"));
        if !taken.contains(&path) {
            break path;
        }
        name.push('_');
    };
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
        let error = read(&file, "x").expect_err("too short");
        assert_eq!(error.kind, Kind::TensorUnreadable);
        assert!(error.message.contains("7 bytes"), "{error}");
        file.shape = vec![usize::MAX, 2];
        assert!(read(&file, "x").expect_err("too large").message.contains("too large"));
        file.dtype = "str".into();
        file.shape = vec![1];
        assert!(read(&file, "x").expect_err("no strings").message.contains("not strings"));
        for dtype in ["complex64", "float8e4m3fn"] {
            file.dtype = dtype.into();
            let error = read(&file, "x").expect_err("no such dtype");
            assert_eq!((error.kind, error.kind.exit_code()), (Kind::TypeUnsupported, 3));
            assert!(error.message.contains(&format!("input 'x' is {dtype}, which")), "{error}");
        }
    }

    #[test]
    fn file_names_are_plain() {
        assert_eq!(file_name("a/b:c-d_e.0"), "a_b_c-d_e.0");
    }
}
