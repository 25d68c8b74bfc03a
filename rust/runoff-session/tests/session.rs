//! Sessions with a real ONNX Runtime and small models.

mod common;

use std::num::NonZeroUsize;
use std::path::Path;
use std::thread;

use common::{data, environment};
use runoff_session::{
    Buffer, Dtype, Error, Execution, Form, Kind, Optimization, RawTensor, Runtime, Session, Settings, TensorSpec,
    Value, built_in_providers, library_from_env, providers, unavailable_providers,
};

fn open(path: &Path, settings: &Settings) -> Result<Session, Error> {
    Session::open(environment(), path, settings)
}

fn floats(values: &[f32]) -> Buffer {
    let mut buffer = Buffer::zeros(size_of_val(values));
    buffer.floats_mut().copy_from_slice(values);
    buffer
}

/// Runs `sum = a + b` of shape [rows, 2] and `count = n + n` of shape [rows], with 1.0, 0.5 and 0, 1, 2, ...
fn add(session: &Session, rows: usize) -> Result<Vec<Value<'static>>, Error> {
    let (a, b) = (floats(&vec![1.0; rows * 2]), floats(&vec![0.5; rows * 2]));
    let counts: Vec<u8> = (0_i64..).take(rows).flat_map(i64::to_le_bytes).collect();
    let mut n = Buffer::zeros(counts.len());
    n.bytes_mut().copy_from_slice(&counts);
    let values = [
        Value::over(Dtype::Float32, &[rows, 2], a.bytes())?,
        Value::over(Dtype::Float32, &[rows, 2], b.bytes())?,
        Value::over(Dtype::Int64, &[rows], n.bytes())?,
    ];
    session.run(&values)?.into_iter().map(|output| output.detach("an output")).collect()
}

fn address(value: &Value<'_>) -> usize {
    value.tensor("a value").expect("a tensor").data().addr()
}

