//! The nodes that tract computes and their times, as a Chrome trace with the events that ONNX Runtime writes.

use std::fs;
use std::path::PathBuf;

use runoff_core::clock::now_ns;
use runoff_runner::failed;
use runoff_session::Error;
use serde_json::{Map, Value, json};
use tract_onnx::prelude::*;
use tract_onnx::tract_core::plan::eval;

use crate::{State, type_name};

/// The runs so far.
pub struct Profile {
    path: PathBuf,
    /// Names of the nodes of the model's file.
    sources: Vec<String>,
    events: Vec<Value>,
}

impl Profile {
    /// A profile that is written to `path`; `sources` are the names of the nodes of the model's file.
    pub fn new(path: PathBuf, sources: Vec<String>) -> Self {
        Self { path, sources, events: Vec::new() }
    }

    /// Runs a model, and adds the time of each node.
    pub fn run(&mut self, state: &mut State, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let mut times = Vec::with_capacity(state.model().nodes.len());
        let begun_ns = now_ns();
        let outputs = state.run_plan_with_eval(inputs, |context, node_state, node, inputs| {
            let begun_ns = now_ns();
            let outputs = eval(context, node_state, node, inputs);
            times.push((node.id, begun_ns, now_ns()));
            outputs
        })?;
        let run = event("Session", "model_run", begun_ns, now_ns(), &json!({}));
        for (id, begun_ns, ended_ns) in times {
            let facts = self.facts(state.model(), id)?;
            let name = format!("{}_kernel_time", state.model().node(id).name);
            self.events.push(event("Node", &name, begun_ns, ended_ns, &facts));
        }
        self.events.push(run);
        Ok(outputs)
    }

    /// Writes the trace; returns its file.
    pub fn write(&self) -> Result<PathBuf, Error> {
        let written = serde_json::to_vec(&self.events).map_err(Into::into).and_then(|text| fs::write(&self.path, text));
        written.map_err(|error| failed(&format!("{}: {error}", self.path.display())))?;
        Ok(self.path.clone())
    }

    fn facts(&self, model: &TypedModel, id: usize) -> TractResult<Value> {
        let node = model.node(id);
        let inputs: Vec<_> = model.node_input_facts(id)?.into_iter().map(described).collect();
        let outputs: Vec<_> = node.outputs.iter().map(|outlet| described(&outlet.fact)).collect();
        Ok(json!({
            "op_name": node.op().name(),
            "node_index": id,
            "provider": "CPU",
            "sources": self.source(&node.name),
            "input_type_shape": inputs,
            "output_type_shape": outputs,
        }))
    }

    /// The node of the file that `name` is made of: tract adds words after a dot.
    fn source(&self, name: &str) -> Vec<&str> {
        let is_made_of = |source: &&String| {
            name.strip_prefix(source.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        };
        let longest = self.sources.iter().filter(is_made_of).max_by_key(|source| source.len());
        longest.map(String::as_str).into_iter().collect()
    }
}

/// The shape of a tensor by ONNX Runtime's name of its type; `null` for one that is not known.
fn described(fact: &TypedFact) -> Value {
    let kind = match type_name(Some(fact.datum_type)) {
        name if name == "float32" => "float".to_owned(),
        name if name == "float64" => "double".to_owned(),
        name => name,
    };
    let shape = fact.shape.as_concrete().map_or(Value::Null, |shape| json!(shape));
    Value::Object(Map::from_iter([(kind, shape)]))
}

fn event(category: &str, name: &str, begun_ns: u64, ended_ns: u64, facts: &Value) -> Value {
    let id = std::process::id();
    let (at_us, took_us) = (microseconds(begun_ns), microseconds(ended_ns - begun_ns));
    json!({"cat": category, "name": name, "ph": "X", "ts": at_us, "dur": took_us, "pid": id, "tid": id, "args": facts})
}

#[expect(clippy::cast_precision_loss, reason = "exact up to 104 days, and rounded to nanoseconds when read")]
fn microseconds(ns: u64) -> f64 {
    ns as f64 / 1e3
}
