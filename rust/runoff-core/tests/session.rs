//! Sessions on a real ONNX Runtime and small models.

mod common;

use std::num::NonZeroUsize;
use std::path::Path;

use common::{data, environment};
use ort::session::SessionInputValue;
use ort::value::{Tensor, TensorElementType};
use runoff_core::Kind;
use runoff_core::error::Error;
use runoff_core::protocol::{Execution, Optimization, Settings, TensorSpec};
use runoff_core::session::Session;
use runoff_core::tensor::RawTensor;

fn open(path: &Path, settings: &Settings) -> Result<Session, Error> {
    Session::open(environment(), path, settings)
}

fn floats(shape: [usize; 2], values: &[f32]) -> SessionInputValue<'static> {
    Tensor::from_array((shape, values.to_vec())).expect("a tensor").into()
}

fn add_inputs(rows: usize) -> Vec<(String, SessionInputValue<'static>)> {
    let counts: Vec<i64> = (0..).take(rows).collect();
    vec![
        ("n".to_owned(), Tensor::from_array(([rows], counts)).expect("a tensor").into()),
        ("b".to_owned(), floats([rows, 2], &vec![0.5; rows * 2])),
        ("a".to_owned(), floats([rows, 2], &vec![1.0; rows * 2])),
    ]
}

#[test]
fn inputs_may_come_in_any_order_and_several_dtypes() {
    let mut session = open(&data("add.onnx"), &Settings::default()).expect("a session");
    let outputs = session.run_named(add_inputs(3)).expect("outputs");
    assert_eq!(RawTensor::copy_of(&outputs["sum"], "sum").expect("sum").to_f32(), Some(vec![1.5; 6]));
    let count = outputs["count"].try_extract_tensor::<i64>().expect("count");
    assert_eq!(count.1, [0, 2, 4]);
    assert_eq!(outputs["count"].dtype().tensor_type(), Some(TensorElementType::Int64));
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
        ..Settings::default()
    };
    let basic = Settings {
        optimization: Some(Optimization::Basic),
        spinning: Some(true),
        arena: Some(true),
        prepacking: Some(true),
        execution: Some(Execution::Sequential),
        ..Settings::default()
    };
    let mut answers = Vec::new();
    for settings in [Settings::default(), all, basic] {
        let mut session = open(&data("add.onnx"), &settings).expect("a session");
        let outputs = session.run_named(add_inputs(2)).expect("outputs");
        answers.push(RawTensor::copy_of(&outputs[0], "sum").expect("sum"));
    }
    assert!(answers.windows(2).all(|pair| pair[0] == pair[1]));
}

#[test]
fn what_does_not_fit_the_model_is_a_mismatch() {
    let mut session = open(&data("add.onnx"), &Settings::default()).expect("a session");
    let mut message = |inputs| {
        let error = session.run_named(inputs).map(|_| ()).expect_err("a mismatch");
        assert_eq!(error.kind, Kind::ModelMismatch);
        error.message
    };
    assert!(message(add_inputs(1).split_off(1)).contains("\"n\""));
    assert!(message(vec![("x".to_owned(), floats([1, 2], &[0.0; 2]))]).contains("it has: a, b, n"));
    assert!(message(vec![("a".to_owned(), floats([1, 3], &[0.0; 3]))]).contains("[?, 2], not float32 of shape [1, 3]"));
    assert!(message(vec![("n".to_owned(), floats([1, 2], &[0.0; 2]))]).contains("takes int64"));
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
        Settings { provider: "cuda".into(), ..Settings::default() },
        Settings { precision: "fp16".into(), ..Settings::default() },
    ] {
        let error = open(&data("add.onnx"), &settings).expect_err("not in this build");
        assert_eq!(error.kind, Kind::ProviderUnavailable);
    }
}
