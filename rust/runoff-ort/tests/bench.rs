//! `runoff-ort bench` on small models.

mod common;
mod folder;

use std::fs;
use std::io::Write;
use std::process::Stdio;
use std::thread::sleep;
use std::time::{Duration, Instant};

use common::data;
use folder::{COLOURS, Ended, Folder};
use rawzip::{CompressionMethod, ZipArchiveWriter};
use runoff_session::prepare::digest;
use serde::Deserialize;
use serde_json::{Value, json};

/// What `--json` prints of a model, and `--export-json` writes: every field, and no other.
#[derive(Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Measured {
    model: String,
    profile: String,
    set: std::collections::BTreeMap<String, String>,
    concurrency: usize,
    provider: String,
    runtime: String,
    threads: Option<usize>,
    device: Option<String>,
    load_ns: u64,
    first_ns: u64,
    second_ns: u64,
    warm: Value,
    warm_ns: Vec<u64>,
    parts: Value,
    rounds_ns: Vec<f64>,
    ratio: Option<Estimate>,
    largest_difference: Option<f64>,
    outputs: Vec<Value>,
    peak_bytes: Option<u64>,
}

#[derive(Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Estimate {
    value: f64,
    low: f64,
    high: f64,
}

/// A folder with the model `add.onnx` too.
fn folder() -> Folder {
    let folder = Folder::new();
    fs::copy(data("add.onnx"), folder.path("add.onnx")).expect("a model");
    folder
}

/// An `.npz` file: for each array its name, description and elements.
fn npz(arrays: &[(&str, &str, Vec<u8>)]) -> Vec<u8> {
    let mut file = Vec::new();
    let mut archive = ZipArchiveWriter::new(&mut file);
    for (name, description, elements) in arrays {
        let header = format!("{{{description}, }}\n");
        let length = u16::try_from(header.len()).expect("a header").to_le_bytes();
        let bytes = [&b"\x93NUMPY\x01\x00"[..], &length, header.as_bytes(), elements].concat();
        let name = format!("{name}.npy");
        let new = archive.new_file(&name).compression_method(CompressionMethod::STORE);
        let (mut entry, config) = new.start().expect("a file");
        let mut writer = config.wrap(&mut entry);
        writer.write_all(&bytes).expect("bytes");
        let (_, descriptor) = writer.finish().expect("an end");
        entry.finish(descriptor).expect("an end");
    }
    archive.finish().expect("an end");
    file
}

fn floats(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

const FLOATS: &str = "'descr': '<f4', 'fortran_order': False, 'shape': (2, 2)";
const COUNTS: &str = "'descr': '<i8', 'fortran_order': False, 'shape': (2,)";

#[test]
fn random_inputs_of_any_shape_and_images_are_measured() {
    let folder = folder();
    let shapes = ["--shape", "a=4,2", "--shape", "b=4,2", "--shape", "n=4"];
    let measured = folder.json(&[&["bench", "--model", "add.onnx", "--samples", "35", "--json"][..], &shapes].concat());
    assert_eq!(measured["warm_ns"].as_array().map(Vec::len), Some(35));
    assert_eq!((&measured["warm"]["count"], &measured["warm"]["p90_ns"]), (&json!(35), &Value::Null));
    assert_eq!(measured["outputs"][0]["shape"], json!([4, 2]));
    for field in ["/load_ns", "/first_ns", "/second_ns", "/warm/min_ns", "/warm/median_ns", "/warm/per_second"] {
        assert!(measured.pointer(field).and_then(Value::as_f64).is_some_and(|value| value > 0.0), "{field}");
    }
    assert!(measured["runtime"].as_str().expect("a version").starts_with("1."));

    let images = ["--image", "blue.png", "--image", "red.png", "--profile", "latency", "--threads", "2"];
    let table = folder.print(&[&["bench", "model.onnx", "--samples", "72"][..], &images].concat());
    let rows: Vec<_> = table.lines().map(|line| line.split("  ").next().unwrap_or_default()).collect();
    let percentiles = ["warm median", "warm p90", "warm p95", "warm p99"];
    let all = [&["model", "load", "first", "second"][..], &percentiles, &["warm min", "throughput", "peak memory"]];
    assert_eq!(rows, all.concat());
    assert!(table.contains("of 72 samples") && table.matches("too few samples").count() == 1, "{table}");
    assert!(table.contains("too few samples: needs 368"), "{table}");
}

#[test]
fn a_seed_decides_the_random_inputs() {
    let folder = folder();
    let outputs = |flags: &[&str]| {
        folder.json(&[&["bench", "add.onnx", "--samples", "1", "--json"][..], flags].concat())["outputs"].clone()
    };
    assert_eq!(outputs(&[]), outputs(&["--seed", "0"]));
    assert_ne!(outputs(&["--seed", "1"])[0]["sha256"], outputs(&[])[0]["sha256"]);
}

#[test]
fn arrays_of_a_file_or_stdin_are_what_the_model_gets() {
    let folder = folder();
    let counts = [7_i64, -1].map(i64::to_le_bytes).concat();
    let (a, b) = (floats(&[1.0, 2.0, 3.0, 4.0]), floats(&[0.5; 4]));
    fs::write(folder.path("own.npz"), npz(&[("n", COUNTS, counts), ("b", FLOATS, b), ("a", FLOATS, a)]))
        .expect("a file");
    let expected = [digest(&floats(&[1.5, 2.5, 3.5, 4.5])), digest(&[14_i64, -2].map(i64::to_le_bytes).concat())];
    let written_by_numpy = |name: &str| data("").join("../../../runoff-ort/tests/data").join(name);
    let files = [folder.path("own.npz"), written_by_numpy("stored.npz"), written_by_numpy("deflated.npz")];
    for (file, takes_stdin) in files.iter().flat_map(|file| [(file, false), (file, true)]) {
        let name = if takes_stdin { "-" } else { file.to_str().expect("text") };
        let mut command = folder.command(&["bench", "add.onnx", "--samples", "1", "--json", "--inputs", name]);
        let output = command.stdin(fs::File::open(file).expect("a file")).output().expect("a program");
        let ended = Ended::of(&output);
        assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""), "{file:?}");
        let measured: Value = serde_json::from_str(&ended.stdout).expect("JSON");
        let digests = [&measured["outputs"][0]["sha256"], &measured["outputs"][1]["sha256"]];
        assert_eq!(digests, [&json!(expected[0]), &json!(expected[1])], "{file:?}");
    }
}

