//! The measure `load`: requests of another process, by the pipe and over HTTP.

mod common;

use std::fs;
use std::io::{BufRead, BufReader, Lines, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};

use common::data;
use runoff_core::clock::now_ns;
use runoff_core::protocol::RunResult;
use runoff_session::Kind;
use serde_json::{Value, json};
use tempfile::TempDir;

/// A folder with three images, whose means are 1, 0, 4 and 2, 0, 4 and 3, 0, 4.
struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        let folder = Self(tempfile::tempdir().expect("a folder"));
        for index in 0..3_u8 {
            common::write_image(&folder.path(&format!("{index}.png")), [10 * (index + 1), 0, 40]);
        }
        folder
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Starts the runner; `measure` are fields in addition to the kind and the warm-up.
    fn start(&self, workload: &str, measure: &Value) -> Runner {
        Runner::of(&mut self.command(workload, measure))
    }

    fn command(&self, workload: &str, measure: &Value) -> Command {
        let path = |index: usize| self.path(&format!("{index}.{}", if workload == "classify" { "png" } else { "bin" }));
        let item = |index: usize| {
            if workload == "classify" {
                return json!({"image": path(index)});
            }
            let value = f32::from(u8::try_from(index).expect("small"));
            let elements: Vec<u8> = (0..192).flat_map(|_| value.to_le_bytes()).collect();
            fs::write(path(index), elements).expect("a file");
            json!({"tensors": {"input": {"path": path(index), "dtype": "float32", "shape": [1, 3, 8, 8]}}})
        };
        let mut request = json!({
            "case": "c", "workload": workload, "outputs_dir": self.0.path(),
            "model": {
                "name": "means", "path": data("means.onnx"), "format": "onnx", "sha256": "0",
                "inputs": [{"name": "input", "dtype": "float32", "shape": [null, 3, 8, 8]}],
                "outputs": [{"name": "logits", "dtype": "float32", "shape": [null, 3]}],
            },
            "inputs": (0..3).map(item).collect::<Vec<_>>(),
            "measure": {"kind": "load", "warmup": 2},
        });
        if workload == "classify" {
            request["preprocess"] =
                json!({"resize": 9, "crop": 8, "interpolation": "bicubic", "mean": [0, 0, 0], "std": [10, 10, 10]});
        }
        let fields = measure.as_object().expect("fields").clone();
        request["measure"].as_object_mut().expect("a measure").extend(fields);
        fs::write(self.path("request.json"), request.to_string()).expect("a request");
        let mut command = Command::new(env!("CARGO_BIN_EXE_runoff-ort"));
        command.arg("--request").arg(self.path("request.json")).arg("--result").arg(self.path("result.json"));
        command
    }

    fn result(&self) -> RunResult {
        serde_json::from_slice(&fs::read(self.path("result.json")).expect("a result")).expect("a result")
    }
}

struct Runner {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Runner {
    fn of(command: &mut Command) -> Self {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("a program");
        let stdout = child.stdout.take().expect("stdout");
        Self { child, lines: BufReader::new(stdout).lines() }
    }

    fn send(&mut self, text: &str) {
        self.child.stdin.as_mut().expect("stdin").write_all(text.as_bytes()).expect("a reader");
    }

    fn line(&mut self) -> String {
        self.lines.next().expect("a line").expect("text")
    }

    /// The numbers of a response, and its digest.
    fn response(&mut self) -> ([u64; 5], String) {
        let line = self.line();
        let (numbers, digest) = line.rsplit_once(' ').expect("a digest");
        let numbers: Vec<u64> = numbers.split(' ').map(|word| word.parse().expect("a number")).collect();
        (numbers.try_into().expect("five numbers"), digest.to_owned())
    }

