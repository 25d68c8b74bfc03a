//! Reading a request and writing a result.

use std::fs::{self, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use runoff_session::{Error, Kind};
use serde::Deserialize;
use serde::de::IntoDeserializer;
use serde::de::value::StrDeserializer;

use super::{Request, RunResult, bad_request};

/// Reads and checks the request in the file `path`.
///
/// # Errors
///
/// `bad-request` if the file is missing, not JSON, or not a request; the message names the field.
pub fn read_request(path: &Path) -> Result<Request, Error> {
    let bytes =
        fs::read(path).map_err(|error| bad_request(format!("cannot read the request {}: {error}", path.display())))?;
    parse_request(&bytes)
        .map_err(|error| Error::new(error.kind, format!("{}: {}", path.display(), error.message), error.hint))
}

fn parse_request(bytes: &[u8]) -> Result<Request, Error> {
    let mut json = serde_json::Deserializer::from_slice(bytes);
    let request: Request = serde_path_to_error::deserialize(&mut json).map_err(|error| {
        let field = error.path().to_string();
        let what = error.into_inner();
        bad_request(if field == "." { what.to_string() } else { format!("{field}: {what}") })
    })?;
    json.end().map_err(|error| bad_request(error.to_string()))?;
    request.check()?;
    Ok(request)
}

/// Parses `word` as the value of the field `field`, for callers without JSON.
///
/// # Errors
///
/// `bad-request`, listing the valid words.
pub fn parse_word<'a, T: Deserialize<'a>>(field: &str, word: &'a str) -> Result<T, Error> {
    let word: StrDeserializer<'a, serde::de::value::Error> = word.into_deserializer();
    T::deserialize(word).map_err(|error| Error::new(Kind::BadRequest, format!("{field}: {error}"), "use one of those"))
}

/// Writes `result` to the file `path` atomically.
///
/// # Errors
///
/// `no-space` or `internal`, naming the file.
pub fn write_result(path: &Path, result: &RunResult) -> Result<(), Error> {
    let text = serde_json::to_vec(result)
        .map_err(|error| Error::new(Kind::Internal, format!("the result is not JSON: {error}"), ""))?;
    write_atomically(path, &text).map_err(|error| Error::write(path, &error))
}

/// Writes `bytes` to a temporary file in the folder of `path`, then renames it.
///
/// # Errors
///
/// The system's error; the temporary file is removed.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> io::Result<()> {
    // the process's umask applies, as to every new file
    let permissions = Permissions::from_mode(0o666);
    let mut temporary = tempfile::Builder::new()
        .prefix(".unfinished-")
        .permissions(permissions)
        .tempfile_in(path.with_file_name("."))?;
    temporary.write_all(bytes)?;
    temporary.persist(path)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(text: &str) -> String {
        let error = parse_request(text.as_bytes()).expect_err("a bad request");
        assert_eq!(error.kind, Kind::BadRequest);
        error.message
    }

    const GOOD: &str = r#"{"case": "c", "workload": "tensor", "outputs_dir": "/o", "inputs": [{"tensors": {}}],
        "model": {"name": "m", "path": "/m", "format": "onnx", "sha256": "0", "inputs": [], "outputs": []}}"#;

    #[test]
    fn defaults_are_filled_in() {
        let request = parse_request(GOOD.as_bytes()).expect("a request");
        assert_eq!(request.settings.threads.get(), 1);
        assert_eq!(request.top_k.get(), 5);
        assert_eq!(request.spawn_ns, None);
    }

    #[test]
    fn the_field_at_fault_is_named() {
        let unknown = GOOD.replace(r#""case""#, r#""settings": {"thread": 2}, "case""#);
        assert!(message(&unknown).contains("settings.thread: unknown field"), "{}", message(&unknown));
        let zero = GOOD.replace(r#""case""#, r#""settings": {"threads": 0}, "case""#);
        assert!(message(&zero).starts_with("settings.threads: "), "{}", message(&zero));
        let measure = GOOD.replace(r#""case""#, r#""measure": {"kind": "often"}, "case""#);
        assert!(message(&measure).contains("often"), "{}", message(&measure));
        let extra = GOOD.replace(r#""case""#, r#""measure": {"kind": "once", "much": 1}, "case""#);
        assert!(message(&extra).contains("much"), "{}", message(&extra));
        assert!(
            message(&GOOD.replace("[{", "[").replace("}],", "],").replace(r#""tensors": {}"#, "")).contains("inputs")
        );
        assert!(message("{").contains("EOF"));
        assert!(message(&GOOD.replace(r#""case""#, r#""protocol": 9, "case""#)).contains("protocol is 9"));
        assert!(message(&format!("{GOOD} x")).contains("trailing"));
    }

    #[test]
    fn a_failed_write_leaves_nothing_behind() {
        let folder = tempfile::tempdir().expect("a folder");
        let target = folder.path().join("taken");
        fs::create_dir_all(target.join("inside")).expect("a folder in the way");
        let error = write_result(&target, &RunResult::ok("c")).expect_err("a folder is in the way");
        assert_eq!(error.kind, Kind::Internal);
        assert_eq!(fs::read_dir(folder.path()).expect("the folder").count(), 1);
    }
}