#[test]
fn arrays_that_do_not_fit_are_one_line() {
    let folder = folder();
    let (four, counts) = (floats(&[1.0; 4]), vec![0; 16]);
    let with = |name, description, elements: &[u8]| {
        npz(&[(name, description, elements.to_vec()), ("b", FLOATS, four.clone()), ("n", COUNTS, counts.clone())])
    };
    let good = with("a", FLOATS, &four);
    let doubles = "'descr': '<f8', 'fortran_order': False, 'shape': (2, 2)";
    let row = "'descr': '<f4', 'fortran_order': False, 'shape': (4,)";
    let huge = "'descr': '<f4', 'fortran_order': False, 'shape': (1000000000000, 2)";
    let mut flipped = good.clone();
    let place = good.windows(4).position(|bytes| bytes == 1.0_f32.to_le_bytes()).expect("an element");
    flipped[place] ^= 1;
    for (number, (file, code, words)) in [
        (with("a", doubles, &[0; 32]), 2, "input \"a\" takes float32 of shape [?, 2], not float64 of shape [2, 2]"),
        (with("a", row, &four), 2, "not float32 of shape [4]"),
        (with("other", FLOATS, &four), 2, "the model has no input \"other\" (it has: a, b, n)"),
        (npz(&[("a", FLOATS, four.clone())]), 2, "no array for the input \"b\""),
        (with("a", huge, &four), 1, "array \"a\": shape [1000000000000, 2] is too large"),
        (with("a", FLOATS, &four[..12]), 1, "array \"a\": cut short"),
        (with("a", FLOATS, &[0; 20]), 1, "array \"a\": more elements than shape [2, 2] has"),
        (flipped, 1, "array \"a\": "),
        (good[..good.len() - 30].to_vec(), 1, "not an .npz file"),
        (b"text".to_vec(), 1, "not an .npz file"),
    ]
    .into_iter()
    .enumerate()
    {
        fs::write(folder.path("x.npz"), file).expect("a file");
        let ended = folder.run(&["bench", "add.onnx", "--inputs", "x.npz"]);
        assert_eq!((ended.code, ended.stderr.lines().count()), (Some(code), 1), "{number}: {}", ended.stderr);
        assert!(
            ended.stderr.starts_with("error: x.npz: ") && ended.stderr.contains(words),
            "{number}: {}",
            ended.stderr
        );
    }
}

