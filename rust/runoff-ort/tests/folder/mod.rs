//! A folder with a model, and the program in it.

use std::ffi::OsStr;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::common::{data, write_image};

/// Images, and what their one colour is.
pub const COLOURS: [(&str, [u8; 3]); 3] =
    [("blue.png", [20, 0, 40]), ("red.png", [90, 10, 0]), ("green.png", [0, 50, 9])];

/// A folder with a model that finds the strongest colour, its manifest, and an image for each colour.
pub struct Folder(pub TempDir);

impl Folder {
    pub fn new() -> Self {
        let folder = Self(tempfile::tempdir().expect("a folder"));
        fs::copy(data("means.onnx"), folder.path("model.onnx")).expect("a model");
        for (name, colour) in COLOURS {
            write_image(&folder.path(name), colour);
        }
        let preprocess =
            json!({"resize": 9, "crop": 8, "interpolation": "bicubic", "mean": [0, 0, 0], "std": [10, 10, 10]});
        let manifest = json!({"name": "means", "preprocess": preprocess, "labels": {"path": "labels.txt"}});
        fs::write(folder.path("manifest.json"), manifest.to_string()).expect("a manifest");
        fs::write(folder.path("labels.txt"), "red\ngreen\nblue\n").expect("labels");
        folder
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// The program, in this folder.
    pub fn command(&self, words: &[impl AsRef<OsStr>]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_runoff-ort"));
        command.current_dir(&self.0).env("RUNOFF_CACHE", self.path("cache")).args(words);
        command
    }

    pub fn run(&self, words: &[&str]) -> Ended {
        Ended::of(&self.command(words).output().expect("a program"))
    }

    /// What the program prints when all goes well.
    pub fn print(&self, words: &[&str]) -> String {
        let ended = self.run(words);
        assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""), "{words:?}");
        ended.stdout
    }

    /// The same, as JSON.
    pub fn json(&self, words: &[&str]) -> Value {
        serde_json::from_str(&self.print(words)).expect("JSON")
    }
}

/// How the program ended, and what it printed.
pub struct Ended {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Ended {
    pub fn of(output: &Output) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Self { code: output.status.code(), stdout: text(&output.stdout), stderr: text(&output.stderr) }
    }
}
