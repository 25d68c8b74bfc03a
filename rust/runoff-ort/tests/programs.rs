//! The two runners, run as runoff runs them: real ONNX Runtime, small models.

mod common;

use std::collections::HashMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use common::data;
use runoff_core::protocol::{Capabilities, RunResult, Status, WrittenTensor};
use runoff_session::Kind;
use serde_json::{Value, json};
use tempfile::TempDir;

const ORT: &str = env!("CARGO_BIN_EXE_runoff-ort");
const NULL: &str = env!("CARGO_BIN_EXE_runoff-null");

/// A folder with what a request needs: images `0.png`, ... of one colour each, and tensors.
struct Bench {
    folder: TempDir,
}

impl Bench {
    fn new() -> Self {
        let bench = Self { folder: tempfile::tempdir().expect("a folder") };
        for (index, value) in [10_u8, 20, 30].iter().enumerate() {
            common::write_image(&bench.path(&format!("{index}.png")), [*value, 0, 40]);
        }
        fs::create_dir(bench.path("out")).expect("a folder");
        bench
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn classify(&self) -> Value {
        json!({
            "case": "c", "workload": "classify", "outputs_dir": self.path("out"),
            "model": {
                "name": "means", "path": data("means.onnx"), "format": "onnx", "sha256": "0",
                "inputs": [{"name": "input", "dtype": "float32", "shape": [null, 3, 8, 8]}],
                "outputs": [{"name": "logits", "dtype": "float32", "shape": [null, 3]}],
            },
            "inputs": (0..3).map(|index| json!({"image": self.path(&format!("{index}.png"))})).collect::<Vec<_>>(),
            "preprocess": {"resize": 9, "crop": 8, "interpolation": "bicubic", "mean": [0, 0, 0], "std": [10, 10, 10]},
        })
    }

    fn tensor(&self) -> Value {
        let elements: Vec<u8> = (0..192_u16).flat_map(|index| f32::from(index / 64).to_le_bytes()).collect();
        fs::write(self.path("x.bin"), elements).expect("a file");
        let file = json!({"path": self.path("x.bin"), "dtype": "float32", "shape": [1, 3, 8, 8]});
        let mut request = self.classify();
        request["workload"] = "tensor".into();
        request["preprocess"] = Value::Null;
        request["inputs"] = json!([{"tensors": {"input": file}}, {"tensors": {"input": file}}]);
        request
    }

    fn command(&self, program: &str, request: &Value) -> Command {
        fs::write(self.path("request.json"), request.to_string()).expect("a request");
        let mut command = Command::new(program);
        command.arg("--request").arg(self.path("request.json")).arg("--result").arg(self.path("result.json"));
        command
    }

    fn start(&self, program: &str, request: &Value) -> Output {
        self.command(program, request).output().expect("a program")
    }

    /// Runs the turns in `lines` on `request`; returns the exit code and the responses.
    fn turns(&self, request: &Value, lines: &[u8]) -> (Option<i32>, Vec<String>) {
        let mut command = self.command(ORT, request);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("a program");
        child.stdin.take().expect("stdin").write_all(lines).expect("a reader");
        let output = child.wait_with_output().expect("an end");
        let answers = String::from_utf8(output.stdout).expect("text").lines().map(str::to_owned).collect();
        (output.status.code(), answers)
    }

    fn result(&self) -> RunResult {
        let text = fs::read(self.path("result.json")).expect("a result");
        serde_json::from_slice(&text).expect("a result")
    }

    /// Runs `request`, which ends well.
    fn run(&self, program: &str, request: &Value) -> RunResult {
        let output = self.start(program, request);
        assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(output.stdout, b"");
        self.result()
    }

    /// Runs `request`, which ends with `kind`.
    fn fail(&self, request: &Value, kind: Kind) -> RunResult {
        let output = self.start(ORT, request);
        let result = self.result();
        assert_eq!(result.kind, Some(kind), "{:?}", result.message);
        assert_eq!(output.status.code(), Some(kind.exit_code().into()));
        let lines = String::from_utf8_lossy(&output.stderr).lines().filter(|line| line.starts_with("error: ")).count();
        assert_eq!(lines, 1);
        result
    }
}

fn phase_names(result: &RunResult) -> Vec<&str> {
    assert!(result.phases.windows(2).all(|pair| pair[0].end_ns == pair[1].start_ns));
    result.phases.iter().map(|phase| phase.name.as_str()).collect()
}

fn floats(path: &Path) -> Vec<f32> {
    let bytes = fs::read(path).expect("a tensor");
    bytes.as_chunks().0.iter().map(|chunk| f32::from_le_bytes(*chunk)).collect()
}

#[test]
fn once_gives_phases_outputs_and_the_best_classes() {
    let bench = Bench::new();
    let mut request = bench.classify();
    request["spawn_ns"] = 1.into();
    request["measure"] = json!({"kind": "once", "memory": true});
    let result = bench.run(ORT, &request);
    assert_eq!(phase_names(&result), ["start", "runtime", "environment", "load", "preprocess", "inference", "output"]);
    assert_eq!(result.phases[0].start_ns, 1);
    assert_eq!(floats(&result.outputs[0].path), [1.0, 0.0, 4.0]);
    assert_eq!(result.outputs[0].path, bench.path("out/logits.0.bin"));
    assert_eq!(result.top[0].iter().map(|guess| guess.index).collect::<Vec<_>>(), [2, 0, 1]);
    assert!(result.samples["inference"].first_ns > 0 && result.samples["preprocess"].first_ns > 0);
    let effective = result.effective.expect("effective");
    assert!(effective.version.starts_with("1."));
    assert!(effective.build.expect("build").contains("git-commit-id"));
    let memory = result.memory.expect("memory");
    if cfg!(target_os = "linux") {
        assert_eq!(effective.threads, Some(1));
        assert_eq!(memory.after.len(), 7);
        assert!(memory.peak_bytes >= memory.after.values().max().copied());
    }
}

#[test]
fn latency_keeps_enough_samples_and_goes_round_the_items() {
    let bench = Bench::new();
    let mut request = bench.classify();
    request["settings"] = json!({"batch": 2, "teardown": "skip"});
    request["measure"] = json!({"kind": "latency", "min_samples": 4, "min_ns": 0, "warmup": 2});
    let result = bench.run(ORT, &request);
    assert_eq!(phase_names(&result), ["runtime", "environment", "load", "preprocess", "inference", "warm", "output"]);
    for part in ["preprocess", "inference"] {
        assert_eq!(result.samples[part].warm_ns.len(), 4);
        assert!(result.samples[part].second_ns.is_some());
    }
    // First, second, two that are not kept and four that are: the last is iteration 7, with items 14 and 15.
    let items: Vec<_> = result.outputs.iter().map(|output| output.items.clone()).collect();
    assert_eq!(items, [[0, 1], [2, 0]]);
    assert_eq!(floats(&result.outputs[1].path), [3.0, 0.0, 4.0, 1.0, 0.0, 4.0]);
    assert_eq!(result.top.len(), 2);

    request["measure"] = json!({"kind": "latency", "min_samples": 1, "min_ns": 50_000_000, "warmup": 0});
    let result = bench.run(ORT, &request);
    let warm = result.phases.iter().find(|phase| phase.name == "warm").expect("warm");
    assert!(warm.end_ns - warm.start_ns >= 50_000_000);
}

#[test]
fn turns_are_taken_on_the_items_that_stdin_names() {
    let bench = Bench::new();
    let mut request = bench.classify();
    request["measure"] = json!({"kind": "turns", "warmup": 0});
    request["settings"] = json!({"batch": 2});
    let (code, answers) = bench.turns(&request, b"outputs\n1 0 2\noutputs\n\n0 1");
    let result = bench.result();
    assert_eq!((code, answers.len(), answers[0].as_str()), (Some(0), 6, "ready"));
    let written = |line: &str| serde_json::from_str::<Vec<WrittenTensor>>(line).expect("written tensors").remove(0);
    // the last of the warm-up is the second, from item 2 on
    for answer in [&answers[1], &answers[3]] {
        assert_eq!(written(answer).items, [2, 0]);
        assert_eq!(floats(&written(answer).path), [3.0, 0.0, 4.0, 1.0, 0.0, 4.0]);
    }
    assert_eq!(answers[4], r#"{"inference":[],"preprocess":[]}"#);
    for part in ["inference", "preprocess"] {
        let durations =
            |line: &str| serde_json::from_str::<HashMap<String, Vec<u64>>>(line).expect("durations")[part].clone();
        assert_eq!([durations(&answers[2]), durations(&answers[5])].concat(), result.samples[part].warm_ns);
        assert_eq!(result.samples[part].warm_ns.len(), 5);
    }
    let items: Vec<_> = result.outputs.iter().map(|output| output.items.clone()).collect();
    assert_eq!(items, [[0, 1], [1, 2]]);
    let effective = result.effective.expect("effective");
    assert_eq!(effective.denormals.as_deref(), Some("kept"));
    let decoder = effective.image_decoder.expect("a decoder");
    assert!(decoder.starts_with("libjpeg-turbo 3.") && (decoder.ends_with(", SIMD") || decoder.ends_with(", scalar")));
}

#[test]
fn turns_on_what_is_no_item_are_refused() {
    let bench = Bench::new();
    let mut request = bench.classify();
    request["measure"] = json!({"kind": "turns", "warmup": 0});
    for line in [&b"3\n"[..], b"0 many\n", b"\xff"] {
        assert_eq!(bench.turns(&request, line), (Some(2), vec!["ready".to_owned()]));
        assert_eq!(bench.result().kind, Some(Kind::BadRequest));
        assert!(bench.result().message.expect("a message").contains("stdin"));
    }
}

#[test]
fn accuracy_writes_every_item_once() {
    let bench = Bench::new();
    let mut request = bench.classify();
    request["settings"] = json!({"batch": 2});
    request["measure"] = json!({"kind": "accuracy"});
    let result = bench.run(ORT, &request);
    let shapes: Vec<_> = result.outputs.iter().map(|output| (output.items.clone(), output.shape.clone())).collect();
    assert_eq!(shapes, [(vec![0, 1], vec![2, 3]), (vec![2], vec![1, 3])]);
    assert_eq!(result.tensors[1].path, bench.path("out/input.input.2.bin"));
    assert_eq!(result.tensors[1].name, "input");
    assert_eq!(floats(&result.tensors[1].path), [[3.0_f32; 64], [0.0; 64], [4.0; 64]].concat());
    assert_eq!(result.top.len(), 1);
}

#[test]
fn tensors_are_read_and_joined() {
    let bench = Bench::new();
    let mut request = bench.tensor();
    request["settings"] = json!({"batch": 2});
    let result = bench.run(ORT, &request);
    assert_eq!(floats(&result.outputs[0].path), [0.0, 1.0, 2.0, 0.0, 1.0, 2.0]);
    assert!(result.top.is_empty() && !result.samples.contains_key("preprocess"));
}

#[test]
fn failures_have_kinds_exit_codes_and_one_line() {
    let bench = Bench::new();
    let with = |field: &str, value: Value| {
        let mut request = bench.classify();
        request["settings"] = json!({});
        *request.pointer_mut(field).expect(field) = value;
        request
    };
    bench.fail(&with("/model/path", json!("/nowhere/model.onnx")), Kind::ModelMissing);
    bench.fail(&with("/model/path", json!(bench.path("0.png"))), Kind::ModelUnreadable);
    bench.fail(&with("/model/inputs/0/name", json!("image")), Kind::ModelMismatch);
    bench.fail(&with("/inputs/0/image", json!("/nowhere/0.png")), Kind::ImageMissing);
    bench.fail(&with("/inputs/0/image", json!(data("means.onnx"))), Kind::ImageUnreadable);
    bench.fail(&with("/preprocess/crop", json!(7)), Kind::ModelMismatch);
    bench.fail(&with("/preprocess/crop", json!(10)), Kind::BadRequest);
    bench.fail(&with("/model/format", json!("pt")), Kind::BadRequest);
    bench.fail(&with("/inputs", json!([])), Kind::BadRequest);
    bench.fail(&with("/outputs_dir", json!("/nowhere")), Kind::Internal);
    bench.fail(&with("/settings", json!({"precision": "fp8"})), Kind::ProviderUnavailable);
    fs::write(bench.path("x.bin"), [0; 5]).expect("a file");
    let mut request = bench.tensor();
    fs::write(bench.path("x.bin"), [0; 5]).expect("a file");
    bench.fail(&request, Kind::TensorUnreadable);
    request["surprise"] = 1.into();
    let result = bench.fail(&request, Kind::BadRequest);
    assert!(result.message.expect("a message").contains("surprise"));
}

fn probe() -> Capabilities {
    let output = Command::new(ORT).arg("--probe").output().expect("a program");
    assert_eq!((output.status.code(), String::from_utf8_lossy(&output.stderr).as_ref()), (Some(0), ""));
    serde_json::from_slice(&output.stdout).expect("capabilities")
}

#[test]
fn a_gpu_computes_or_one_line_says_what_is_lacking() {
    let (bench, capabilities) = (Bench::new(), probe());
    for provider in ["cuda", "tensorrt"] {
        let mut request = bench.classify();
        request["settings"] = json!({"provider": provider});
        let Some(reason) = capabilities.lacking.get(provider) else {
            assert!(capabilities.providers.iter().any(|own| own == provider), "{capabilities:?}");
            let result = bench.run(ORT, &request);
            assert_eq!(floats(&result.outputs[0].path), [1.0, 0.0, 4.0]);
            assert!(result.samples.contains_key("copy_in") && result.effective.expect("effective").device.is_some());
            continue;
        };
        assert!(capabilities.providers.iter().all(|own| own != provider), "{capabilities:?}");
        let message = format!("settings.provider: '{provider}' cannot be used: {reason}");
        let result = bench.fail(&request, Kind::ProviderUnavailable);
        assert_eq!((result.status, result.message.as_deref()), (Status::Unsupported, Some(message.as_str())));
        let output = bench.start(ORT, &request);
        let stderr = format!("error: {message} (docker run --gpus all ..., or set provider = \"cpu\")\n");
        assert_eq!(String::from_utf8_lossy(&output.stderr), stderr);
    }
}

#[test]
fn a_result_that_cannot_be_written_is_a_failure() {
    let bench = Bench::new();
    fs::create_dir_all(bench.path("result.json/in-the-way")).expect("a folder");
    for program in [ORT, NULL] {
        let output = bench.start(program, &bench.classify());
        assert_eq!(output.status.code(), Some(1));
        assert!(String::from_utf8_lossy(&output.stderr).contains("result.json"));
    }
}

#[test]
fn the_capabilities_are_what_works_here() {
    for (program, word, name, computes) in
        [(ORT, "--capabilities", "ort-rust", true), (NULL, "--probe", "null-rust", false)]
    {
        let output = Command::new(program).arg(word).output().expect("a program");
        assert_eq!(output.status.code(), Some(0));
        let capabilities: Capabilities = serde_json::from_slice(&output.stdout).expect("capabilities");
        assert_eq!((capabilities.runner.as_str(), capabilities.computes), (name, computes));
        assert_eq!(capabilities.unavailable, None);
    }
    let output = Command::new(ORT).arg("--probe").env_remove("RUNOFF_ORT_DYLIB").output().expect("a program");
    assert_eq!(output.status.code(), Some(3));
    let capabilities: Capabilities = serde_json::from_slice(&output.stdout).expect("capabilities");
    assert_eq!(capabilities.unavailable.expect("a reason").kind, Kind::RuntimeMissing);
}

#[test]
fn the_null_runner_does_nothing() {
    let bench = Bench::new();
    let mut request = bench.classify();
    request["spawn_ns"] = 1.into();
    let result = bench.run(NULL, &request);
    assert_eq!(phase_names(&result), ["start", "output"]);
    assert_eq!(result.outputs.len(), 0);
    request["measure"] = json!({"kind": "accuracy"});
    assert_eq!(bench.start(NULL, &request).status.code(), Some(2));
}

#[cfg(all(feature = "mimalloc", target_os = "linux", target_env = "gnu"))]
#[test]
fn onnx_runtime_calls_the_allocator_of_the_program() {
    let bench = Bench::new();
    // the loader writes which symbol it takes from where to a file NAME.PID
    let mut command = Command::new(ORT);
    command.args(["info".as_ref(), data("means.onnx").as_os_str()]);
    let done =
        command.env("LD_DEBUG", "bindings").env("LD_DEBUG_OUTPUT", bench.path("loader")).output().expect("output");
    assert!(done.status.success());
    let mut files = fs::read_dir(bench.folder.path()).expect("a folder").filter_map(Result::ok);
    let is_log = |name: &std::ffi::OsStr| name.to_string_lossy().starts_with("loader.");
    let log = files.find(|file| is_log(&file.file_name())).expect("the loader's log");
    let log = fs::read_to_string(log.path()).expect("text");
    for symbol in ["malloc", "free"] {
        let quoted = format!("symbol `{symbol}'");
        let from_engine = |line: &&str| line.contains(&quoted) && line.contains("/libonnxruntime.");
        let bound: Vec<_> = log.lines().filter(from_engine).collect();
        assert!(!bound.is_empty() && bound.iter().all(|line| line.contains(&format!("to {ORT} "))), "{bound:?}");
    }
    let allocator = bench.run(ORT, &bench.tensor()).effective.expect("effective").allocator.expect("an allocator");
    assert!(allocator.starts_with("mimalloc 2."), "{allocator}");
}
