//! `runoff-ort` as people use it: its subcommands on small models.

mod common;

use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use common::{data, write_image};
use serde_json::{Value, json};
use tempfile::TempDir;

const COLOURS: [(&str, [u8; 3]); 3] = [("blue.png", [20, 0, 40]), ("red.png", [90, 10, 0]), ("green.png", [0, 50, 9])];

/// A folder with a model that finds the strongest colour, its manifest, and an image for each colour.
struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
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

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// The program, in this folder.
    fn command(&self, words: &[impl AsRef<OsStr>]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_runoff-ort"));
        command.current_dir(&self.0).env("RUNOFF_CACHE", self.path("cache")).args(words);
        command
    }

    fn run(&self, words: &[&str]) -> Ended {
        Ended::of(&self.command(words).output().expect("a program"))
    }

    /// What the program prints when all goes well.
    fn print(&self, words: &[&str]) -> String {
        let ended = self.run(words);
        assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""), "{words:?}");
        ended.stdout
    }

    /// The same, as JSON.
    fn json(&self, words: &[&str]) -> Value {
        serde_json::from_str(&self.print(words)).expect("JSON")
    }
}

struct Ended {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

impl Ended {
    fn of(output: &Output) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Self { code: output.status.code(), stdout: text(&output.stdout), stderr: text(&output.stderr) }
    }
}

#[test]
fn classify_takes_flags_before_the_manifest() {
    let folder = Folder::new();
    let classify = ["classify", "--model", "model.onnx", "blue.png"];
    assert_eq!(folder.print(&[&classify[..], &["--top", "2"]].concat()), " 86.68 %  blue\n 11.73 %  red\n");
    let classified = folder.json(&[&classify[..], &["--top", "1", "--json", "--mean", "0,0,40"]].concat());
    assert_eq!((&classified["image"], &classified["top"][0]["label"]), (&json!("blue.png"), &json!("red")));
    let ended = folder.run(&[&classify[..], &["--mean", "1,2"]].concat());
    assert!(ended.code == Some(2) && ended.stderr.contains("--mean"), "{}", ended.stderr);
    fs::remove_file(folder.path("manifest.json")).expect("a manifest");
    let ended = folder.run(&classify);
    assert!(ended.code == Some(2) && ended.stderr.contains("--resize is not given"), "{}", ended.stderr);
}

#[test]
fn a_bad_image_is_named_and_the_others_are_classified() {
    let folder = Folder::new();
    let images = ["blue.png", "labels.txt", "nowhere.png", "red.png", "green.png"];
    for profile in ["default", "cold", "latency"] {
        for batch in ["1", "2", "3", "8"] {
            let flags = ["classify", "--model", "model.onnx", "--json", "--profile", profile, "--batch", batch];
            let ended = folder.run(&[&flags[..], &images].concat());
            assert_eq!(ended.code, Some(1), "{profile} {batch}: {}", ended.stderr);
            let reasons: Vec<_> = ended.stderr.lines().collect();
            assert_eq!(reasons.len(), 2, "{}", ended.stderr);
            assert!(reasons[0].contains("labels.txt") && reasons[1].contains("nowhere.png"), "{reasons:?}");
            let best = |line: &str| {
                let classified: Value = serde_json::from_str(line).expect("JSON");
                (classified["image"].clone(), classified["top"][0]["label"].clone())
            };
            let found: Vec<_> = ended.stdout.lines().map(best).collect();
            let expected = ["blue", "red", "green"].map(|label| (json!(format!("{label}.png")), json!(label)));
            assert_eq!(found, expected, "{profile} {batch}");
        }
    }
}

#[test]
fn several_images_are_told_apart() {
    let folder = Folder::new();
    let classify = ["classify", "--model", "model.onnx", "blue.png", "red.png"];
    let one = folder.print(&[&classify[..], &["--top", "1"]].concat());
    let names: Vec<_> = one.lines().map(|line| line.split_once(": ").expect("a name")).collect();
    assert!(names[0].0 == "blue.png" && names[0].1.ends_with("  blue"), "{one}");
    assert!(names[1].0 == "red.png" && names[1].1.ends_with("  red"), "{one}");
    let two = folder.print(&[&classify[..], &["--top", "2"]].concat());
    assert!(two.starts_with("blue.png:\n 86.68 %  blue\n") && two.contains("\n\nred.png:\n"), "{two}");
}