#[test]
fn several_models_take_turns_and_are_compared_with_the_first() {
    let folder = folder();
    fs::copy(folder.path("add.onnx"), folder.path("copy.onnx")).expect("a model");
    let files = ["--export-json", "all.json", "--export-markdown", "all.md"];
    let words = ["bench", "add.onnx", "copy.onnx", "--samples", "50", "--dim", "batch=3", "--json"];
    let printed = folder.print(&[&words[..], &files].concat());
    let read = |text: &str| serde_json::from_str::<Measured>(text).expect("every field, and no other");
    let lines: Vec<_> = printed.lines().map(read).collect();
    let [first, copy] = &lines[..] else { panic!("{printed}") };
    assert_eq!((first.model.as_str(), &first.ratio, first.largest_difference), ("add.onnx", &None, None));
    assert_eq!((copy.model.as_str(), copy.largest_difference, copy.peak_bytes), ("copy.onnx", Some(0.0), None));
    let Estimate { value, low, high } = copy.ratio.as_ref().expect("a ratio");
    assert!(0.0 < *low && low <= value && value <= high, "{copy:?}");
    assert_eq!([first.rounds_ns.len(), copy.rounds_ns.len()], [25, 25]);
    assert!(first.warm_ns.len() >= 50 && copy.warm_ns.len() >= 50);

    let exported: Value = serde_json::from_slice(&fs::read(folder.path("all.json")).expect("a file")).expect("JSON");
    let exported = exported["results"].as_array().expect("results").iter().map(|own| read(&own.to_string()));
    assert_eq!(exported.collect::<Vec<_>>(), lines);
    let markdown = fs::read_to_string(folder.path("all.md")).expect("a file");
    let cells: Vec<_> = markdown.lines().map(|line| line.split(" | ").count()).collect();
    assert_eq!(cells.len(), 4, "{markdown}");
    assert!(cells[0] == cells[2] && cells[0] == cells[3] && markdown.contains("| `copy.onnx` |"), "{markdown}");

    let table = folder.print(&["bench", "add.onnx", "copy.onnx", "model.onnx", "--samples", "50"]);
    let ratios: Vec<_> =
        table.lines().filter(|line| line.starts_with("ratio ") && line.ends_with(" times add.onnx")).collect();
    assert_eq!((ratios.len(), table.matches("not comparable").count()), (2, 1), "{table}");
}

#[test]
fn many_threads_call_one_session() {
    let folder = folder();
    let flags = ["--concurrency", "4", "--samples", "40", "--min-time", "0.25", "--warmup-time", "0.01"];
    let begun = Instant::now();
    let measured = folder.json(&[&["bench", "model.onnx", "--json"][..], &flags].concat());
    assert!(begun.elapsed() >= Duration::from_millis(260));
    let samples_ns: Vec<u64> = serde_json::from_value(measured["warm_ns"].clone()).expect("samples");
    assert!(samples_ns.len() >= 40 && measured["concurrency"] == 4);
    // Little's law: inferences under way are the rate times how long one takes.
    let mean_s = Duration::from_nanos(samples_ns.iter().sum()).as_secs_f64()
        / measured["warm"]["count"].as_f64().expect("a count");
    let under_way = mean_s * measured["warm"]["per_second"].as_f64().expect("a rate");
    assert!((1.5..=4.1).contains(&under_way), "{under_way}");
}

#[test]
fn settings_and_entries_reach_the_session() {
    let folder = folder();
    let bench = ["bench", "model.onnx", "--samples", "1", "--json", "--threads", "1"];
    let set = ["--set", "threads=2", "--set", "session.intra_op.allow_spinning=0"];
    let measured = folder.json(&[&bench[..], &set].concat());
    assert_eq!(measured["set"], json!({"threads": "2", "session.intra_op.allow_spinning": "0"}));
    if cfg!(target_os = "linux") {
        assert_eq!(measured["threads"], 2);
    }
    // ONNX Runtime refuses this value, so the entry has reached it.
    let affinities = "session.intra_op_thread_affinities=1;2;3";
    let ended = folder.run(&[&bench[..], &["--set", "threads=2", "--set", affinities]].concat());
    assert!(ended.code == Some(1) && ended.stderr.contains("affinit"), "{}", ended.stderr);
}

#[test]
fn a_free_dimension_is_given_a_size() {
    let folder = folder();
    let bench = ["bench", "add.onnx", "--samples", "1", "--json"];
    let shape = |flags: &[&str]| folder.json(&[&bench[..], flags].concat())["outputs"][0]["shape"].clone();
    assert_eq!(shape(&[]), json!([1, 2]));
    assert_eq!(shape(&["--dim", "batch=5"]), json!([5, 2]));
    let ended = folder.run(&[&bench[..], &["--dim", "rows=5"]].concat());
    assert!(ended.code == Some(2) && ended.stderr.contains("--dim rows"), "{}", ended.stderr);
}

