//! The workload `segment`, run as runoff runs it: real ONNX Runtime, two small models.

mod common;

use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use common::data;
use runoff_core::protocol::{RunResult, WrittenTensor};
use runoff_session::Kind;
use serde_json::{Value, json};
use tempfile::TempDir;

/// A folder with two images of 16 x 12 pixels.
struct Bench(TempDir);

impl Bench {
    fn new() -> Self {
        let bench = Self(tempfile::tempdir().expect("a folder"));
        for (name, value) in [("0.png", 10), ("1.png", 20)] {
            common::write_image(&bench.path(name), [value, 0, 40]);
        }
        bench
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn request(&self, measure: &Value) -> Value {
        let tensor = |name: &str, shape: Value| json!({"name": name, "dtype": "float32", "shape": shape});
        json!({
            "case": "c", "workload": "segment", "outputs_dir": self.0.path(), "measure": measure,
            "model": {
                "name": "small", "path": data("embed.onnx"), "format": "onnx", "sha256": "0",
                "inputs": [tensor("image", json!([1, 3, 8, 8]))], "outputs": [],
                "decoder": {
                    "name": "small", "path": data("masks.onnx"), "format": "onnx", "sha256": "0", "outputs": [],
                    "inputs": [
                        tensor("image_embeddings", json!([1, 3, 2, 2])), tensor("point_coords", json!([null, null, 2])),
                        tensor("point_labels", json!([null, null])), tensor("mask_input", json!([null, 1, 8, 8])),
                        tensor("has_mask_input", json!([null])),
                    ],
                },
            },
            "inputs": [{"image": self.path("0.png")}, {"image": self.path("1.png")}],
            "segment": {"size": 8, "mean": [0, 0, 0], "std": [10, 10, 10], "points_per_side": 3, "points_per_batch": 4},
        })
    }

    fn command(&self, request: &Value) -> Command {
        fs::write(self.path("request.json"), request.to_string()).expect("a request");
        let mut command = Command::new(env!("CARGO_BIN_EXE_runoff-ort"));
        command.arg("--request").arg(self.path("request.json")).arg("--result").arg(self.path("result.json"));
        command
    }

    fn result(&self) -> RunResult {
        serde_json::from_slice(&fs::read(self.path("result.json")).expect("a result")).expect("a result")
    }

    fn run(&self, request: &Value) -> RunResult {
        let output = self.command(request).output().expect("a program");
        assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
        self.result()
    }

    fn fail(&self, request: &Value, kind: Kind, message: &str) {
        let output = self.command(request).output().expect("a program");
        let result = self.result();
        let shown = result.message.expect("a message");
        assert_eq!((result.kind, output.status.code()), (Some(kind), Some(kind.exit_code().into())), "{shown}");
        assert!(shown.contains(message), "{shown}");
    }
}

fn floats(tensor: &WrittenTensor) -> Vec<f32> {
    let bytes = fs::read(&tensor.path).expect("a tensor");
    bytes.as_chunks().0.iter().map(|chunk| f32::from_le_bytes(*chunk)).collect()
}

#[test]
fn once_segments_the_whole_picture() {
    let bench = Bench::new();
    let result = bench.run(&bench.request(&json!({"kind": "once"})));
    let phases: Vec<_> = result.phases.iter().map(|phase| phase.name.as_str()).collect();
    assert_eq!(phases, ["runtime", "environment", "load", "preprocess", "inference", "output"]);
    let [segmentation] = &result.segmentations[..] else { panic!("{:?}", result.segmentations) };
    // each point of the grid gives the left half, and one of these masks remains
    assert_eq!((segmentation.raw, segmentation.masks.len()), (9, 1));
    let mask = &segmentation.masks[0];
    assert_eq!((mask.size, &mask.counts, mask.area, mask.bbox), ([12, 16], &vec![0, 96, 96], 96, [0, 0, 7, 11]));
    assert_eq!(mask.point_coords, [[16.0 / 6.0, 2.0]]);
    assert_eq!(mask.crop_box, [0, 0, 16, 12]);
    assert!((mask.predicted_iou - 0.9).abs() < 1e-6 && (mask.stability_score - 1.0).abs() < 1e-6);
    let samples = |part: &str| result.samples[part].first_ns;
    assert_eq!(samples("inference"), samples("encode") + samples("decode") + samples("postprocess"));
    assert!(samples("preprocess") > 0 && samples("encode") > 0 && samples("decode") > 0);
    let [embeddings] = &result.outputs[..] else { panic!("{:?}", result.outputs) };
    assert_eq!((embeddings.name.as_str(), &embeddings.shape), ("image_embeddings", &vec![1, 3, 2, 2]));
    // 6 of 8 rows are the picture
    assert_eq!(floats(embeddings), [1.0, 1.0, 0.5, 0.5, 0.0, 0.0, 0.0, 0.0, 4.0, 4.0, 2.0, 2.0]);
    assert!(result.effective.expect("effective").image_decoder.is_some());
}

#[test]
fn prompts_give_masks_in_their_order() {
    let bench = Bench::new();
    let mut request = bench.request(&json!({"kind": "accuracy"}));
    let elements: Vec<u8> = [1.0_f32; 64].iter().flat_map(|element| element.to_le_bytes()).collect();
    fs::write(bench.path("mask.bin"), elements).expect("a file");
    let mask = json!({"path": bench.path("mask.bin"), "dtype": "float32", "shape": [1, 8, 8]});
    request["inputs"][0]["prompts"] = json!([{"points": [[1, 2]], "labels": [0]}, {"box": [1, 2, 8, 9]}]);
    request["inputs"][1]["prompts"] = json!([{"points": [[1, 2], [3, 4]], "labels": [1, 1], "mask": mask}]);
    let result = bench.run(&request);
    let outputs: Vec<_> = result.outputs.iter().map(|output| (output.name.as_str(), &*output.items)).collect();
    let names = ["image_embeddings", "iou_predictions"];
    assert_eq!(outputs, [(names[0], &[0][..]), (names[1], &[0]), (names[0], &[1]), (names[1], &[1])]);
    // the label of the first point, times 0.9; that of a box's first corner is 2
    assert_eq!((floats(&result.outputs[1]), &result.outputs[1].shape), (vec![0.0, 1.8], &vec![2, 1]));
    assert_eq!(floats(&result.outputs[3]), [0.9]);
    let [segmentation] = &result.segmentations[..] else { panic!("{:?}", result.segmentations) };
    assert_eq!((segmentation.raw, segmentation.masks.len()), (1, 1));
    assert!(segmentation.masks[0].point_coords.is_empty());
    assert!(result.tensors.is_empty());
}

#[test]
fn turns_and_latency_report_the_parts() {
    let bench = Bench::new();
    let parts = ["preprocess", "inference", "encode", "decode", "postprocess"];
    let result = bench.run(&bench.request(&json!({"kind": "latency", "min_samples": 3, "min_ns": 0, "warmup": 1})));
    for part in parts {
        assert_eq!(result.samples[part].warm_ns.len(), 3);
    }
    let mut command = bench.command(&bench.request(&json!({"kind": "turns", "warmup": 0})));
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("a program");
    child.stdin.take().expect("stdin").write_all(b"1 0 1\noutputs\n").expect("a reader");
    let output = child.wait_with_output().expect("an end");
    let text = String::from_utf8(output.stdout).expect("text");
    let lines: Vec<_> = text.lines().collect();
    let durations: Value = serde_json::from_str(lines[1]).expect("JSON");
    for part in parts {
        assert_eq!(durations[part].as_array().map(Vec::len), Some(3), "{durations}");
    }
    let outputs: Vec<WrittenTensor> = serde_json::from_str(lines[2]).expect("JSON");
    assert_eq!(outputs[0].items, [1]);
    assert_eq!(bench.result().segmentations[0].masks.len(), 1);
}

#[test]
fn failures_name_the_field() {
    let bench = Bench::new();
    let with = |field: &str, value: Value| {
        let mut request = bench.request(&json!({"kind": "once"}));
        request["settings"] = json!({});
        let (parent, name) = field.rsplit_once('/').expect("a path");
        request.pointer_mut(parent).expect(parent)[name] = value;
        request
    };
    let bad = |field: &str, value: Value, message: &str| bench.fail(&with(field, value), Kind::BadRequest, message);
    bad("/settings/batch", json!(2), "settings.batch is 2: segment takes one picture at a time");
    bad("/model/decoder", Value::Null, "model.decoder is missing");
    bad("/model/decoder/format", json!("pt"), "model.decoder.format is \"pt\"");
    bad("/segment", Value::Null, "segment is missing");
    bad("/segment/points", json!(3), "segment.points: unknown field");
    bad("/inputs/0/prompts", json!([]), "inputs[0].prompts is empty");
    bad(
        "/inputs/0/prompts",
        json!([{"box": [1, 2, 3, 13]}]),
        "inputs[0].prompts[0].box: [1.0, 2.0, 3.0, 13.0] is outside",
    );
    bench.fail(
        &with("/model/decoder/path", json!(data("means.onnx"))),
        Kind::ModelUnsupported,
        "needs the input \"input\"",
    );
    bench.fail(&with("/segment/size", json!(16)), Kind::ModelMismatch, "not float32 of shape [1, 3, 16, 16]");
    bench.fail(&with("/inputs/0/image", json!("/nowhere.png")), Kind::ImageMissing, "/nowhere.png");
    let ignored = bench.run(&with("/settings", json!({"overlap": true}))).effective.expect("effective").ignored;
    assert_eq!(ignored, ["overlap"]);
}
