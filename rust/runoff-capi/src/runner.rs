//! The measures `once`, `accuracy` and `turns`.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, BufRead, Write};
use std::path::{Path, PathBuf};
use std::time::Instant;

use serde_json::{Value, json};

use crate::api::Api;
use crate::failure::Failure;
use crate::image::Images;
use crate::request::Measure;
use crate::session::{Input, Output, Session};

/// The first item's tensor, and its preprocessor.
pub struct First {
    images: Images,
    elements: Vec<f32>,
    took_ns: u64,
}

impl First {
    /// Reads and preprocesses the first item.
    ///
    /// # Errors
    ///
    /// Errors of [`Images::load`].
    pub fn load(mut images: Images) -> Result<Self, Failure> {
        let began = Instant::now();
        let side = usize::try_from(images.side()).unwrap_or(usize::MAX);
        let mut elements = vec![0.0; 3 * side * side];
        images.load(0, &mut elements)?;
        Ok(Self { images, elements, took_ns: nanoseconds(began) })
    }
}

/// Iterations of one session, with their durations and outputs.
pub struct Runner<'a> {
    session: &'a Session<'a>,
    images: Images,
    input: Input,
    folder: &'a Path,
    latest: (usize, Output),
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
    pub fn begin(api: Api, session: &'a Session, first: First, folder: &'a Path) -> Result<Self, Failure> {
        let First { images, elements, took_ns } = first;
        let input = Input::new(api, elements, images.side())?;
        let began = Instant::now();
        let output = session.run(&input)?;
        let inference_ns = vec![nanoseconds(began)];
        let latest = (0, output);
        let (preprocess_ns, outputs, tensors) = (vec![took_ns], BTreeMap::new(), Vec::new());
        Ok(Self { session, images, input, folder, latest, preprocess_ns, inference_ns, outputs, tensors })
    }

    /// Runs the iterations of `measure` that follow the first inference.
    ///
    /// # Errors
    ///
    /// `bad-request` for an invalid line of stdin, and errors of an iteration.
    pub fn perform(&mut self, measure: Measure) -> Result<(), Failure> {
        match measure {
            Measure::Default | Measure::Once { .. } => Ok(()),
            Measure::Accuracy => self.accuracy(),
            Measure::Turns { warmup } => self.turns(warmup),
        }
    }

    fn accuracy(&mut self) -> Result<(), Failure> {
        for item in 0..self.images.len() {
            if item > 0 {
                self.iterate(item)?;
            }
            self.keep_outputs()?;
            let (name, side) = (&self.session.names().0, self.images.side());
            let file = format!("input.{name}");
            let (_, mut written) = self.write(&file, item, &[1, 3, side, side], self.input.elements())?;
            written["name"] = json!(name);
            self.tensors.push(written);
        }
        Ok(())
    }

    fn turns(&mut self, warmup: usize) -> Result<(), Failure> {
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

    fn turn(&mut self, line: &str) -> Result<Value, Failure> {
        let before = self.inference_ns.len();
        for word in line.split_ascii_whitespace() {
            let item = word.parse().ok().filter(|&item: &usize| item < self.images.len());
            let count = self.images.len();
            let unknown = || Failure::bad_request(format!("stdin: {word:?} is not an index of the {count} items"));
            self.iterate(item.ok_or_else(unknown)?)?;
        }
        Ok(json!({"inference": self.inference_ns[before..], "preprocess": self.preprocess_ns[before..]}))
    }

    fn iterate(&mut self, item: usize) -> Result<(), Failure> {
        let began = Instant::now();
        self.images.load(item, self.input.elements_mut())?;
        let preprocess_ns = nanoseconds(began);
        let ready = Instant::now();
        let output = self.session.run(&self.input)?;
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
    pub fn logits(&self) -> Result<&[f32], Failure> {
        self.latest.1.elements()
    }

    /// Writes the outputs of the latest iteration; returns the fields of the result that come from the iterations.
    ///
    /// # Errors
    ///
    /// `no-space` or `internal`.
    pub fn fields(&mut self) -> Result<Value, Failure> {
        self.keep_outputs()?;
        let outputs: Vec<&Value> = self.outputs.values().collect();
        let samples = json!({"inference": timings(&self.inference_ns), "preprocess": timings(&self.preprocess_ns)});
        Ok(json!({"samples": samples, "outputs": outputs, "tensors": self.tensors}))
    }

    /// Writes the outputs of the latest iteration for the result.
    fn keep_outputs(&mut self) -> Result<(), Failure> {
        let (path, written) = self.write_latest()?;
        self.outputs.insert(path, written);
        Ok(())
    }

    fn write_latest(&self) -> Result<(PathBuf, Value), Failure> {
        let elements = self.logits()?;
        self.write(&self.session.names().1, self.latest.0, &[1, u32::try_from(elements.len()).unwrap_or(0)], elements)
    }

    fn write(&self, name: &str, item: usize, shape: &[u32], elements: &[f32]) -> Result<(PathBuf, Value), Failure> {
        let is_plain = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '-' | '_' | '.');
        let plain: String = name.chars().map(|letter| if is_plain(letter) { letter } else { '_' }).collect();
        let path = self.folder.join(format!("{plain}.{item}.bin"));
        let bytes: Vec<u8> = elements.iter().flat_map(|element| element.to_le_bytes()).collect();
        fs::write(&path, bytes).map_err(|error| {
            let kind = if error.kind() == io::ErrorKind::StorageFull { "no-space" } else { "internal" };
            Failure::new(kind, format!("cannot write {}: {error}", path.display()), "check outputs_dir")
        })?;
        let written = json!({"items": [item], "name": name, "dtype": "float32", "shape": shape, "path": path});
        Ok((path, written))
    }
}

fn timings(ns: &[u64]) -> Value {
    json!({"first_ns": ns[0], "second_ns": ns.get(1), "warm_ns": ns.get(2..).unwrap_or_default()})
}

fn nanoseconds(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_nanos()).unwrap_or(u64::MAX)
}

fn say(line: &str) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{line}").and_then(|()| stdout.flush()).map_err(|error| stream(&error))
}

fn stream(error: &io::Error) -> Failure {
    Failure::new("internal", format!("stdin or stdout: {error}"), "keep both open until the program ends")
}
