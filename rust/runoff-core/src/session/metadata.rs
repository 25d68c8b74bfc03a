//! A model's own description.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::error::Error;

/// What the model's maker wrote into it; empty where nothing was.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Metadata {
    /// Program that made the file.
    pub producer: String,
    /// Name of the graph.
    pub graph: String,
    /// Domain of the model, as in `org.example`.
    pub domain: String,
    /// What the model is for.
    pub description: String,
    /// The model's own version; 0 where none was written.
    pub version: i64,
    /// Anything else, by key.
    pub custom: BTreeMap<String, String>,
}

/// ONNX Runtime's version of a model without one.
const NO_VERSION: i64 = i64::MAX;

impl Metadata {
    pub(super) fn of(session: &ort::session::Session) -> Result<Self, Error> {
        let found = session.metadata().map_err(|error| Error::runtime("reading the metadata", &error))?;
        let keys = found.custom_keys().map_err(|error| Error::runtime("reading the metadata", &error))?;
        Ok(Self {
            producer: found.producer().unwrap_or_default(),
            graph: found.name().unwrap_or_default(),
            domain: found.domain().unwrap_or_default(),
            description: found.description().unwrap_or_default(),
            version: found.version().filter(|&version| version != NO_VERSION).unwrap_or_default(),
            custom: keys.into_iter().filter_map(|key| found.custom(&key).map(|value| (key, value))).collect(),
        })
    }
}