#[test]
fn a_model_that_takes_two_images_gets_two() {
    let folder = Folder::new();
    let mut model = fs::read(data("means.onnx")).expect("a model");
    fix_batch(&mut model, 2);
    fs::write(folder.path("model.onnx"), model).expect("a model");
    let images = COLOURS.map(|(name, _)| name);
    let flags = ["classify", "--model", "model.onnx", "--top", "1"];
    for profile in ["default", "cold"] {
        let text = folder.print(&[&flags[..], &["--profile", profile], &images].concat());
        let labels: Vec<_> = text.lines().filter_map(|line| line.rsplit(' ').next()).collect();
        assert_eq!(labels, ["blue", "red", "green"], "{text}");
    }
    let ended = folder.run(&[&flags[..], &["--batch", "3"], &images].concat());
    assert_eq!((ended.code, ended.stderr.lines().count()), (Some(2), 1));
    assert!(ended.stderr.contains("--batch 3"), "{}", ended.stderr);
}

/// Gives the dimension that is called `batch` in the ONNX file `model` the number `size`.
fn fix_batch(model: &mut [u8], size: u8) {
    // TensorShapeProto.Dimension: field 2 (dim_param) is a string, field 1 (dim_value) a number. The bytes that are
    // left over go into field 3 (denotation), so that no length changes.
    let symbol = b"\x0a\x07\x12\x05batch";
    let number = [0x0a, 7, 0x08, size, 0x1a, 3, b'a', b'b', b'c'];
    let places: Vec<_> = (0..model.len()).filter(|&place| model[place..].starts_with(symbol)).collect();
    assert_eq!(places.len(), 2, "an input and an output");
    for place in places {
        model[place..place + number.len()].copy_from_slice(&number);
    }
}

#[test]
fn a_prepared_model_is_made_once_and_answers_alike() {
    let folder = Folder::new();
    let prepare = ["prepare", "--model", "model.onnx", "--json"];
    let made = folder.json(&prepare);
    let path = made["path"].as_str().expect("a path");
    assert!(made["made"] == true && path.starts_with(folder.path("cache").to_str().expect("text")), "{made}");
    assert_eq!(folder.json(&prepare), json!({"path": path, "made": false, "key": made["key"]}));
    assert_eq!(folder.print(&["prepare", "--model", "model.onnx"]), format!("{path}\n"));

    let classify = |model: &str| {
        let images = ["blue.png", "red.png", "green.png"];
        let flags = ["classify", "--model", model, "--manifest", "manifest.json", "--json", "--profile", "cold"];
        folder.print(&[&flags[..], &images].concat())
    };
    assert_eq!(classify(path), classify("model.onnx"));

    fs::copy(data("add.onnx"), folder.path("model.onnx")).expect("a model");
    let other = folder.json(&["prepare", "--model", "model.onnx", "--folder", "elsewhere", "--json"]);
    assert!(other["made"] == true && other["key"] != made["key"], "{other}");
    assert!(other["path"].as_str().expect("a path").starts_with("elsewhere"), "{other}");

    let ended = folder.run(&["prepare", "--model", "labels.txt"]);
    assert!(ended.code == Some(1) && ended.stderr.contains("labels.txt"), "{}", ended.stderr);
    assert_eq!(fs::read_dir(folder.path("cache")).expect("a folder").count(), 1);
}