fn sum(outputs: &[Value<'_>]) -> RawTensor {
    RawTensor::copy_of(&outputs[0], "sum").expect("a tensor")
}

#[test]
fn a_model_with_several_dtypes_answers() {
    let session = open(&data("add.onnx"), &Settings::default()).expect("a session");
    let outputs = add(&session, 3).expect("outputs");
    assert_eq!(sum(&outputs).to_f32(), Some(vec![1.5; 6]));
    let count = outputs[1].tensor("count").expect("a tensor");
    assert_eq!((count.dtype, count.dims()), (Dtype::Int64, vec![3]));
    assert_eq!(count.bytes(), [0_i64, 2, 4].map(i64::to_le_bytes).concat());
    assert_eq!(outputs[1].form().expect("a form"), Form::Tensor);
}

#[test]
fn nothing_is_a_batch_too() {
    let session = open(&data("add.onnx"), &Settings::default()).expect("a session");
    let outputs = add(&session, 0).expect("outputs");
    assert_eq!(sum(&outputs), RawTensor { dtype: Dtype::Float32, shape: vec![0, 2], bytes: vec![] });
}

#[test]
fn outputs_are_written_into_what_is_given_and_inputs_come_in_any_order() {
    let session = open(&data("add.onnx"), &Settings::default()).expect("a session");
    let (a, b, n, mut target) = (floats(&[1.0, 2.0]), floats(&[0.5, 0.25]), Buffer::zeros(8), Buffer::zeros(8));
    let tensor = |buffer| Value::over(Dtype::Float32, &[1, 2], buffer).expect("a tensor");
    let counts = Value::over(Dtype::Int64, &[1], n.bytes()).expect("a tensor");
    let values = [counts, tensor(b.bytes()), tensor(a.bytes())];
    let places = ["n", "b", "a"].map(|name| session.input(name).expect("an input"));
    let wanted = [session.output("sum").expect("an output")];
    let bytes = target.bytes_mut().as_mut_ptr();
    // SAFETY: `target` has 8 bytes, outlives the value, and is not used during the call.
    let result = unsafe { Value::over_raw(Dtype::Float32, &[1, 2], bytes.cast(), 8) }.expect("a tensor");
    let mut results = [Some(result)];
    // SAFETY: as above.
    unsafe { session.run_some(&places, &values, &wanted, &mut results) }.expect("a sum");
    drop(results);
    assert_eq!(target, floats(&[1.5, 2.25]));
}

#[test]
fn an_output_that_is_an_input_passed_on_can_be_made_to_last() {
    let session = open(&data("found.onnx"), &Settings::default()).expect("a session");
    let mut x = floats(&[0.0, 3.0, 0.0, 1.0]);
    let inputs = [Value::over(Dtype::Float32, &[1, 4], x.bytes()).expect("a tensor")];
    let outputs = session.run(&inputs).expect("outputs");
    assert_eq!(address(&outputs[1]), address(&inputs[0]));
    let detached = outputs.into_iter().map(|output| output.detach("an output"));
    let outputs: Vec<Value<'static>> = detached.collect::<Result<_, _>>().expect("outputs");
    drop(inputs);
    x.floats_mut().fill(9.0);
    let numbers = |place: usize| RawTensor::copy_of(&outputs[place], "an output").expect("a tensor").to_f32();
    assert_eq!((numbers(1), numbers(2)), (Some(vec![0.0, 3.0, 0.0, 1.0]), Some(vec![0.0, 6.0, 0.0, 2.0])));
}

#[test]
fn whatever_is_passed_on_is_copied_or_refused() {
    let session = open(&data("passed.onnx"), &Settings::default()).expect("a session");
    let mut x = floats(&[1.0, 2.0, 3.0, 4.0]);
    let tensor = || Value::over(Dtype::Float32, &[4], x.bytes()).expect("a tensor");
    let inputs = [tensor(), Value::sequence(&[tensor()]).expect("a sequence")];
    let outputs = session.run(&inputs).expect("outputs");
    let detached: Vec<_> = outputs.into_iter().map(|output| output.detach("an output")).collect();
    drop(inputs);
    x.floats_mut().fill(9.0);
    for (info, output) in session.outputs().iter().zip(detached) {
        if info.dtype.is_some() {
            let copy = RawTensor::copy_of(&output.expect(&info.name), &info.name).expect("a tensor");
            assert_eq!(copy.to_f32(), Some(vec![1.0, 2.0, 3.0, 4.0]), "{}", info.name);
        } else {
            assert_eq!(output.expect_err(&info.name).kind, Kind::ModelMismatch);
        }
    }
}

#[test]
fn bytes_that_are_no_elements_are_refused() {
    open(&data("add.onnx"), &Settings::default()).expect("ONNX Runtime, loaded");
    let mut buffer = Buffer::zeros(40);
    for dtype in [Dtype::Float16, Dtype::Float32, Dtype::Float64, Dtype::Int64] {
        let over = |start: usize, count: usize| {
            Value::over(dtype, &[count], &buffer.bytes()[start..start + count * dtype.size()]).map(drop)
        };
        over(dtype.alignment(), 1).expect("aligned");
        over(1, 0).expect("nothing");
        for start in [1, dtype.alignment() / 2, dtype.alignment() + 1] {
            let error = over(start, 1).expect_err("misaligned");
            assert!(error.message.contains(dtype.name()), "{error}");
        }
    }
    Value::over(Dtype::Bool, &[3], &buffer.bytes()[1..4]).expect("aligned and false");
    buffer.bytes_mut()[2] = 2;
    Value::over(Dtype::Bool, &[3], &buffer.bytes()[1..4]).expect_err("neither false nor true");
}

#[test]
fn more_threads_than_a_machine_has_are_refused() {
    for threads in [1025, 1 << 31, 1 << 32, usize::MAX] {
        let threads = NonZeroUsize::new(threads).expect("not zero");
        for (name, settings) in [
            ("threads", Settings { threads, ..Settings::default() }),
            ("inter_threads", Settings { inter_threads: Some(threads), ..Settings::default() }),
        ] {
            let error = open(&data("add.onnx"), &settings).expect_err("too many");
            assert_eq!(error.kind, Kind::BadRequest);
            assert!(error.message.contains(&format!("settings.{name} is {threads}")), "{error}");
        }
    }
}

#[test]
fn many_threads_share_one_session() {
    let session = open(&data("add.onnx"), &Settings::default()).expect("a session");
    std::thread::scope(|scope| {
        for rows in 1..9 {
            let session = &session;
            scope.spawn(move || {
                for _ in 0..200 {
                    let outputs = add(session, rows).expect("outputs");
                    assert_eq!(sum(&outputs).to_f32(), Some(vec![1.5; rows * 2]));
                }
            });
        }
    });
}

#[test]
fn strings_and_sequences_keep_what_goes_in() {
    open(&data("add.onnx"), &Settings::default()).expect("ONNX Runtime, loaded");
    let texts = ["", "a", "zwei \0 Wörter"];
    let value = Value::strings(&[3], &texts).expect("a tensor");
    assert_eq!(value.tensor("texts").expect("a tensor").dtype, Dtype::Str);
    assert_eq!(value.texts(3).expect("texts"), texts);
    let (one, two) = (floats(&[1.0]), floats(&[2.0, 3.0]));
    let tensors = [&one, &two]
        .map(|buffer| Value::over(Dtype::Float32, &[buffer.bytes().len() / 4], buffer.bytes()).expect("a tensor"));
    let sequence = Value::sequence(&tensors).expect("a sequence");
    assert_eq!(sequence.form().expect("a form"), Form::Sequence);
    let items = sequence.items().expect("items");
    assert_eq!(RawTensor::copy_of(&items[1], "two").expect("a tensor").to_f32(), Some(vec![2.0, 3.0]));
    assert_ne!(address(&items[1]), address(&tensors[1]), "items outlive the tensors that the sequence is made of");
    let error = sequence.tensor("list").expect_err("no tensor");
    assert_eq!(error.kind, Kind::ModelMismatch);
    assert!(Value::over(Dtype::Float32, &[3], one.bytes()).is_err());
}

#[test]
fn every_setting_can_be_applied_and_none_changes_the_answer() {
    let all = Settings {
        threads: NonZeroUsize::MIN.saturating_add(2),
        inter_threads: Some(NonZeroUsize::MIN.saturating_add(1)),
        optimization: Some(Optimization::Extended),
        spinning: Some(false),
        arena: Some(false),
        prepacking: Some(false),
        execution: Some(Execution::Parallel),
        force_spinning_stop: true,
        ..Settings::default()
    };
    let basic = Settings {
        optimization: Some(Optimization::Basic),
        spinning: Some(true),
        spin_duration_us: Some(500),
        spin_backoff_max: NonZeroUsize::new(8),
        arena: Some(true),
        prepacking: Some(true),
        execution: Some(Execution::Sequential),
        ..Settings::default()
    };
    let mut answers = Vec::new();
    for settings in [Settings::default(), all, basic] {
        let session = open(&data("add.onnx"), &settings).expect("a session");
        answers.push(sum(&add(&session, 2).expect("outputs")));
    }
    assert!(answers.windows(2).all(|pair| pair[0] == pair[1]));
}

#[test]
fn what_does_not_fit_the_model_is_a_mismatch() {
    let session = open(&data("add.onnx"), &Settings::default()).expect("a session");
    let message = |outcome: Result<(), Error>| {
        let error = outcome.expect_err("a mismatch");
        assert_eq!(error.kind, Kind::ModelMismatch);
        error.message
    };
    assert!(message(session.check_all_given(&[0, 1])).contains("\"n\""));
    assert!(message(session.input("x").map(drop)).contains("it has: a, b, n"));
    assert!(message(session.output("x").map(drop)).contains("it has: sum, count"));
    let wide = message(session.check_tensor(0, Dtype::Float32, &[1, 3]));
    assert!(wide.contains("[?, 2], not float32 of shape [1, 3]"), "{wide}");
    assert!(message(session.check_tensor(2, Dtype::Float32, &[1])).contains("takes int64"));
    session.check_tensor(0, Dtype::Float32, &[0, 2]).expect("no rows fit");
}

#[test]
fn metadata_names_the_maker_of_the_model() {
    let session = open(&data("add.onnx"), &Settings::default()).expect("a session");
    let metadata = session.metadata().expect("metadata");
    assert_eq!(metadata.graph, "test");
    assert!(metadata.custom.is_empty());
}

#[test]
fn the_requests_inputs_are_compared_with_the_models() {
    let session = open(&data("means.onnx"), &Settings::default()).expect("a session");
    let spec = |name: &str, dtype: &str, shape: &[Option<usize>]| {
        vec![TensorSpec { name: name.into(), dtype: dtype.into(), shape: shape.into() }]
    };
    let fits = [None, Some(3), Some(8), Some(8)];
    session.check_inputs(&spec("input", "float32", &fits)).expect("the model's own");
    session.check_inputs(&spec("input", "float32", &[Some(2), Some(3), None, Some(8)])).expect("more or less fixed");
    let unfit = [
        spec("image", "float32", &fits),
        spec("input", "float64", &fits),
        spec("input", "float32", &fits[1..]),
        spec("input", "float32", &[None, Some(3), Some(9), Some(8)]),
        vec![],
    ];
    for expected in unfit {
        let error = session.check_inputs(&expected).expect_err("a mismatch");
        assert_eq!(error.kind, Kind::ModelMismatch, "{expected:?}");
        assert!(error.message.contains("input"), "{error}");
    }
}

#[test]
fn bad_model_files_are_told_apart() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("model.onnx");
    let kind = || {
        let error = open(&path, &Settings::default()).expect_err("a bad model");
        assert!(error.message.contains("model.onnx"), "{error}");
        assert!(!error.message.contains('\n'), "{error}");
        error.kind
    };
    assert_eq!(kind(), Kind::ModelMissing);
    std::fs::write(&path, []).expect("a file");
    assert_eq!(kind(), Kind::ModelUnreadable);
    std::fs::write(&path, "not a model").expect("a file");
    assert_eq!(kind(), Kind::ModelUnreadable);
    let whole = std::fs::read(data("means.onnx")).expect("a model");
    std::fs::write(&path, &whole[..whole.len() / 2]).expect("a file");
    assert_eq!(kind(), Kind::ModelUnreadable);
    let error = open(folder.path(), &Settings::default()).expect_err("a folder");
    assert_eq!(error.kind, Kind::ModelUnreadable);
}

