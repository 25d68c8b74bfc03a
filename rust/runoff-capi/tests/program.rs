//! The program, run as by runoff, with a real ONNX Runtime and a small model.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;
use std::thread::sleep;
use std::time::Duration;

use ort::environment::Environment;
use serde_json::{Value, json};
use tempfile::TempDir;
use turbojpeg::{Image, PixelFormat};

const PROGRAM: &str = env!("CARGO_BIN_EXE_runoff-capi");
/// Colours of the images; their tensors contain `(byte - 10) / 10`.
const COLOURS: [[u8; 3]; 2] = [[30, 10, 50], [60, 20, 10]];
const MEANS: [[f32; 3]; 2] = [[2.0, 0.0, 4.0], [5.0, 1.0, 0.0]];

fn onnx() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../runoff-session/tests/data/means.onnx")
}

/// A folder with two images of one colour each and labels.
struct Bench {
    folder: TempDir,
}

impl Bench {
    fn new() -> Self {
        let bench = Self { folder: tempfile::tempdir().expect("a folder") };
        for (item, colour) in COLOURS.iter().enumerate() {
            let pixels = colour.repeat(16 * 12);
            let image = Image { pixels: &pixels[..], width: 16, pitch: 48, height: 12, format: PixelFormat::RGB };
            let jpeg = turbojpeg::compress(image, 100, turbojpeg::Subsamp::None).expect("a JPEG");
            fs::write(bench.path(&format!("{item}.jpg")), jpeg).expect("an image");
        }
        fs::write(bench.path("labels.txt"), "red\ngreen\nblue sky\n").expect("labels");
        fs::create_dir(bench.path("out")).expect("a folder");
        bench
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Saves the model in ONNX Runtime's own format.
    fn prepare(&self) -> PathBuf {
        // a process has one environment
        static ENVIRONMENT: OnceLock<Environment> = OnceLock::new();
        let environment = ENVIRONMENT.get_or_init(|| {
            let library = std::env::var("RUNOFF_ORT_DYLIB").expect("RUNOFF_ORT_DYLIB is set for these tests");
            ort::init_from(library).expect("ONNX Runtime").build().expect("an environment")
        });
        let builder = ort::session::Session::builder(environment).expect("a builder");
        let path = self.path("means.ort");
        let builder = builder.with_optimized_model_path(&path).expect("a path");
        let mut builder = builder.with_config_entry("session.save_model_format", "ORT").expect("an entry");
        builder.commit_from_file(onnx()).expect("a session");
        path
    }

    fn request(&self, measure: &Value) -> Value {
        json!({
            "protocol": 1, "case": "a.case", "workload": "classify", "measure": measure, "spawn_ns": 1, "top_k": 2,
            "model": {
                "name": "means", "path": onnx(), "format": "onnx", "sha256": "", "builder": null,
                "inputs": [{"name": "image", "dtype": "float32", "shape": [null, 3, 8, 8]}], "outputs": [],
            },
            "inputs": [{"image": self.path("0.jpg"), "tensors": null}, {"image": self.path("1.jpg")}],
            "preprocess": {
                "resize": 9, "crop": 8, "interpolation": "bicubic", "mean": [10, 10.0, 10], "std": [10, 10, 10.0],
            },
            "labels": self.path("labels.txt"), "outputs_dir": self.path("out"),
            "settings": {"threads": 1, "profile": "default", "provider": "cpu", "precision": "fp32", "batch": 1},
        })
    }

    /// A request with every setting of the profile `cold`, on a prepared model.
    fn cold(&self) -> Value {
        let mut request = self.request(&json!({"kind": "once", "memory": true}));
        request["settings"] = json!({
            "threads": 1, "optimization": "basic", "spinning": false, "arena": false, "prepacking": false,
            "teardown": "skip", "prepared": true, "overlap": true, "profile": "cold", "inter_threads": null,
        });
        request["model"]["path"] = json!(self.prepare());
        request["model"]["format"] = json!("ort");
        request
    }

    fn command(&self, request: &Value) -> Command {
        fs::write(self.path("request.json"), request.to_string()).expect("a request");
        let mut command = Command::new(PROGRAM);
        command.arg("--request").arg(self.path("request.json")).arg("--result").arg(self.path("result.json"));
        command.stdin(Stdio::null());
        command
    }

    fn result(&self) -> Value {
        serde_json::from_slice(&fs::read(self.path("result.json")).expect("a result")).expect("JSON")
    }

    /// Runs a request that succeeds; returns the result.
    fn serve(&self, request: &Value) -> Value {
        let output = self.command(request).output().expect("a program");
        assert_eq!((output.status.code(), text(&output.stdout), text(&output.stderr)), (Some(0), "", ""));
        self.result()
    }

    /// Runs a request that fails with `code` and `kind`; returns the message.
    fn fail(&self, mut command: Command, kind: &str, code: i32) -> String {
        let _ = fs::remove_file(self.path("result.json"));
        let Output { status, stdout, stderr } = command.output().expect("a program");
        assert_eq!((status.code(), text(&stdout)), (Some(code), ""), "{}", text(&stderr));
        let result = self.result();
        let expected = if code == 3 { "unsupported" } else { "error" };
        assert_eq!((&result["kind"], &result["status"]), (&json!(kind), &json!(expected)));
        let message = result["message"].as_str().expect("a message");
        assert!(text(&stderr).lines().count() == 1 && text(&stderr).contains(message), "{}", text(&stderr));
        message.to_owned()
    }
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("text")
}

/// A JPEG file with the given height and width in its header.
fn with_size(mut jpeg: Vec<u8>, size: [u8; 4]) -> Vec<u8> {
    let start_of_frame = jpeg.windows(2).position(|bytes| bytes == [0xff, 0xc0]).expect("a baseline JPEG");
    jpeg[start_of_frame + 5..start_of_frame + 9].copy_from_slice(&size);
    jpeg
}

/// The elements of a written tensor.
fn elements(written: &Value) -> Vec<f32> {
    let bytes = fs::read(written["path"].as_str().expect("a path")).expect("a file");
    bytes.as_chunks::<4>().0.iter().map(|&element| f32::from_le_bytes(element)).collect()
}

fn check_output(written: &Value, item: usize) {
    assert_eq!(
        (&written["items"], &written["dtype"], &written["shape"]),
        (&json!([item]), &json!("float32"), &json!([1, 3]))
    );
    for (found, mean) in elements(written).into_iter().zip(MEANS[item]) {
        assert!((found - mean).abs() < 0.11, "{found}, not {mean}");
    }
}

#[test]
fn an_image_gets_its_label_in_both_profiles() {
    let bench = Bench::new();
    for request in [bench.request(&json!({"kind": "once"})), bench.cold()] {
        let result = bench.serve(&request);
        assert_eq!(
            (&result["status"], &result["case"], &result["protocol"]),
            (&json!("ok"), &json!("a.case"), &json!(1))
        );
        assert_eq!(
            (result["top"][0][0]["label"].as_str(), result["top"][0].as_array().map(Vec::len)),
            (Some("blue sky"), Some(2))
        );
        let confidence = result["top"][0][0]["confidence"].as_f64().expect("a number");
        assert!((confidence - 1.0 / (1.0 + (-2.0_f64).exp() + (-4.0_f64).exp())).abs() < 0.02, "{confidence}");
        check_output(&result["outputs"][0], 0);
        assert!(result["samples"]["inference"]["first_ns"].as_u64() > Some(0));
        let effective = &result["effective"];
        assert_eq!(
            (&effective["threads"], &effective["ignored"], &effective["provider"]),
            (&json!(1), &json!([]), &json!("cpu"))
        );
        assert!(effective["version"].as_str().is_some_and(|version| version.starts_with("1.")));
    }
}

#[test]
fn settings_without_effect_are_named() {
    let bench = Bench::new();
    let mut request = bench.request(&json!({"kind": "once"}));
    request["settings"] =
        json!({"prepared": true, "inter_threads": 2, "execution": "parallel", "optimization": "all", "arena": true});
    assert_eq!(bench.serve(&request)["effective"]["ignored"], json!(["execution", "inter_threads", "prepared"]));
}

#[test]
fn accuracy_writes_the_output_and_the_input_of_every_item() {
    let bench = Bench::new();
    let result = bench.serve(&bench.request(&json!({"kind": "accuracy"})));
    for item in 0..2 {
        check_output(&result["outputs"][item], item);
        let input = elements(&result["tensors"][item]);
        assert_eq!(input.len(), 3 * 8 * 8);
        assert!(
            (input[64] - MEANS[item][1]).abs() < 0.11,
            "the planes are in the order red, green, blue: {}",
            input[64]
        );
    }
}

#[test]
fn a_picture_that_is_upside_down_is_turned() {
    let bench = Bench::new();
    let pixels = [COLOURS[0].repeat(8), COLOURS[1].repeat(8)].concat().repeat(12);
    let image = Image { pixels: &pixels[..], width: 16, pitch: 48, height: 12, format: PixelFormat::RGB };
    let jpeg = turbojpeg::compress(image, 100, turbojpeg::Subsamp::None).expect("a JPEG").to_vec();
    let exif = b"\xff\xe1\0\x22Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x03\0\0\0\0\0\0\0";
    fs::write(bench.path("0.jpg"), &jpeg).expect("an image");
    fs::write(bench.path("1.jpg"), [&jpeg[..2], exif, &jpeg[2..]].concat()).expect("an image");
    let result = bench.serve(&bench.request(&json!({"kind": "accuracy"})));
    let [stored, turned] = [0, 1].map(|item| elements(&result["tensors"][item]));
    assert!((stored[0] - stored[7]).abs() > 1.0, "the two halves differ");
    for (row, turned) in stored.chunks(8).zip(turned.chunks(8)) {
        for (pixel, turned) in row.iter().zip(turned.iter().rev()) {
            assert!((pixel - turned).abs() < 0.11, "{pixel}, not {turned}");
        }
    }
}

#[test]
fn turns_are_taken_on_command() {
    let bench = Bench::new();
    let mut command = bench.command(&bench.request(&json!({"kind": "turns", "warmup": 3})));
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("a program");
    let mut stdin = child.stdin.take().expect("stdin");
    let mut lines = BufReader::new(child.stdout.take().expect("stdout")).lines();
    let mut line = || lines.next().expect("a line").expect("text");
    assert_eq!(line(), "ready");
    let mut all = Vec::new();
    for (asked, count) in [("1 0 1", 3), ("0", 1), ("", 0)] {
        writeln!(stdin, "{asked}").expect("a reader");
        let answer: Value = serde_json::from_str(&line()).expect("JSON");
        let told = |part: &str| answer[part].as_array().expect("numbers").clone();
        assert_eq!((told("inference").len(), told("preprocess").len()), (count, count));
        all.extend(told("inference"));
    }
    writeln!(stdin, "outputs").expect("a reader");
    check_output(&serde_json::from_str::<Value>(&line()).expect("JSON")[0], 0);
    writeln!(stdin, "1").expect("a reader");
    all.extend(serde_json::from_str::<Value>(&line()).expect("JSON")["inference"].as_array().expect("numbers").clone());
    drop(stdin);
    assert_eq!(child.wait().expect("an end").code(), Some(0));
    let result = bench.result();
    assert_eq!(result["samples"]["inference"]["warm_ns"], json!(all));
    check_output(&result["outputs"][0], 0);
    check_output(&result["outputs"][1], 1);
}

#[test]
fn a_line_that_is_no_turn_is_refused() {
    let bench = Bench::new();
    for (line, word) in [(&b"0 2\n"[..], "\"2\""), (b"0 \xff\n", "\"\u{fffd}\"")] {
        let mut command = bench.command(&bench.request(&json!({"kind": "turns", "warmup": 0})));
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("a program");
        child.stdin.take().expect("stdin").write_all(line).expect("a reader");
        let output = child.wait_with_output().expect("an end");
        assert_eq!((output.status.code(), text(&output.stdout)), (Some(2), "ready\n"));
        let result = bench.result();
        assert_eq!(result["kind"], json!("bad-request"));
        assert!(result["message"].as_str().is_some_and(|message| message.contains(word)), "{result}");
    }
}

#[test]
fn a_warm_up_without_end_goes_on() {
    let bench = Bench::new();
    let mut command = bench.command(&bench.request(&json!({"kind": "turns", "warmup": u64::MAX})));
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("a program");
    while !bench.path("out/logits.0.bin").is_file() && child.try_wait().expect("a program").is_none() {
        sleep(Duration::from_millis(10));
    }
    sleep(Duration::from_millis(200));
    child.kill().expect("a program that works");
    let output = child.wait_with_output().expect("an end");
    assert_eq!((output.status.code(), text(&output.stdout), text(&output.stderr)), (None, "", ""));
}

#[test]
fn bad_requests_are_named() {
    let bench = Bench::new();
    let largest =
        json!({"resize": u32::MAX, "crop": u32::MAX, "interpolation": "bilinear", "mean": [0, 0, 0], "std": [1, 1, 1]});
    let changes: [(&str, Value, &str); 9] = [
        ("/colour", json!("blue"), "colour"),
        ("/workload", json!("tensor"), "inputs[0].tensors"),
        ("/inputs", json!([]), "inputs"),
        ("/settings/batch", json!(2), "settings.batch"),
        ("/settings/threads", json!("two"), "two"),
        ("/measure", json!({"kind": "once", "warmup": 1}), "warmup"),
        ("/measure", json!({"kind": "latency", "min_samples": 1, "min_ns": 1, "warmup": 0}), "latency"),
        ("/outputs_dir", json!("/nowhere"), "/nowhere"),
        ("/preprocess", largest, "preprocess.crop: 4294967295"),
    ];
    for (place, value, named) in changes {
        let mut request = bench.request(&json!({"kind": "once"}));
        match request.pointer_mut(place) {
            Some(field) => *field = value,
            None => request[&place[1..]] = value,
        }
        let message = bench.fail(bench.command(&request), "bad-request", 2);
        assert!(message.contains(named), "{message}");
    }
}

#[test]
fn what_is_at_fault_is_named() {
    let bench = Bench::new();
    let with = |place: &str, value: Value| {
        let mut request = bench.request(&json!({"kind": "once"}));
        *request.pointer_mut(place).expect("a field") = value;
        bench.command(&request)
    };
    assert!(bench.fail(with("/model/path", json!("/nowhere/m.onnx")), "model-missing", 1).contains("/nowhere/m.onnx"));
    let not_a_model = json!(bench.path("0.jpg"));
    assert!(bench.fail(with("/model/path", not_a_model), "model-unreadable", 1).contains("0.jpg cannot be loaded"));
    assert!(bench.fail(with("/inputs/0/image", json!("/nowhere/x.jpg")), "image-missing", 1).contains("x.jpg"));
    let not_an_image = json!(bench.path("labels.txt"));
    let message = bench.fail(with("/inputs/0/image", not_an_image), "image-unreadable", 1);
    assert!(message.ends_with("labels.txt: not a JPEG file, the only format of this runner"), "{message}");
    let jpeg = fs::read(bench.path("0.jpg")).expect("an image");
    fs::write(bench.path("cut.jpg"), &jpeg[..jpeg.len() / 2]).expect("an image");
    let message = bench.fail(with("/inputs/0/image", json!(bench.path("cut.jpg"))), "image-unreadable", 1);
    assert!(message.ends_with("cut.jpg: damaged, truncated or unsupported JPEG file"), "{message}");
    fs::write(bench.path("vast.jpg"), with_size(jpeg, [0xea, 0x60, 0xea, 0x60])).expect("an image");
    let message = bench.fail(with("/inputs/0/image", json!(bench.path("vast.jpg"))), "image-too-large", 1);
    assert!(message.ends_with("vast.jpg: 60000 x 60000 is more than 178956970 pixels"), "{message}");
    let message = bench.fail(with("/inputs/0/image", json!("/dev/zero")), "image-unreadable", 1);
    assert_eq!(message, "image /dev/zero: not a regular file");
    assert!(bench.fail(with("/labels", json!("/nowhere/l.txt")), "bad-request", 2).contains("/nowhere/l.txt"));
    assert!(bench.fail(with("/labels", json!("/dev/zero")), "bad-request", 2).contains("/dev/zero"));
    assert!(bench.fail(with("/preprocess/crop", json!(7)), "runtime-failed", 1).contains("running the model"));
    bench.fail(with("/settings/provider", json!("cuda")), "provider-unavailable", 3);
    let mut overlapped = bench.cold();
    overlapped["inputs"][0]["image"] = json!("/nowhere/x.jpg");
    bench.fail(bench.command(&overlapped), "image-missing", 1);
}

#[test]
fn without_a_usable_library_it_is_unsupported() {
    let bench = Bench::new();
    let request = bench.request(&json!({"kind": "once"}));
    for (library, named) in
        [("", "is not set"), ("lib.so", "not an absolute path"), ("/nowhere/lib.so", "/nowhere/lib.so")]
    {
        let mut command = bench.command(&request);
        command.env("RUNOFF_ORT_DYLIB", library);
        assert!(bench.fail(command, "runtime-missing", 3).contains(named));
        let probe = Command::new(PROGRAM).arg("--probe").env("RUNOFF_ORT_DYLIB", library).output().expect("a program");
        let can: Value = serde_json::from_slice(&probe.stdout).expect("JSON");
        assert_eq!((probe.status.code(), &can["unavailable"]["kind"]), (Some(3), &json!("runtime-missing")));
    }
}

#[test]
fn capabilities_are_printed_under_both_names() {
    for word in ["--probe", "--capabilities"] {
        let output = Command::new(PROGRAM).arg(word).output().expect("a program");
        let can: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        assert_eq!((output.status.code(), &can["unavailable"], &can["max_batch"]), (Some(0), &Value::Null, &json!(1)));
        assert!(can["build"].as_str().is_some_and(|build| !build.is_empty()));
    }
    assert_eq!(Command::new(PROGRAM).output().expect("a program").status.code(), Some(2));
}