#[test]
fn bench_measures_zeros_of_any_shape_and_images() {
    let folder = Folder::new();
    fs::copy(data("add.onnx"), folder.path("add.onnx")).expect("a model");
    let shapes = ["--shape", "a=4,2", "--shape", "b=4,2", "--shape", "n=4"];
    let measured = folder.json(&[&["bench", "--model", "add.onnx", "--samples", "63", "--json"][..], &shapes].concat());
    assert_eq!(measured["warm_ns"].as_array().map(Vec::len), Some(63));
    assert_eq!((&measured["warm"]["count"], &measured["warm"]["p90_ns"]), (&json!(63), &Value::Null));
    for field in ["/load_ns", "/first_ns", "/second_ns", "/warm/min_ns", "/warm/median_ns", "/warm/per_second"] {
        assert!(measured.pointer(field).and_then(Value::as_f64).is_some_and(|value| value > 0.0), "{field}");
    }
    assert!(measured["runtime"].as_str().expect("a version").starts_with("1."));

    let images = ["--image", "blue.png", "--image", "red.png", "--profile", "latency", "--threads", "2"];
    let table = folder.print(&[&["bench", "--model", "model.onnx", "--samples", "64"][..], &images].concat());
    let rows: Vec<_> = table.lines().map(|line| line.split("  ").next().unwrap_or_default()).collect();
    let all = ["model", "load", "first", "second", "warm median", "warm p90", "warm min", "throughput", "peak memory"];
    assert_eq!(rows, all);
    assert!(table.contains("of 64 samples") && !table.contains("needs 64"), "{table}");
    assert!(folder.print(&["bench", "--model", "model.onnx", "--samples", "5"]).contains("needs 64 samples"));
}

#[test]
fn bench_says_what_does_not_fit() {
    let folder = Folder::new();
    for (flags, code, word) in [
        (["--shape", "image=1,3,8,8"], 2, "--shape image"),
        (["--shape", "input=1,3,8"], 2, "--shape input"),
        (["--shape", "input"], 2, "--shape"),
        (["--shape", "input=18446744073709551615,3,8,8"], 2, "--shape input"),
        (["--samples", "0"], 2, "--samples"),
        (["--profile", "warm"], 2, "--profile"),
        (["--image", "nowhere.png"], 1, "nowhere.png"),
        (["--model", "nowhere.onnx"], 1, "nowhere.onnx"),
    ] {
        let model = if flags[0] == "--model" { &[][..] } else { &["--model", "model.onnx"] };
        let ended = folder.run(&[&["bench"], model, &flags].concat());
        assert!(ended.code == Some(code) && ended.stderr.contains(word), "{flags:?}: {}", ended.stderr);
    }
}

#[test]
fn many_processes_prepare_and_use_one_model() {
    const SCRIPT: &str = "prepared=$(\"$0\" prepare --model model.onnx) && \
                          exec \"$0\" classify --model \"$prepared\" --manifest manifest.json --top 1 blue.png";
    let folder = Folder::new();
    let plain = folder.print(&["classify", "--model", "model.onnx", "--top", "1", "blue.png"]);
    let start = |_| {
        let mut command = Command::new("sh");
        command.args(["-c", SCRIPT, env!("CARGO_BIN_EXE_runoff-ort")]).current_dir(&folder.0);
        command.env("RUNOFF_CACHE", folder.path("cache")).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().expect("a program")
    };
    let children: Vec<_> = (0..6).map(start).collect();
    for child in children {
        let ended = Ended::of(&child.wait_with_output().expect("an end"));
        assert_eq!((ended.code, ended.stdout.as_str(), ended.stderr.as_str()), (Some(0), plain.as_str(), ""));
    }
    assert_eq!(fs::read_dir(folder.path("cache")).expect("a folder").count(), 1);
}

#[test]
fn info_describes_onnx_and_prepared_models() {
    let folder = Folder::new();
    let info = folder.json(&["info", "model.onnx", "--json"]);
    let input = json!({"name": "input", "dtype": "float32", "shape": ["batch", 3, 8, 8]});
    assert_eq!((&info["inputs"], &info["outputs"][0]["shape"]), (&json!([input]), &json!(["batch", 3])));
    assert_eq!((&info["opsets"], &info["ir_version"]), (&json!({"ai.onnx": 17}), &json!(8)));
    assert_eq!(info["bytes"], fs::metadata(folder.path("model.onnx")).expect("a model").len());
    assert_eq!((&info["external_bytes"], &info["metadata"]["graph"]), (&json!(0), &json!("test")));
    assert_eq!(info["metadata"]["version"], 0);
    assert_eq!(info["sha256"].as_str().map(str::len), Some(64));
    let providers = info["providers"].as_array().expect("providers");
    assert!(providers.contains(&json!("CPUExecutionProvider")), "{providers:?}");
    let table = folder.print(&["info", "model.onnx"]);
    for part in ["float32 [batch, 3, 8, 8]", "ai.onnx 17", "CPUExecutionProvider"] {
        assert!(table.contains(part), "{table}");
    }

    let prepared = folder.print(&["prepare", "--model", "model.onnx"]);
    let shown = folder.json(&["info", prepared.trim_end(), "--json"]);
    assert_eq!(
        (&shown["inputs"], &shown["opsets"], &shown["ir_version"]),
        (&info["inputs"], &Value::Null, &Value::Null)
    );
    let ended = folder.run(&["info", "labels.txt"]);
    assert!(ended.code == Some(1) && ended.stderr.contains("labels.txt"), "{}", ended.stderr);
}

