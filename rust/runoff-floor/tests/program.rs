//! The program, run as the benchmark runs it: real ONNX Runtime, a small model.

use std::collections::HashMap;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use ort::session::Session;
use ort::session::builder::SessionBuilder;
use runoff_core::runtime::{Runtime, library_from_env};
use tempfile::TempDir;

const FLOOR: &str = env!("CARGO_BIN_EXE_runoff-floor");
const PREPROCESS: &str = "9,8,bicubic,0,0,0,10,10,10";

/// The means of an image of the colour (20, 0, 40) after that, 2, 0 and 4, have this softmax.
fn best() -> f64 {
    1.0 / (1.0 + (-2.0_f64).exp() + (-4.0_f64).exp())
}

fn onnx() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../runoff-core/tests/data/means.onnx")
}

/// A folder with an image of one colour and labels.
struct Bench {
    folder: TempDir,
}

impl Bench {
    fn new() -> Self {
        let bench = Self { folder: tempfile::tempdir().expect("a folder") };
        let file = fs::File::create(bench.path("image.png")).expect("a file");
        let mut encoder = png::Encoder::new(file, 16, 12);
        encoder.set_color(png::ColorType::Rgb);
        let mut writer = encoder.write_header().expect("a header");
        writer.write_image_data(&[20, 0, 40].repeat(16 * 12)).expect("data");
        writer.finish().expect("an end");
        fs::write(bench.path("labels.txt"), "red\ngreen\nblue sky\n").expect("labels");
        bench
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Saves the model in ONNX Runtime's own format.
    fn prepare(&self) -> PathBuf {
        let library = library_from_env().expect("RUNOFF_ORT_DYLIB is set for these tests");
        let environment = Runtime::load(&library).expect("ONNX Runtime").make_environment().expect("an environment");
        let path = self.path("means.ort");
        let save = |builder: SessionBuilder| -> ort::Result<Session> {
            let builder = builder.with_optimized_model_path(&path)?;
            builder.with_config_entry("session.save_model_format", "ORT")?.commit_from_file(onnx())
        };
        save(Session::builder(&environment).expect("a builder")).expect("a session");
        path
    }

    fn command(&self, model: &Path, more: &[&str]) -> Command {
        let mut command = Command::new(FLOOR);
        command.arg(model).arg(self.path("image.png")).arg(PREPROCESS).arg(self.path("labels.txt")).args(more);
        command
    }

    fn run(&self, model: &Path, more: &[&str]) -> Output {
        self.command(model, more).stdin(Stdio::null()).output().expect("a program")
    }

    fn start(&self, model: &Path, more: &[&str]) -> Child {
        let mut command = self.command(model, more);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("a program")
    }
}

/// Runs `command`, which fails with `code` and one line; returns the line.
fn fail(command: &mut Command, code: i32) -> String {
    let output = command.stdin(Stdio::null()).output().expect("a program");
    let text = String::from_utf8(output.stderr).expect("text");
    assert_eq!((output.status.code(), output.stdout), (Some(code), Vec::new()), "{text}");
    assert!(text.starts_with("error: ") && text.lines().count() == 1, "{text}");
    text
}

fn check_label(line: &str) {
    let (label, confidence) = line.trim_end().rsplit_once(' ').expect("a label and a confidence");
    let confidence: f64 = confidence.parse().expect("a number");
    assert_eq!(label, "blue sky");
    assert!((confidence - best()).abs() < 1e-6, "{confidence}");
}

#[test]
fn both_ways_print_the_best_class() {
    let bench = Bench::new();
    for (model, more) in [(onnx(), &[][..]), (bench.prepare(), &["cold"][..])] {
        let output = bench.run(&model, more);
        assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(output.stderr, b"");
        let text = String::from_utf8(output.stdout).expect("text");
        assert_eq!(text.lines().count(), 1);
        check_label(&text);
    }
}

#[test]
fn turns_are_taken_on_command() {
    let bench = Bench::new();
    for more in [&["turns"][..], &["cold", "turns"][..]] {
        let mut child = bench.start(&onnx(), more);
        let mut stdin = child.stdin.take().expect("stdin");
        let mut stdout = BufReader::new(child.stdout.take().expect("stdout"));
        let mut line = || {
            let mut line = String::new();
            stdout.read_line(&mut line).expect("a line");
            line
        };
        assert_eq!(line(), "ready\n");
        for count in [3, 1, 0] {
            writeln!(stdin, "{}", ["0"].repeat(count).join(" ")).expect("a reader");
            let answer: HashMap<String, Vec<u64>> = serde_json::from_str(&line()).expect("whole numbers by part");
            let durations = &answer["inference"];
            assert_eq!(durations.len(), count);
            assert!(durations.iter().all(|&duration| duration > 0 && duration < 10_000_000_000));
        }
        drop(stdin);
        check_label(&line());
        let mut rest = String::new();
        stdout.read_to_string(&mut rest).expect("an end");
        assert_eq!((rest.as_str(), child.wait().expect("an end").code()), ("", Some(0)));
    }
}

#[test]
fn the_image_is_read_again_in_every_turn() {
    let bench = Bench::new();
    let mut child = bench.start(&onnx(), &["turns"]);
    let mut ready = [0; 6];
    child.stdout.as_mut().expect("stdout").read_exact(&mut ready).expect("ready");
    fs::remove_file(bench.path("image.png")).expect("an image");
    child.stdin.take().expect("stdin").write_all(b"0\n").expect("a reader");
    let output = child.wait_with_output().expect("an end");
    assert_eq!((output.status.code(), output.stdout), (Some(1), Vec::new()));
    assert!(String::from_utf8_lossy(&output.stderr).contains("image.png"));
}

#[test]
fn a_turn_on_another_item_is_refused() {
    let bench = Bench::new();
    let mut child = bench.start(&onnx(), &["turns"]);
    child.stdin.take().expect("stdin").write_all(b"0 1\n").expect("a reader");
    let output = child.wait_with_output().expect("an end");
    assert_eq!((output.status.code(), &output.stdout[..]), (Some(2), &b"ready\n"[..]));
    assert!(String::from_utf8_lossy(&output.stderr).contains("stdin: \"1\" is no item"));
}

#[test]
fn bad_command_lines_are_named() {
    let bench = Bench::new();
    assert!(fail(&mut Command::new(FLOOR), 2).contains("usage: runoff-floor MODEL IMAGE"));
    assert!(fail(&mut bench.command(&onnx(), &["warm"]), 2).contains("\"warm\""));
    assert!(fail(&mut bench.command(&onnx(), &["turns", "cold"]), 2).contains("\"turns cold\""));
    let with = |preprocess: &str| {
        let mut command = Command::new(FLOOR);
        command.arg(onnx()).arg(bench.path("image.png")).arg(preprocess).arg(bench.path("labels.txt"));
        fail(&mut command, 2)
    };
    assert!(with("9,8,bicubic,0,0,0,10,10").contains("9 fields"));
    assert!(with("9,8,bicubic,0,0,0,10,10,10,10").contains("9 fields"));
    assert!(with("0,8,bicubic,0,0,0,10,10,10").contains("RESIZE is \"0\""));
    assert!(with("9,8,nearest,0,0,0,10,10,10").contains("INTERPOLATION is \"nearest\""));
    assert!(with("9,8,bicubic,0,x,0,10,10,10").contains("MEAN_G is \"x\""));
    assert!(with("9,8,bicubic,0,0,0,10,10,0").contains("std"));
    assert!(with("8,9,bicubic,0,0,0,10,10,10").contains("crop"));
}

#[test]
fn files_at_fault_are_named() {
    let bench = Bench::new();
    for more in [&[][..], &["cold"][..]] {
        assert!(fail(&mut bench.command(Path::new("/nowhere/m.onnx"), more), 1).contains("/nowhere/m.onnx"));
        assert!(fail(&mut bench.command(&bench.path("image.png"), more), 1).contains("image.png cannot be loaded"));
    }
    fs::remove_file(bench.path("labels.txt")).expect("labels");
    assert!(fail(&mut bench.command(&onnx(), &[]), 2).contains("labels.txt"));
    fs::write(bench.path("labels.txt"), "a\n").expect("labels");
    fs::write(bench.path("image.png"), "text").expect("an image");
    assert!(fail(&mut bench.command(&onnx(), &["cold"]), 1).contains("image.png"));
}

#[test]
fn the_crop_must_fit_the_model() {
    let bench = Bench::new();
    let mut command = Command::new(FLOOR);
    command.arg(onnx()).arg(bench.path("image.png")).arg("9,7,bicubic,0,0,0,10,10,10").arg(bench.path("labels.txt"));
    assert!(fail(&mut command, 1).contains("running the model"));
}

#[test]
fn without_a_usable_library_the_code_is_three() {
    let bench = Bench::new();
    let with = |library: &Path| fail(bench.command(&onnx(), &[]).env("RUNOFF_ORT_DYLIB", library), 3);
    assert!(with(Path::new("")).contains("RUNOFF_ORT_DYLIB is not set"));
    assert!(with(Path::new("lib.so")).contains("not an absolute path"));
    assert!(with(Path::new("/nowhere/lib.so")).contains("/nowhere/lib.so"));
    assert!(with(&bench.path("labels.txt")).contains("cannot load"));
}
