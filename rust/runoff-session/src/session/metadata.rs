//! Metadata stored in a model.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::error::Error;

/// Metadata stored in the model; missing strings are empty.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Metadata {
    /// Program that made the file.
    pub producer: String,
    /// Name of the graph.
    pub graph: String,
    /// Description of the graph.
    pub graph_description: String,
    /// Domain of the model, such as `org.example`.
    pub domain: String,
    /// Description of the model.
    pub description: String,
    /// Version of the model; 0 if it has none.
    pub version: i64,
    /// Custom metadata, by key.
    pub custom: BTreeMap<String, String>,
}

/// ONNX Runtime's value for a model without a version.
const NO_VERSION: i64 = i64::MAX;

impl Metadata {
    pub(super) fn of(session: &ort::session::Session) -> Result<Self, Error> {
        let found = session.metadata().map_err(|error| Error::runtime("reading the metadata", &error))?;
        let keys = found.custom_keys().map_err(|error| Error::runtime("reading the metadata", &error))?;
        Ok(Self {
            producer: found.producer().unwrap_or_default(),
            graph: found.name().unwrap_or_default(),
            graph_description: found.graph_description().unwrap_or_default(),
            domain: found.domain().unwrap_or_default(),
            description: found.description().unwrap_or_default(),
            version: found.version().filter(|&version| version != NO_VERSION).unwrap_or_default(),
            custom: keys.into_iter().filter_map(|key| found.custom(&key).map(|value| (key, value))).collect(),
        })
    }
}
