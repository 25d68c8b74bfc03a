//! The golden examples in `protocol/golden`, read by the tests of every language.

use std::fs;
use std::path::{Path, PathBuf};

use runoff_core::protocol::{Capabilities, Request, RunResult, read_request};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

mod schema;

/// Fields that depend on others: the kind of items, `preprocess` and `segment` on the workload, the crop on the size, labels on points.
const DEPENDS: [&str; 9] = [
    "workload",
    "preprocess",
    "preprocess.resize",
    "segment",
    "inputs.0.image",
    "inputs.0.tensors",
    "inputs.0.prompts.0.points",
    "inputs.0.prompts.0.labels",
    "inputs.0.prompts.0.box",
];

fn golden(suffix: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../protocol/golden");
    let entries = fs::read_dir(&folder).expect("protocol/golden");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    let paths: Vec<_> = paths.filter(|path| path.to_string_lossy().ends_with(suffix)).collect();
    assert!(!paths.is_empty(), "no {suffix} in {}", folder.display());
    paths
}

/// Deserialises the file as `T` and serialises it again: nothing may be lost or changed.
fn round_trip<T: DeserializeOwned + Serialize>(path: &Path) {
    let text = fs::read_to_string(path).expect("a file");
    let before: Value = serde_json::from_str(&text).expect("JSON");
    let message: T = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let after = serde_json::to_value(&message).expect("JSON");
    assert_within(&before, &after, &path.display().to_string());
}

/// Checks that every value of `before` is at the same place in `after`, which may also contain defaults.
fn assert_within(before: &Value, after: &Value, place: &str) {
    match (before, after) {
        (Value::Object(before), Value::Object(after)) => {
            for (name, value) in before {
                let other = after.get(name).unwrap_or_else(|| panic!("{place}.{name} is lost"));
                assert_within(value, other, &format!("{place}.{name}"));
            }
        }
        (Value::Array(before), Value::Array(after)) => {
            assert_eq!(before.len(), after.len(), "{place}");
            for (index, (value, other)) in before.iter().zip(after).enumerate() {
                assert_within(value, other, &format!("{place}[{index}]"));
            }
        }
        (before, after) => assert_eq!(before, after, "{place}"),
    }
}

#[test]
fn requests_are_read_checked_and_written() {
    for path in golden(".request.json") {
        read_request(&path).unwrap_or_else(|error| panic!("{error}"));
        round_trip::<Request>(&path);
    }
}

#[test]
fn results_and_capabilities_are_read_and_written() {
    for path in golden(".result.json") {
        round_trip::<RunResult>(&path);
    }
    for path in golden("capabilities.json") {
        round_trip::<Capabilities>(&path);
    }
}

#[test]
fn requests_are_decoded_as_the_schema_says() {
    let schema = schema::protocol("request.schema.json");
    let decode = |message: Value| -> Result<Request, String> {
        let request: Request = serde_json::from_value(message).map_err(|error| error.to_string())?;
        request.check().map_err(|error| error.message).map(|()| request)
    };
    for path in golden(".request.json") {
        let text = fs::read_to_string(&path).expect("a file");
        let request = decode(serde_json::from_str(&text).expect("JSON")).expect("a request");
        // as serialised, with every field of the type, so a field missing in the schema is found
        let written = serde_json::to_value(request).expect("JSON");
        let changes = schema::changes(&schema, &written);
        assert!(changes.len() > 100, "{}", changes.len());
        for schema::Changed { place, message, is_valid } in changes {
            if is_valid && DEPENDS.contains(&&*place) {
                continue;
            }
            let decoded = decode(message.clone());
            assert_eq!(decoded.is_ok(), is_valid, "{place}: {:?} for {message}", decoded.err());
        }
    }
}
