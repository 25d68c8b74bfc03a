//! The measures `once`, `accuracy` and `turns`.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, BufRead, Write};
use std::path::{Path, PathBuf};
use std::time::Instant;

use serde_json::{Value, json};

use crate::failure::Failure;
use crate::phases::Phases;
use crate::request::{Measure, Tensor};
use crate::session::Session;

/// Iterations of one session, with their durations and outputs.
pub struct Loop<'a> {
    session: Session,
    items: Vec<Vec<Tensor>>,
    folder: &'a Path,
    latest: (usize, Vec<Tensor>),
    inference_ns: Vec<u64>,
    written: BTreeMap<PathBuf, Value>,
}

impl<'a> Loop<'a> {
    /// Creates the loop over `items`, whose outputs are written to `folder`.
    pub fn new(session: Session, items: Vec<Vec<Tensor>>, folder: &'a Path) -> Self {
        Self { session, items, folder, latest: (0, Vec::new()), inference_ns: Vec::new(), written: BTreeMap::new() }
    }

    /// Executes the measure, and ends the phases `inference` and `warm`.
    ///
    /// # Errors
    ///
    /// `bad-request` for an invalid line of stdin, `runtime-failed`, and failures to write.
    pub fn perform(&mut self, measure: &Measure, phases: &mut Phases) -> Result<(), Failure> {
        self.iterate(0)?;
        phases.end("inference");
        self.keep()?;
        match measure {
            Measure::Default | Measure::Once { .. } => return Ok(()),
            Measure::Accuracy => {
                for item in 1..self.items.len() {
                    self.iterate(item)?;
                    self.keep()?;
                }
            }
            Measure::Turns { warmup } => self.turns(*warmup)?,
        }
        phases.end("warm");
        Ok(())
    }

    /// The result's fields on samples and outputs.
    ///
    /// # Errors
    ///
    /// `no-space` or `internal`.
    pub fn fields(&mut self) -> Result<Value, Failure> {
        self.keep()?;
        let ns = &self.inference_ns;
        let timings = json!({"first_ns": ns[0], "second_ns": ns.get(1), "warm_ns": ns.get(2..).unwrap_or_default()});
        let outputs: Vec<&Value> = self.written.values().collect();
        Ok(json!({"samples": {"inference": timings}, "outputs": outputs}))
    }

    fn turns(&mut self, warmup: usize) -> Result<(), Failure> {
        let count = self.items.len();
        for (item, _) in (0..count).cycle().skip(1).zip(0..=warmup) {
            self.iterate(item)?;
        }
        self.inference_ns.truncate(2);
        say("ready")?;
        for line in io::stdin().lock().split(b'\n') {
            let line = line.map_err(|error| stream(&error))?;
            let line = String::from_utf8_lossy(&line);
            if line.trim() == "outputs" {
                let written: Vec<Value> = self.write()?.into_values().collect();
                say(&json!(written).to_string())?;
                continue;
            }
            let before = self.inference_ns.len();
            for word in line.split_ascii_whitespace() {
                let known = (0..count).find(|item| item.to_string() == word);
                let unknown = || Failure::bad_request(format!("stdin: {word:?} is not an index of the {count} items"));
                self.iterate(known.ok_or_else(unknown)?)?;
            }
            say(&json!({"inference": self.inference_ns[before..]}).to_string())?;
        }
        Ok(())
    }

    fn iterate(&mut self, item: usize) -> Result<(), Failure> {
        let began = Instant::now();
        let outputs = self.session.run(&self.items[item])?;
        self.inference_ns.push(u64::try_from(began.elapsed().as_nanos()).unwrap_or(u64::MAX));
        self.latest = (item, outputs);
        Ok(())
    }

    /// Writes the outputs of the latest iteration for the result.
    fn keep(&mut self) -> Result<(), Failure> {
        let written = self.write()?;
        self.written.extend(written);
        Ok(())
    }

    fn write(&self) -> Result<BTreeMap<PathBuf, Value>, Failure> {
        let (item, outputs) = &self.latest;
        let mut written = BTreeMap::new();
        for (name, tensor) in self.session.outputs().zip(outputs) {
            let is_plain = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '-' | '_' | '.');
            let plain: String = name.chars().map(|letter| if is_plain(letter) { letter } else { '_' }).collect();
            let mut path = self.folder.join(format!("{plain}.{item}.bin"));
            while written.contains_key(&path) {
                path = path.with_extension("_.bin");
            }
            let bytes: Vec<u8> = tensor.elements.iter().flat_map(|element| element.to_le_bytes()).collect();
            fs::write(&path, bytes).map_err(|error| {
                let kind = if error.kind() == io::ErrorKind::StorageFull { "no-space" } else { "internal" };
                Failure::new(kind, format!("cannot write {}: {error}", path.display()), "check outputs_dir")
            })?;
            let shape = &tensor.shape;
            let entry = json!({"items": [item], "name": name, "dtype": "float32", "shape": shape, "path": &path});
            written.insert(path, entry);
        }
        Ok(written)
    }
}

fn say(line: &str) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{line}").and_then(|()| stdout.flush()).map_err(|error| stream(&error))
}

fn stream(error: &io::Error) -> Failure {
    Failure::new("internal", format!("stdin or stdout: {error}"), "keep both open until the program ends")
}
