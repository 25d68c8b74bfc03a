//! The header of an ONNX file, and the paths of its weights.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::path::{Component, Path, PathBuf};

use prost::Message;

use crate::read;

/// The fields of `ModelProto` that are read; numbers as in onnx.proto. All other fields are skipped.
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
    #[prost(message, repeated, tag = "1")]
    node: Vec<Node>,
    #[prost(message, repeated, tag = "5")]
    initializer: Vec<Weight>,
}

/// The field of `NodeProto` that is read.
#[derive(Clone, PartialEq, Message)]
struct Node {
    #[prost(message, repeated, tag = "5")]
    attribute: Vec<Attribute>,
}

/// The fields of `AttributeProto` that hold weights, and graphs that hold weights.
#[derive(Clone, PartialEq, Message)]
struct Attribute {
    #[prost(message, optional, tag = "5")]
    t: Option<Weight>,
    #[prost(message, optional, boxed, tag = "6")]
    g: Option<Box<Graph>>,
    #[prost(message, repeated, tag = "10")]
    tensors: Vec<Weight>,
    #[prost(message, repeated, tag = "11")]
    graphs: Vec<Graph>,
}

impl Graph {
    /// All weights, including those of nested graphs.
    fn weights(&self) -> Vec<&Weight> {
        let attributes = || self.node.iter().flat_map(|node| &node.attribute);
        let inner = attributes().flat_map(|attribute| attribute.g.as_deref().into_iter().chain(&attribute.graphs));
        let constants = attributes().flat_map(|attribute| attribute.t.iter().chain(&attribute.tensors));
        self.initializer.iter().chain(constants).chain(inner.flat_map(Self::weights)).collect()
    }
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

/// The field of `ModelProto` that leads to the shapes of inputs.
#[derive(Clone, PartialEq, Message)]
struct Shapes {
    #[prost(message, optional, tag = "7")]
    graph: Option<Inputs>,
}

/// The inputs of `GraphProto`.
#[derive(Clone, PartialEq, Message)]
struct Inputs {
    #[prost(message, repeated, tag = "11")]
    input: Vec<Input>,
}

/// The field of `ValueInfoProto` that is read, then those of `TypeProto`, `TypeProto.Tensor` and `TensorShapeProto`.
#[derive(Clone, PartialEq, Message)]
struct Input {
    #[prost(message, optional, tag = "2")]
    kind: Option<Kind>,
}

#[derive(Clone, PartialEq, Message)]
struct Kind {
    #[prost(message, optional, tag = "1")]
    tensor: Option<Tensor>,
}

#[derive(Clone, PartialEq, Message)]
struct Tensor {
    #[prost(message, optional, tag = "2")]
    shape: Option<Shape>,
}

#[derive(Clone, PartialEq, Message)]
struct Shape {
    #[prost(message, repeated, tag = "1")]
    dim: Vec<Dim>,
}

#[derive(Clone, PartialEq, Message)]
struct Dim {
    #[prost(string, tag = "2")]
    dim_param: String,
}

/// Names of the free dimensions of the inputs of the ONNX file `bytes`, which a session that fixes them no longer shows.
///
/// # Errors
///
/// When it is not an ONNX file.
pub fn free_dimensions(bytes: &[u8]) -> io::Result<Vec<String>> {
    let graph = Shapes::decode(bytes).map_err(io::Error::other)?.graph.unwrap_or_default();
    let tensors = graph.input.into_iter().filter_map(|input| input.kind?.tensor?.shape);
    let names = tensors.flat_map(|shape| shape.dim).map(|dim| dim.dim_param);
    Ok(names.filter(|name| !name.is_empty()).collect())
}

/// The header of a file.
#[derive(Debug)]
#[non_exhaustive]
pub struct Head {
    /// Version of the format.
    pub ir_version: i64,
    /// Version of each operator set, by domain; that of ONNX is `ai.onnx`.
    pub opsets: BTreeMap<String, i64>,
    /// External weights files in the model's folder, without duplicates.
    pub external: Vec<PathBuf>,
}

/// Reads the ONNX file `path`.
///
/// # Errors
///
/// If the file cannot be read, is not an ONNX file, or refers to weights outside its folder.
pub fn read(path: &Path) -> io::Result<Head> {
    let mut bytes = Vec::new();
    read::read(path, u64::MAX, &mut bytes)?;
    parse(path, &bytes)
}

/// Reads the ONNX file `bytes`, whose weights files would be in the folder of `path`.
///
/// # Errors
///
/// When it is not an ONNX file, or names weights outside the folder.
pub fn parse(path: &Path, bytes: &[u8]) -> io::Result<Head> {
    let model = Model::decode(bytes).map_err(io::Error::other)?;
    let domain = |opset: &Opset| if opset.domain.is_empty() { "ai.onnx".to_owned() } else { opset.domain.clone() };
    Ok(Head {
        ir_version: model.ir_version,
        opsets: model.opset_import.iter().map(|opset| (domain(opset), opset.version)).collect(),
        external: external(path, &model)?,
    })
}

fn external(path: &Path, model: &Model) -> io::Result<Vec<PathBuf>> {
    let entries = model.graph.iter().flat_map(Graph::weights).flat_map(|weight| &weight.external_data);
    let mut locations: Vec<&str> =
        entries.filter(|entry| entry.key == "location").map(|entry| entry.value.as_str()).collect();
    locations.sort_unstable();
    locations.dedup();
    locations.into_iter().map(|location| inside(path, location)).collect()
}

/// The file `location` in the folder of `model`. Files elsewhere are rejected, as ONNX Runtime does.
fn inside(model: &Path, location: &str) -> io::Result<PathBuf> {
    let outside =
        || io::Error::new(ErrorKind::InvalidData, format!("weights outside the model's folder: {location:?}"));
    let is_below = |part| matches!(part, Component::Normal(_) | Component::CurDir);
    if !Path::new(location).components().all(is_below) {
        return Err(outside());
    }
    let file = model.with_file_name(location);
    let resolved = match file.canonicalize() {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(file),
        resolved => resolved?,
    };
    // Caches of downloaded models contain links from a folder of models to a folder of files.
    let folders = [model.with_file_name(".").canonicalize()?, model.canonicalize()?.with_file_name("")];
    if folders.iter().any(|folder| resolved.starts_with(folder)) { Ok(file) } else { Err(outside()) }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    fn weight(location: &str) -> Weight {
        Weight { external_data: vec![Entry { key: "location".into(), value: location.into() }] }
    }

    #[test]
    fn files_of_weights_are_found_once_and_in_graphs_of_graphs() {
        let folder = tempfile::tempdir().expect("a folder");
        let deep = Attribute { t: Some(weight("constant.bin")), ..Attribute::default() };
        let inner = Graph { node: vec![Node { attribute: vec![deep] }], initializer: vec![weight("inner.bin")] };
        let branch = Attribute { g: Some(Box::new(inner)), ..Attribute::default() };
        let model = Model {
            ir_version: 8,
            graph: Some(Graph {
                node: vec![Node { attribute: vec![branch] }],
                initializer: vec![weight("weights.bin"), weight("weights.bin")],
            }),
            opset_import: vec![
                Opset { domain: String::new(), version: 17 },
                Opset { domain: "org.example".into(), version: 1 },
            ],
        };
        let path = folder.path().join("model.onnx");
        fs::write(&path, model.encode_to_vec()).expect("a model");
        let head = read(&path).expect("a head");
        let found: Vec<_> = head.external.iter().filter_map(|file| file.file_name()?.to_str()).collect();
        assert_eq!((head.ir_version, found), (8, vec!["constant.bin", "inner.bin", "weights.bin"]));
        assert_eq!(head.opsets, BTreeMap::from([("ai.onnx".to_owned(), 17), ("org.example".to_owned(), 1)]));
    }

    #[test]
    fn weights_lie_in_the_folder_of_the_model_or_of_its_link() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = |name: &str| folder.path().join(name);
        for name in ["blobs", "models", "models/inner"] {
            fs::create_dir(path(name)).expect("a folder");
        }
        for name in ["blobs/1", "blobs/2", "models/inner/w", "other"] {
            fs::write(path(name), "x").expect("a file");
        }
        for (to, name) in
            [("../blobs/1", "model.onnx"), ("../blobs/2", "w"), ("../other", "out"), ("/dev/zero", "zero")]
        {
            symlink(to, path("models").join(name)).expect("a link");
        }
        let found = |location| inside(&path("models/model.onnx"), location);
        for location in ["w", "./inner/w", "inner/none", "inner"] {
            assert_eq!(found(location).expect(location), path("models").join(location));
        }
        for location in ["../other", "inner/../../other", "/dev/zero", "/proc/kcore", "out", "zero"] {
            let error = found(location).expect_err(location);
            assert!(error.to_string().contains(location), "{error}");
        }
        found("w\0").expect_err("not a path");
    }

    #[test]
    fn what_is_not_onnx_is_an_error() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("model.onnx");
        assert_eq!(read(&path).expect_err("no file").kind(), io::ErrorKind::NotFound);
        fs::write(&path, "not a model").expect("a file");
        assert!(read(&path).is_err());
    }
}