    fn end(&mut self) -> Option<i32> {
        drop(self.child.stdin.take());
        self.child.wait().expect("an end").code()
    }
}

fn floats(path: &Path) -> Vec<f32> {
    let bytes = fs::read(path).expect("a tensor");
    bytes.as_chunks().0.iter().map(|chunk| f32::from_le_bytes(*chunk)).collect()
}

#[test]
fn lines_are_answered_with_stamps_and_distinct_outputs_are_kept() {
    let folder = Folder::new();
    for workload in ["classify", "tensor"] {
        let measure = json!({"transport": "pipe", "workers": 2, "max_batch": 3, "max_wait_us": 60_000_000});
        let mut runner = folder.start(workload, &measure);
        assert_eq!(runner.line(), "ready");
        let begun_ns = now_ns();
        runner.send("7 2\n8 0\n1000 1\n");
        let (mut ids, mut digests) = (Vec::new(), Vec::new());
        for _ in 0..3 {
            let ([id, arrived, start, end, count], digest) = runner.response();
            assert!(begun_ns <= arrived && arrived <= start && start <= end && end <= now_ns());
            assert_eq!(count, 3);
            ids.push(id);
            digests.push(digest);
        }
        assert_eq!(ids, [7, 8, 1000]);
        // alone: it does not wait for the limit, as stdin ends
        runner.send("9 1");
        assert_eq!(runner.end(), Some(0));
        let (numbers, repeated) = runner.response();
        assert_eq!((numbers[4], &repeated), (1, &digests[2]));
        let result = folder.result();
        assert!(result.cpu_ns.is_some_and(|cpu_ns| cpu_ns > 0));
        let inference = &result.samples["inference"];
        assert!(inference.first_ns > 0 && inference.second_ns.is_some() && inference.warm_ns.is_empty());
        // once, though item 1 was requested twice
        let files: Vec<_> = result.outputs.iter().map(|output| (output.items[0], output.path.clone())).collect();
        let name = |item: usize, place: usize| (item, folder.path(&format!("{}.logits.{item}.bin", digests[place])));
        assert_eq!(files[..3], [name(0, 1), name(1, 2), name(2, 0)]);
        assert_eq!(result.outputs[0].shape, [1, 3]);
        let expected = if workload == "classify" { [3.0, 0.0, 4.0] } else { [2.0; 3] };
        assert_eq!(floats(&files[2].1), expected);
    }
}

#[test]
fn a_full_queue_and_bad_lines_are_reported() {
    let folder = Folder::new();
    let waiting = json!({"transport": "pipe", "max_batch": 2, "max_wait_us": 60_000_000, "max_queue": 1});
    let mut runner = folder.start("classify", &waiting);
    assert_eq!(runner.line(), "ready");
    runner.send("1 0\n2 0\n");
    assert_eq!(runner.line(), "2 full");
    assert_eq!(runner.end(), Some(0));
    assert_eq!(runner.response().0[0], 1);
    // stdin stays open
    let mut runner = folder.start("classify", &waiting);
    runner.send("1 0\n2 3\n");
    assert_eq!(runner.child.wait().expect("an end").code(), Some(2));
    let message = folder.result().message.expect("a reason");
    assert_eq!(message, "stdin: \"2 3\" is not ID ITEM, with 3 items");
}

#[test]
fn an_image_that_cannot_be_read_ends_the_runner() {
    let folder = Folder::new();
    fs::write(folder.path("2.png"), "no image").expect("a file");
    let mut runner = folder.start("classify", &json!({"transport": "pipe", "workers": 3, "warmup": 0}));
    assert_eq!(runner.line(), "ready");
    runner.send("1 0\n2 2\n");
    assert_eq!(runner.child.wait().expect("an end").code(), Some(1));
    assert_eq!(folder.result().kind, Some(Kind::ImageUnreadable));
}

/// Posts `body`; returns the response.
fn post(port: &str, body: &[u8]) -> (String, Vec<u8>) {
    let mut stream = TcpStream::connect(format!("127.0.0.1:{port}")).expect("a connection");
    let head =
        format!("POST /infer HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {}\r\n\r\n", body.len());
    stream.write_all(&[head.as_bytes(), body].concat()).expect("a request");
    let mut response = Vec::new();
    stream.read_to_end(&mut response).expect("a response");
    let end = response.windows(4).position(|window| window == b"\r\n\r\n").expect("headers") + 4;
    (String::from_utf8_lossy(&response[..end]).into_owned(), response[end..].to_vec())
}

#[test]
fn http_has_the_same_outputs() {
    let folder = Folder::new();
    let mut images = folder.start("classify", &json!({"transport": "http"}));
    let port = images.line().strip_prefix("ready ").expect("a port").to_owned();
    let (head, body) = post(&port, &fs::read(folder.path("1.png")).expect("a file"));
    assert!(head.starts_with("HTTP/1.1 200") && head.contains("content-length: "), "{head}");
    let answer: Value = serde_json::from_slice(&body).expect("JSON");
    assert_eq!((&answer["top"][0]["index"], &answer["top"][0]["score"]), (&json!(2), &json!(4.0)));
    assert_eq!(answer["top"][0].get("label"), None);
    assert_eq!(images.end(), Some(0));
    assert!(folder.result().cpu_ns.is_some());
    let mut tensors = folder.start("tensor", &json!({"transport": "http", "max_batch": 4}));
    let port = tensors.line().strip_prefix("ready ").expect("a port").to_owned();
    let (head, body) = post(&port, &fs::read(folder.path("2.bin")).expect("a file"));
    assert!(head.contains("application/octet-stream") && head.contains("x-batch: 1"), "{head}");
    assert_eq!(body, [2.0_f32; 3].map(f32::to_le_bytes).concat());
    assert_eq!(tensors.end(), Some(0));
}

#[test]
fn a_thread_that_cannot_be_started_is_reported() {
    let folder = Folder::new();
    for transport in ["pipe", "http"] {
        let mut command = folder.command("tensor", &json!({"transport": transport}));
        // no address space has room for a stack of this size
        let mut runner = Runner::of(command.env("RUST_MIN_STACK", (1_u64 << 60).to_string()));
        assert_eq!(runner.child.wait().expect("an end").code(), Some(2), "{transport}");
        let message = folder.result().message.expect("a reason");
        assert!(message.starts_with("cannot start a thread: "), "{message}");
    }
}

#[test]
fn what_load_cannot_do_is_refused() {
    let folder = Folder::new();
    for (measure, named) in [
        (json!({"transport": "pipe", "workers": 0}), "measure"),
        (json!({"transport": "mail"}), "measure"),
        (json!({}), "transport"),
    ] {
        assert_eq!(folder.start("classify", &measure).end(), Some(2), "{measure}");
        let message = folder.result().message.expect("a reason");
        assert!(message.contains(named), "{message}");
    }
}