#[test]
fn a_model_comes_from_stdin_too() {
    let folder = folder();
    let piped = |words: &[&str]| {
        let file = fs::File::open(folder.path("add.onnx")).expect("a model");
        Ended::of(&folder.command(words).stdin(file).output().expect("a program"))
    };
    let from_stdin = |words: &[&str]| serde_json::from_str::<Value>(&piped(words).stdout).expect("JSON");
    let mut info = from_stdin(&["info", "--json", "-"]);
    info["path"] = json!("add.onnx");
    assert_eq!(info, folder.json(&["info", "--json", "add.onnx"]));
    let outputs = |measured: Value| measured["outputs"].clone();
    let own = outputs(from_stdin(&["bench", "-", "--samples", "1", "--json"]));
    assert_eq!(own, outputs(folder.json(&["bench", "add.onnx", "--samples", "1", "--json"])));
    let ended = piped(&["bench", "-", "--inputs", "-"]);
    assert!(ended.code == Some(2) && ended.stderr.contains("stdin holds one file"), "{}", ended.stderr);
    let ended = Ended::of(&folder.command(&["bench", "-"]).stdin(Stdio::null()).output().expect("a program"));
    assert!(ended.code == Some(2) && ended.stderr.contains("MODEL -: stdin is empty"), "{}", ended.stderr);
}

#[test]
fn what_does_not_fit_is_refused() {
    let folder = folder();
    for (flags, code, word) in [
        (["--shape", "image=1,3,8,8"], 2, "--shape image"),
        (["--shape", "input=1,3,8"], 2, "--shape input"),
        (["--shape", "input"], 2, "--shape"),
        (["--shape", "input=18446744073709551615,3,8,8"], 2, "--shape input"),
        (["--samples", "0"], 2, "--samples"),
        (["--samples", "NaN"], 2, "--samples"),
        (["--min-time", "NaN"], 2, "--min-time"),
        (["--warmup-time", "1e300"], 2, "--warmup-time"),
        (["--profile", "warm"], 2, "--profile"),
        (["--set", "spinning=maybe"], 2, "--set spinning=maybe"),
        (["--dim", "batch=0"], 2, "--dim"),
        (["--dim", "batch=600000000"], 2, "more than 4294967296 bytes"),
        (["--image", "nowhere.png"], 1, "nowhere.png"),
        (["--inputs", "nowhere.npz"], 1, "nowhere.npz"),
        (["--library", "nowhere.so"], 3, "nowhere.so"),
        (["--export-json", "nowhere/x.json"], 1, "nowhere/x.json"),
        (["--model", "nowhere.onnx"], 1, "nowhere.onnx"),
    ] {
        let model = if flags[0] == "--model" { &[][..] } else { &["--model", "model.onnx"] };
        let ended = folder.run(&[&["bench"], model, &flags].concat());
        assert!(ended.code == Some(code) && ended.stderr.contains(word), "{flags:?}: {}", ended.stderr);
        assert_eq!(ended.stdout, "");
    }
    assert_eq!(COLOURS.len(), 3);
}

#[cfg(target_os = "linux")]
#[test]
fn what_was_measured_until_ctrl_c_is_printed() {
    const SIGINT: u64 = 2;
    let folder = folder();
    let mut command = folder.command(&["bench", "model.onnx", "--min-time", "600", "--json"]);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("a program");
    let catches = || {
        let status = fs::read_to_string(format!("/proc/{}/status", child.id())).expect("a status");
        let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).expect("signals").trim();
        u64::from_str_radix(caught, 16).expect("a number") & 1 << (SIGINT - 1) != 0
    };
    while !catches() {
        sleep(Duration::from_millis(10));
    }
    sleep(Duration::from_secs(1));
    // the shell's own: not every machine has the program
    let kill = format!("kill -INT {}", child.id());
    let killed = std::process::Command::new("sh").args(["-c", &kill]).status().expect("a shell");
    assert!(killed.success());
    let ended = Ended::of(&child.wait_with_output().expect("an end"));
    assert_eq!((ended.code, ended.stderr.lines().count()), (Some(130), 1), "{}", ended.stderr);
    let measured: Value = serde_json::from_str(&ended.stdout).expect("JSON");
    assert!(ended.stderr.contains("interrupted") && measured["warm"]["count"].as_u64() > Some(0), "{}", ended.stderr);
}