#[test]
fn without_the_library_nothing_can_run_here() {
    let folder = Folder::new();
    for words in [&["info", "model.onnx"][..], &["classify", "--model", "model.onnx", "red.png"]] {
        let output = folder.command(words).env_remove("RUNOFF_ORT_DYLIB").output().expect("a program");
        let ended = Ended::of(&output);
        assert_eq!((ended.code, ended.stdout.as_str()), (Some(3), ""));
        assert!(ended.stderr.contains("RUNOFF_ORT_DYLIB"), "{}", ended.stderr);
    }
}

#[test]
fn a_gpu_computes_or_one_line_says_what_is_lacking() {
    let folder = Folder::new();
    let lacking = folder.json(&["--probe"])["lacking"].clone();
    for provider in ["cuda", "tensorrt"] {
        let bench = ["bench", "--model", "model.onnx", "--samples", "64", "--json", "--provider", provider];
        let classify =
            ["classify", "--model", "model.onnx", "--top", "1", "--provider", provider, "blue.png", "red.png"];
        let Some(reason) = lacking[provider].as_str() else {
            let measured = folder.json(&bench);
            assert!(measured["parts"]["copy_in"]["median_ns"].as_f64() > Some(0.0), "{measured}");
            assert!(folder.print(&classify).lines().next().is_some_and(|line| line.ends_with("  blue")));
            continue;
        };
        for words in [&bench[..], &classify, &[&classify[..], &["--profile", "cold"]].concat()] {
            let ended = folder.run(words);
            assert_eq!((ended.code, ended.stdout.as_str()), (Some(3), ""), "{words:?}: {}", ended.stderr);
            let line = format!("error: settings.provider: '{provider}' cannot be used: {reason} (");
            assert!(ended.stderr.starts_with(&line) && ended.stderr.lines().count() == 1, "{}", ended.stderr);
        }
    }
    let ended = folder.run(&["bench", "--model", "model.onnx", "--provider", "gpu"]);
    assert!(ended.code == Some(3) && ended.stderr.contains("\"gpu\""), "{}", ended.stderr);
}

#[test]
fn on_the_host_nothing_is_copied() {
    let measured = Folder::new().json(&["bench", "--model", "model.onnx", "--samples", "1", "--json"]);
    assert_eq!((&measured["provider"], &measured["device"]), (&json!("cpu"), &Value::Null));
    assert_eq!(measured["parts"], json!({}));
}

#[test]
fn every_subcommand_shows_examples() {
    let folder = Folder::new();
    for command in ["classify", "bench", "info", "prepare"] {
        let help = folder.print(&[command, "--help"]);
        assert!(help.contains(&format!("Examples:\n  runoff-ort {command} ")), "{help}");
    }
    assert!(folder.print(&[]).contains("Examples:"));
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let folder = Folder::new();
    for words in [
        &["--help"][..],
        &[],
        &["--probe"],
        &["info", "model.onnx"],
        &["bench", "--model", "model.onnx", "--samples", "1"],
        &["prepare", "--model", "model.onnx"],
    ] {
        let mut child = folder.command(words).stdout(Stdio::piped()).spawn().expect("a program");
        drop(child.stdout.take());
        assert_eq!(child.wait().expect("an end").code(), Some(0), "{words:?}");
    }
    let many = [&["classify", "--model", "model.onnx", "--json"][..], &vec!["red.png"; 2000]].concat();
    let mut child = folder.command(&many).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("a program");
    let mut line = String::new();
    BufReader::new(child.stdout.take().expect("stdout")).read_line(&mut line).expect("a line");
    assert!(line.contains("red.png"), "{line}");
    let ended = Ended::of(&child.wait_with_output().expect("an end"));
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
}
