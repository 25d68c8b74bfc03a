//! The measures `once`, `accuracy` and `turns`.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, BufRead, Write};
use std::path::{Path, PathBuf};
use std::time::Instant;

use runoff_core::protocol::{Measure, bad_request};
use runoff_core::tensor_file::file_name;
use runoff_session::{Buffer, Dtype, Error, Kind};
use serde_json::{Value, json};

use crate::image::Images;
use crate::session::{self, Session};

/// The first item's tensor, and its preprocessor.
pub struct First {
    images: Images,
    elements: Buffer,
    took_ns: u64,
}

impl First {
    /// Reads and preprocesses the first item.
    ///
    /// # Errors
    ///
    /// Errors of [`Images::load`].
    pub fn load(mut images: Images) -> Result<Self, Error> {
        let began = Instant::now();
        let side = images.side();
        let mut elements = Buffer::for_shape(Dtype::Float32, &[3, side, side])?;
        images.load(0, elements.floats_mut())?;
        Ok(Self { images, elements, took_ns: nanoseconds(began) })
    }
}

/// Iterations of one session, with their durations and outputs.
pub struct Runner<'a> {
    session: &'a Session,
    images: Images,
    elements: Buffer,
    folder: &'a Path,
    latest: (usize, session::Value<'static>),
    preprocess_ns: Vec<u64>,
    inference_ns: Vec<u64>,
    outputs: BTreeMap<PathBuf, Value>,
    tensors: Vec<Value>,
}

impl<'a> Runner<'a> {
    /// Runs the first inference.
    ///
    /// # Errors
    ///
    /// Errors of [`Session::run`].
    pub fn begin(session: &'a Session, first: First, folder: &'a Path) -> Result<Self, Error> {
        let First { images, elements, took_ns } = first;
        let began = Instant::now();
        let output = infer(session, &images, &elements)?;
        let inference_ns = vec![nanoseconds(began)];
        let latest = (0, output);
        let (preprocess_ns, outputs, tensors) = (vec![took_ns], BTreeMap::new(), Vec::new());
        Ok(Self { session, images, elements, folder, latest, preprocess_ns, inference_ns, outputs, tensors })
    }

    /// Runs the iterations of `measure` that follow the first inference.
    ///
    /// # Errors
    ///
    /// `bad-request` for an invalid line of stdin, and errors of an iteration.
    pub fn perform(&mut self, measure: Measure) -> Result<(), Error> {
        match measure {
            Measure::Accuracy(_) => self.accuracy(),
            Measure::Turns(turns) => self.turns(turns.warmup),
            Measure::Once(_) | Measure::Latency(_) | Measure::Operators(_) | Measure::Load(_) => Ok(()),
        }
    }

    fn accuracy(&mut self) -> Result<(), Error> {
        for item in 0..self.images.len() {
            if item > 0 {
                self.iterate(item)?;
            }
            self.keep_outputs()?;
            let (name, side) = (&self.session.names().0, self.images.side());
            let file = format!("input.{name}");
            let (_, mut written) = self.write(&file, item, &[1, 3, side, side], self.elements.bytes())?;
            written["name"] = json!(name);
            self.tensors.push(written);
        }
        Ok(())
    }

    fn turns(&mut self, warmup: u64) -> Result<(), Error> {
        self.keep_outputs()?;
        for (item, _) in (0..self.images.len()).cycle().skip(1).zip(0..=warmup) {
            self.iterate(item)?;
        }
        self.preprocess_ns.truncate(2);
        self.inference_ns.truncate(2);
        say("ready")?;
        for line in io::stdin().lock().split(b'\n') {
            let line = line.map_err(|error| stream(&error))?;
            let line = String::from_utf8_lossy(&line);
            let answer = if line.trim() == "outputs" { json!([self.write_latest()?.1]) } else { self.turn(&line)? };
            say(&answer.to_string())?;
        }
        Ok(())
    }

    fn turn(&mut self, line: &str) -> Result<Value, Error> {
        let before = self.inference_ns.len();
        for word in line.split_ascii_whitespace() {
            let item = word.parse().ok().filter(|&item: &usize| item < self.images.len());
            let count = self.images.len();
            let unknown = || bad_request(format!("stdin: {word:?} is not an index of the {count} items"));
            self.iterate(item.ok_or_else(unknown)?)?;
        }
        Ok(json!({"inference": self.inference_ns[before..], "preprocess": self.preprocess_ns[before..]}))
    }

    fn iterate(&mut self, item: usize) -> Result<(), Error> {
        let began = Instant::now();
        self.images.load(item, self.elements.floats_mut())?;
        let preprocess_ns = nanoseconds(began);
        let ready = Instant::now();
        let output = infer(self.session, &self.images, &self.elements)?;
        self.inference_ns.push(nanoseconds(ready));
        self.preprocess_ns.push(preprocess_ns);
        self.latest = (item, output);
        Ok(())
    }

    /// Logits of the latest iteration.
    ///
    /// # Errors
    ///
    /// `model-mismatch`.
    pub fn logits(&self) -> Result<&[f32], Error> {
        self.latest.1.floats()
    }

    /// Writes the outputs of the latest iteration; returns the fields of the result that come from the iterations.
    ///
    /// # Errors
    ///
    /// `no-space` or `internal`.
    pub fn fields(&mut self) -> Result<Value, Error> {
        self.keep_outputs()?;
        let outputs: Vec<&Value> = self.outputs.values().collect();
        let samples = json!({"inference": timings(&self.inference_ns), "preprocess": timings(&self.preprocess_ns)});
        Ok(json!({"samples": samples, "outputs": outputs, "tensors": self.tensors}))
    }

    /// Writes the outputs of the latest iteration for the result.
    fn keep_outputs(&mut self) -> Result<(), Error> {
        let (path, written) = self.write_latest()?;
        self.outputs.insert(path, written);
        Ok(())
    }

    fn write_latest(&self) -> Result<(PathBuf, Value), Error> {
        let (item, (_, name), found) = (self.latest.0, self.session.names(), self.latest.1.copy("logits")?);
        self.write(&name, item, &[1, self.logits()?.len()], &found.bytes)
    }

    fn write(&self, name: &str, item: usize, shape: &[usize], bytes: &[u8]) -> Result<(PathBuf, Value), Error> {
        let path = self.folder.join(format!("{}.{item}.bin", file_name(name)));
        fs::write(&path, bytes).map_err(|error| Error::write(&path, &error))?;
        let written = json!({"items": [item], "name": name, "dtype": "float32", "shape": shape, "path": path});
        Ok((path, written))
    }
}

/// Runs the model on one image's elements.
fn infer(session: &Session, images: &Images, elements: &Buffer) -> Result<session::Value<'static>, Error> {
    let side = images.side();
    let input = session.value(Dtype::Float32, &[1, 3, side, side], elements.bytes())?;
    let mut found = session.run(&[input], &[0])?;
    found.pop().ok_or_else(|| Error::new(Kind::ModelMismatch, "the model has no output", "use a model with logits"))
}

fn timings(ns: &[u64]) -> Value {
    json!({"first_ns": ns[0], "second_ns": ns.get(1), "warm_ns": ns.get(2..).unwrap_or_default()})
}

fn nanoseconds(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_nanos()).unwrap_or(u64::MAX)
}

fn say(line: &str) -> Result<(), Error> {
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{line}").and_then(|()| stdout.flush()).map_err(|error| stream(&error))
}

fn stream(error: &io::Error) -> Error {
    Error::new(Kind::Internal, format!("stdin or stdout: {error}"), "keep both open until the program ends")
}
