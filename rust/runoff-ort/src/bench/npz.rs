//! Arrays in `NumPy`'s `.npz` files: a zip file with an `.npy` file for each.

use std::io::{self, Error as IoError, Read};

use flate2::bufread::DeflateDecoder;
use rawzip::{CompressionMethod, ZipArchive};
use runoff_session::{Buffer, Dtype, Error, Kind};

use super::tensor::{MOST_BYTES, Tensor};

/// Most bytes of the description in front of an array's elements.
const MOST_HEADER_BYTES: u32 = 1 << 16;

/// Codes of element types in `.npy` files, without the order of bytes. `ml_dtypes` saves bfloat16 as two bytes of anything.
const CODES: [(&str, Dtype); 15] = [
    ("b1", Dtype::Bool),
    ("i1", Dtype::Int8),
    ("i2", Dtype::Int16),
    ("i4", Dtype::Int32),
    ("i8", Dtype::Int64),
    ("u1", Dtype::Uint8),
    ("u2", Dtype::Uint16),
    ("u4", Dtype::Uint32),
    ("u8", Dtype::Uint64),
    ("f2", Dtype::Float16),
    ("f4", Dtype::Float32),
    ("f8", Dtype::Float64),
    ("c8", Dtype::Complex64),
    ("c16", Dtype::Complex128),
    ("V2", Dtype::Bfloat16),
];

/// Reads the arrays of the `.npz` file `bytes`, which messages call `shown`.
///
/// # Errors
///
/// `tensor-unreadable`, naming the file and the array.
pub fn read(bytes: &[u8], shown: &str) -> Result<Vec<(String, Tensor)>, Error> {
    let unreadable = |message: String| {
        Error::new(Kind::TensorUnreadable, format!("{shown}: {message}"), "write it with numpy.savez(FILE, NAME=ARRAY)")
    };
    let damaged = |error: rawzip::Error| unreadable(format!("not an .npz file: {error}"));
    let archive = ZipArchive::from_slice(bytes).map_err(damaged)?;
    let (mut entries, mut arrays) = (archive.entries(), Vec::new());
    while let Some(entry) = entries.next_entry().map_err(damaged)? {
        let name = String::from_utf8_lossy(entry.file_path().as_bytes()).into_owned();
        let name = name.strip_suffix(".npy").unwrap_or(&name).to_owned();
        let found = archive.get_entry(entry.wayfinder()).map_err(damaged)?;
        let array = match entry.compression_method() {
            CompressionMethod::STORE => array(found.verifying_reader(found.data())),
            CompressionMethod::DEFLATE => array(found.verifying_reader(DeflateDecoder::new(found.data()))),
            _ => Err(invalid("neither stored nor deflated".to_owned())),
        };
        arrays.push((name.clone(), array.map_err(|error| unreadable(format!("array {name:?}: {error}")))?));
    }
    Ok(arrays)
}

fn invalid(message: String) -> IoError {
    IoError::new(io::ErrorKind::InvalidData, message)
}

/// Reads an `.npy` file: format 1.0, 2.0 or 3.0.
fn array(mut file: impl Read) -> io::Result<Tensor> {
    let header = header(&mut file)?;
    let (dtype, shape) = describe(&header).map_err(invalid)?;
    let len = shape.iter().try_fold(dtype.size(), |len, &dim| len.checked_mul(dim));
    if len.is_none_or(|len| len as u64 > MOST_BYTES) {
        return Err(invalid(format!("shape {shape:?} is too large")));
    }
    let mut elements = Buffer::for_shape(dtype, &shape).map_err(|error| invalid(error.message))?;
    let cut_short = |error: IoError| {
        if error.kind() == io::ErrorKind::UnexpectedEof { invalid("cut short".to_owned()) } else { error }
    };
    file.read_exact(elements.bytes_mut()).map_err(cut_short)?;
    // At the end the checksum is compared too.
    if file.read(&mut [0])? > 0 {
        return Err(invalid(format!("more elements than shape {shape:?} has")));
    }
    if dtype == Dtype::Bool && elements.bytes().iter().any(|&byte| byte > 1) {
        return Err(invalid("a bool is 0 or 1".to_owned()));
    }
    Ok(Tensor { dtype, shape, elements })
}

/// Reads what is in front of the elements: the literal of a Python dict.
fn header(file: &mut impl Read) -> io::Result<String> {
    let mut start = [0; 10];
    file.read_exact(&mut start).map_err(|_| invalid("not an .npy file".to_owned()))?;
    let [b'\x93', b'N', b'U', b'M', b'P', b'Y', major, _, low, high] = start else {
        return Err(invalid("not an .npy file".to_owned()));
    };
    let mut rest = [0; 2];
    if major > 1 {
        file.read_exact(&mut rest)?;
    }
    let len = u32::from_le_bytes([low, high, rest[0], rest[1]]);
    if len > MOST_HEADER_BYTES {
        return Err(invalid(format!("its header has {len} bytes")));
    }
    let mut header = String::new();
    file.take(len.into()).read_to_string(&mut header)?;
    Ok(header)
}

/// Element type and dimensions in `header`, as `{'descr': '<f4', 'fortran_order': False, 'shape': (1, 3), }`.
fn describe(header: &str) -> Result<(Dtype, Vec<usize>), String> {
    let field = |name: &str| {
        let found = header.split_once(&format!("'{name}':")).map(|(_, rest)| rest.trim_start());
        found.ok_or_else(|| format!("its header has no {name}"))
    };
    let descr = field("descr")?.strip_prefix('\'').and_then(|rest| rest.split('\'').next());
    let descr = descr.ok_or("structured arrays cannot be inputs")?;
    let code = descr.trim_start_matches(['<', '|', '=']);
    let dtype = CODES.iter().find(|entry| entry.0 == code).map(|entry| entry.1);
    let dtype = dtype.ok_or_else(|| format!("arrays of dtype {descr:?} cannot be inputs"))?;
    if field("fortran_order")?.starts_with("True") {
        return Err("it is in Fortran order: save numpy.ascontiguousarray of it".to_owned());
    }
    let dims = field("shape")?.strip_prefix('(').and_then(|rest| rest.split(')').next()).unwrap_or_default();
    let dims = dims.split(',').map(str::trim).filter(|dim| !dim.is_empty());
    let shape =
        dims.map(str::parse).collect::<Result<_, _>>().map_err(|_| "its header has no valid shape".to_owned())?;
    Ok((dtype, shape))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_read_as_numpy_writes_them() {
        let header = |descr: &str, order: &str, shape: &str| {
            describe(&format!("{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}, }}   \n"))
        };
        assert_eq!(header("'<f4'", "False", "(1, 3)"), Ok((Dtype::Float32, vec![1, 3])));
        assert_eq!(header("'|b1'", "False", "(7,)"), Ok((Dtype::Bool, vec![7])));
        assert_eq!(header("'<i8'", "False", "()"), Ok((Dtype::Int64, vec![])));
        for (descr, order, shape, word) in [
            ("'>f4'", "False", "(1,)", ">f4"),
            ("'<U3'", "False", "(1,)", "<U3"),
            ("[('a', '<f4')]", "False", "(1,)", "structured"),
            ("'<f4'", "True", "(2, 2)", "Fortran"),
            ("'<f4'", "False", "(-1,)", "shape"),
        ] {
            let message = header(descr, order, shape).expect_err("refused");
            assert!(message.contains(word), "{message}");
        }
        assert!(describe("").is_err());
    }
}
