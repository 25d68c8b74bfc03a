//! What an ONNX file says of itself at its head, and where its weights are.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;

use prost::Message;

/// The fields of `ModelProto` that are read; numbers as in onnx.proto. What is not named is skipped.
#[derive(Clone, PartialEq, Message)]
struct Model {
    #[prost(int64, tag = "1")]
    ir_version: i64,
    #[prost(message, optional, tag = "7")]
    graph: Option<Graph>,
    #[prost(message, repeated, tag = "8")]
    opset_import: Vec<Opset>,
}

/// The fields of `GraphProto` that are read.
#[derive(Clone, PartialEq, Message)]
struct Graph {
    #[prost(message, repeated, tag = "5")]
    initializer: Vec<Weight>,
}

/// The fields of `TensorProto` that are read.
#[derive(Clone, PartialEq, Message)]
struct Weight {
    #[prost(message, repeated, tag = "13")]
    external_data: Vec<Entry>,
}

/// `StringStringEntryProto`.
#[derive(Clone, PartialEq, Message)]
struct Entry {
    #[prost(string, tag = "1")]
    key: String,
    #[prost(string, tag = "2")]
    value: String,
}

/// `OperatorSetIdProto`.
#[derive(Clone, PartialEq, Message)]
struct Opset {
    #[prost(string, tag = "1")]
    domain: String,
    #[prost(int64, tag = "2")]
    version: i64,
}

/// What was found in the file.
#[derive(Debug)]
pub struct Head {
    /// Version of the format.
    pub ir_version: i64,
    /// Version of each operator set, by domain; ONNX's own is `ai.onnx`.
    pub opsets: BTreeMap<String, i64>,
    /// Size of the files beside it that hold weights, in bytes.
    pub external_bytes: u64,
}

/// Reads the ONNX file `path`.
///
/// # Errors
///
/// When it, or a file that its weights are in, cannot be read.
pub fn read(path: &Path) -> io::Result<Head> {
    let model = Model::decode(fs::read(path)?.as_slice()).map_err(io::Error::other)?;
    let domain = |opset: &Opset| if opset.domain.is_empty() { "ai.onnx".to_owned() } else { opset.domain.clone() };
    Ok(Head {
        ir_version: model.ir_version,
        opsets: model.opset_import.iter().map(|opset| (domain(opset), opset.version)).collect(),
        external_bytes: external_bytes(path, &model)?,
    })
}

fn external_bytes(path: &Path, model: &Model) -> io::Result<u64> {
    let entries = model.graph.iter().flat_map(|graph| &graph.initializer).flat_map(|weight| &weight.external_data);
    let mut locations: Vec<&str> =
        entries.filter(|entry| entry.key == "location").map(|entry| entry.value.as_str()).collect();
    locations.sort_unstable();
    locations.dedup();
    locations.into_iter().map(|location| Ok(fs::metadata(path.with_file_name(location))?.len())).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_weights_are_counted_once() {
        let folder = tempfile::tempdir().expect("a folder");
        let weight = || Weight { external_data: vec![Entry { key: "location".into(), value: "weights.bin".into() }] };
        let model = Model {
            ir_version: 8,
            graph: Some(Graph { initializer: vec![weight(), weight()] }),
            opset_import: vec![
                Opset { domain: String::new(), version: 17 },
                Opset { domain: "org.example".into(), version: 1 },
            ],
        };
        let path = folder.path().join("model.onnx");
        fs::write(&path, model.encode_to_vec()).expect("a model");
        assert_eq!(read(&path).expect_err("no weights").kind(), io::ErrorKind::NotFound);
        fs::write(folder.path().join("weights.bin"), [0; 10]).expect("weights");
        let head = read(&path).expect("a head");
        assert_eq!((head.ir_version, head.external_bytes), (8, 10));
        assert_eq!(head.opsets, BTreeMap::from([("ai.onnx".to_owned(), 17), ("org.example".to_owned(), 1)]));
    }
}
