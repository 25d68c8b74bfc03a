//! Requests with and without tensors in device memory, which is host memory in these tests.

use std::path::Path;
use std::sync::OnceLock;

use runoff_core::protocol::{WrittenTensor, read_request};
use runoff_session::{Environment, Kind};
use serde_json::{Value, json};

use super::model::check_whole_batches;
use super::*;

fn request(folder: &Path, measure: &Value, batch: usize) -> Request {
    let elements: Vec<u8> = (0..192_u16).flat_map(|index| f32::from(index).to_le_bytes()).collect();
    let file = folder.join("x.bin");
    std::fs::write(&file, elements).expect("a file");
    let item = json!({"tensors": {"input": {"path": file, "dtype": "float32", "shape": [1, 3, 8, 8]}}});
    let request = json!({
        "case": "c", "workload": "tensor", "outputs_dir": folder, "inputs": [item, item, item], "measure": measure,
        "settings": {"batch": batch},
        "model": {
            "name": "means", "format": "onnx", "sha256": "0", "outputs": [],
            "inputs": [{"name": "input", "dtype": "float32", "shape": [null, 3, 8, 8]}],
            "path": Path::new(env!("CARGO_MANIFEST_DIR")).join("../runoff-session/tests/data/means.onnx"),
        },
    });
    let path = folder.join("request.json");
    std::fs::write(&path, request.to_string()).expect("a file");
    read_request(&path).unwrap_or_else(|error| panic!("{error}"))
}

/// The library and the environment of this test process.
fn started() -> &'static (Runtime, Environment) {
    static STARTED: OnceLock<(Runtime, Environment)> = OnceLock::new();
    STARTED.get_or_init(|| {
        let library = library_from_env().unwrap_or_else(|error| panic!("set it for these tests: {error}"));
        let runtime = Runtime::load(&library).expect("ONNX Runtime");
        let environment = runtime.make_environment().expect("an environment");
        (runtime, environment)
    })
}

/// The number of warm samples of each part, and the items and bytes of each output.
type Summary = (Vec<(String, usize)>, Vec<(Vec<usize>, Vec<u8>)>);

fn summarize(request: &Request, buffers: fn(&Session, &Chosen) -> Result<Option<Buffers>, Error>) -> Summary {
    let (runtime, environment) = started();
    let Answer { result, work } = runoff_runner::execute(request, 0, &FORMATS, |phases, _| {
        let model = Model::open(request, runtime.clone(), environment, phases, None, buffers)?;
        Ok(Box::new(model))
    });
    assert!(work.is_some(), "{:?}", result.message);
    assert_eq!(result.effective.expect("effective").device, None);
    if let Some(copy_in) = result.samples.get("copy_in") {
        let (all, parts) =
            (&result.samples["inference"], [copy_in, &result.samples["compute"], &result.samples["copy_out"]]);
        assert_eq!(all.first_ns, parts.iter().map(|part| part.first_ns).sum::<u64>());
        for (index, &total_ns) in all.warm_ns.iter().enumerate() {
            assert_eq!(total_ns, parts.iter().map(|part| part.warm_ns[index]).sum::<u64>());
        }
    }
    let samples = result.samples.iter().map(|(part, timings)| (part.clone(), timings.warm_ns.len())).collect();
    let bytes = |output: &WrittenTensor| (output.items.clone(), std::fs::read(&output.path).expect("a file"));
    (samples, result.outputs.iter().map(bytes).collect())
}

#[test]
fn on_a_device_the_answers_are_the_same_and_the_parts_are_reported() {
    let folder = tempfile::tempdir().expect("a folder");
    for (measure, batch) in [
        (json!({"kind": "once"}), 2),
        (json!({"kind": "latency", "min_samples": 4, "min_ns": 0, "warmup": 1}), 2),
        (json!({"kind": "accuracy"}), 1),
        (json!({"kind": "accuracy"}), 2),
    ] {
        let request = request(folder.path(), &measure, batch);
        let (parts, outputs) = summarize(&request, |session, _| Buffers::new(session).map(Some));
        let (plain, expected) = summarize(&request, |_, _| Ok(None));
        assert_eq!(outputs, expected, "{measure}");
        assert!(!outputs.is_empty());
        let [(inference, count)] = &plain[..] else { panic!("{plain:?}") };
        assert_eq!(inference, "inference");
        let names: Vec<_> = parts.iter().map(|(part, _)| part.as_str()).collect();
        assert_eq!(names, ["compute", "copy_in", "copy_out", "inference"]);
        assert!(parts.iter().all(|(_, own)| own == count), "{parts:?}");
    }
}

#[test]
fn batches_that_are_not_full_are_refused_where_their_size_is_fixed() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut request = request(folder.path(), &json!({"kind": "accuracy"}), 2);
    check_whole_batches(&request).expect("any batch will do on the CPU");
    request.settings.provider = "cuda".to_owned();
    let error = check_whole_batches(&request).expect_err("three items");
    assert_eq!(error.kind, Kind::BadRequest);
    let message = "settings.batch: 3 items do not fill batches of 2, and provider 'cuda' needs whole batches";
    assert_eq!(error.message, message);
    request.settings.batch = 3.try_into().expect("not zero");
    check_whole_batches(&request).expect("a full batch");
}