#[test]
fn what_is_not_in_this_build_is_refused() {
    for settings in [
        Settings { provider: "coreml-tpu".into(), ..Settings::default() },
        Settings { precision: "fp8".into(), ..Settings::default() },
    ] {
        let error = open(&data("add.onnx"), &settings).expect_err("not in this build");
        assert_eq!(error.kind, Kind::ProviderUnavailable);
    }
}

#[test]
fn a_provider_that_is_not_offered_lacks_something_and_says_what() {
    open(&data("add.onnx"), &Settings::default()).expect("ONNX Runtime, loaded");
    let (offered, lacking) = (providers().expect("names"), unavailable_providers().expect("reasons"));
    for provider in ["cuda", "tensorrt"] {
        assert_ne!(offered.contains(&provider), lacking.contains_key(provider), "{provider}");
    }
    for (provider, reason) in lacking {
        let settings = Settings { provider: provider.clone(), ..Settings::default() };
        let error = open(&data("add.onnx"), &settings).expect_err("lacking");
        assert_eq!(error.kind, Kind::ProviderUnavailable);
        assert_eq!(error.message, format!("settings.provider: '{provider}' cannot be used: {reason}"));
    }
}

#[test]
fn core_mls_providers_are_offered_where_the_library_has_core_ml() {
    open(&data("add.onnx"), &Settings::default()).expect("ONNX Runtime, loaded");
    let built_in = built_in_providers().expect("names");
    let offered = providers().expect("names");
    assert_eq!(offered[0], "cpu");
    let is_there = built_in.iter().any(|name| name == "CoreMLExecutionProvider");
    for name in ["coreml", "coreml-cpu", "coreml-gpu", "coreml-ne"] {
        assert_eq!(offered.contains(&name), is_there, "{name}");
    }
}

#[test]
fn code_is_released_while_eight_threads_run_it() {
    let session = open(&data("add.onnx"), &Settings::default()).expect("a session");
    let runtime = Runtime::load(&library_from_env().expect("a library")).expect("the runtime");
    thread::scope(|scope| {
        let run = || (0..200).all(|_| sum(&add(&session, 3).expect("outputs")).to_f32() == Some(vec![1.5; 6]));
        let runs: Vec<_> = (0..8).map(|_| scope.spawn(run)).collect();
        while !runs.iter().all(thread::ScopedJoinHandle::is_finished) {
            runtime.release_code();
        }
        assert!(runs.into_iter().all(|run| run.join().expect("no panic")));
    });
}
