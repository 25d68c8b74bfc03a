//! Prepared models, with a real ONNX Runtime.

mod common;

use std::fs::{self, File};
use std::path::Path;
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, SystemTime};

use common::{data, environment};
use runoff_session::prepare::{Format, Prepared, prepare};
use runoff_session::{
    Buffer, Dtype, Error, Kind, RawTensor, Runtime, Session, Settings, Value, library_from_env, profile,
};

fn prepared(model: &Path, folder: &Path) -> Result<Prepared, Error> {
    let runtime = Runtime::load(&library_from_env()?)?;
    prepare(&runtime, || Ok(environment().clone()), model, folder, Format::Ort)
}

#[test]
fn an_optimized_onnx_file_is_beside_the_other_and_answers_alike() {
    let folder = tempfile::tempdir().expect("a folder");
    let runtime = Runtime::load(&library_from_env().expect("a library")).expect("a runtime");
    let model = data("means.onnx");
    let made = prepare(&runtime, || Ok(environment().clone()), &model, folder.path(), Format::Onnx).expect("a model");
    let other = prepared(&model, folder.path()).expect("a prepared model");
    assert_eq!((made.path.extension(), &made.key), (Some("onnx".as_ref()), &other.key));
    assert_ne!(made.path, other.path);
    let settings = Settings::default();
    assert_eq!(means(&made.path, &settings).to_f32(), means(&model, &settings).to_f32());
}

fn means(path: &Path, settings: &Settings) -> RawTensor {
    let session = Session::open(environment(), path, settings).expect("a session");
    let mut image = Buffer::zeros(3 * 64 * 4);
    for (index, element) in (0_u16..).zip(image.floats_mut()) {
        *element = f32::from(index);
    }
    let value = Value::over(Dtype::Float32, &[1, 3, 8, 8], image.bytes()).expect("a tensor");
    let outputs = session.run(&[value]).expect("outputs");
    drop(session);
    RawTensor::copy_of(&outputs[0], "logits").expect("a tensor")
}

#[test]
fn a_prepared_model_is_made_once_and_answers_alike() {
    let folder = tempfile::tempdir().expect("a folder");
    let first = prepared(&data("means.onnx"), folder.path()).expect("a prepared model");
    let second = prepared(&data("means.onnx"), folder.path()).expect("the same");
    assert_eq!((first.made, second.made), (true, false));
    assert_eq!((&first.path, &first.key), (&second.path, &second.key));
    assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 1);
    let plain = means(&data("means.onnx"), &Settings::default());
    for name in profile::NAMES {
        assert_eq!(means(&first.path, &profile::find(name).expect(name)), plain, "{name}");
    }
}

#[test]
fn many_threads_prepare_and_open_one_model() {
    const THREADS: usize = 8;
    let plain = means(&data("means.onnx"), &Settings::default());
    for _ in 0..24 {
        let (folder, together) = (tempfile::tempdir().expect("a folder"), Barrier::new(THREADS));
        thread::scope(|scope| {
            for _ in 0..THREADS {
                scope.spawn(|| {
                    together.wait();
                    let prepared = prepared(&data("means.onnx"), folder.path()).expect("a prepared model");
                    assert_eq!(means(&prepared.path, &Settings::default()), plain);
                });
            }
        });
        assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 1);
    }
}

#[test]
fn what_a_process_left_unfinished_is_removed_after_a_day() {
    let folder = tempfile::tempdir().expect("a folder");
    for (name, hours) in [(".unfinished-old", 25), (".unfinished-new", 23), ("other", 25)] {
        let path = folder.path().join(name);
        fs::create_dir(&path).expect("a folder");
        fs::write(path.join("model.ort"), "half").expect("a file");
        let time = SystemTime::now() - Duration::from_hours(hours);
        File::open(&path).and_then(|opened| opened.set_modified(time)).expect("a time");
    }
    prepared(&data("means.onnx"), folder.path()).expect("a prepared model");
    let is_there = |name: &str| folder.path().join(name).exists();
    assert_eq!([".unfinished-old", ".unfinished-new", "other"].map(is_there), [false, true, true]);
}

#[test]
fn weights_outside_the_models_folder_are_not_read() {
    let folder = tempfile::tempdir().expect("a folder");
    let inner = folder.path().join("inner");
    fs::create_dir(&inner).expect("a folder");
    fs::write(folder.path().join("side.bin"), [0; 32]).expect("a file");
    let (model, whole) = (inner.join("model.onnx"), fs::read(data("outside.onnx")).expect("a model"));
    let place = whole.windows(11).position(|part| part == b"outside.bin").expect("a location");
    // The first file has 128 TB, the second is infinite.
    for location in ["/proc/kcore", "/dev/random", "../side.bin"] {
        let changed = [&whole[..place], location.as_bytes(), &whole[place + 11..]].concat();
        fs::write(&model, changed).expect("a model");
        let error = prepared(&model, &folder.path().join("cache")).expect_err("weights elsewhere");
        assert_eq!(error.kind, Kind::ModelUnreadable);
        let reason = format!("weights outside the model's folder: {location:?}");
        assert!(error.message.ends_with(&reason), "{error}");
    }
}

#[test]
fn a_changed_model_is_prepared_anew() {
    let folder = tempfile::tempdir().expect("a folder");
    let model = folder.path().join("model.onnx");
    let mut made = Vec::new();
    for name in ["means.onnx", "add.onnx"] {
        fs::copy(data(name), &model).expect("a model");
        made.push(prepared(&model, folder.path()).expect("a prepared model"));
    }
    assert!(made.iter().all(|prepared| prepared.made));
    assert_ne!(made[0].path, made[1].path);
}

#[test]
fn what_cannot_be_prepared_leaves_nothing_behind() {
    let folder = tempfile::tempdir().expect("a folder");
    let model = folder.path().join("model.onnx");
    let cache = folder.path().join("cache");
    assert_eq!(prepared(&model, &cache).expect_err("no model").kind, Kind::ModelMissing);
    // An ONNX file of a known version, without a graph.
    fs::write(&model, [8, 8]).expect("a file");
    let error = prepared(&model, &cache).expect_err("not a model");
    assert_eq!(error.kind, Kind::ModelUnreadable);
    assert!(error.message.contains("model.onnx"), "{error}");
    assert_eq!(fs::read_dir(&cache).expect("a folder").count(), 0);
}

#[test]
fn a_cut_file_is_unreadable() {
    let folder = tempfile::tempdir().expect("a folder");
    let whole = prepared(&data("means.onnx"), folder.path()).expect("a prepared model").path;
    let bytes = fs::read(&whole).expect("a file");
    let cut = folder.path().join("cut.ort");
    for length in [0, 10, bytes.len() / 2] {
        fs::write(&cut, &bytes[..length]).expect("a file");
        let error = Session::open(environment(), &cut, &Settings::default()).expect_err("cut");
        assert_eq!(error.kind, Kind::ModelUnreadable, "{length}");
    }
}

#[test]
fn other_weights_beside_the_model_are_another_key() {
    let folder = tempfile::tempdir().expect("a folder");
    let (model, weights) = (folder.path().join("outside.onnx"), folder.path().join("outside.bin"));
    fs::copy(data("outside.onnx"), &model).expect("a model");
    let mut answers = Vec::new();
    for weight in [1.0_f32, 2.0] {
        fs::write(&weights, weight.to_le_bytes().repeat(8)).expect("weights");
        let prepared = prepared(&model, &folder.path().join("cache")).expect("a prepared model");
        assert!(prepared.made);
        let session = Session::open(environment(), &prepared.path, &Settings::default()).expect("a session");
        let input = Buffer::zeros(32);
        let value = Value::over(Dtype::Float32, &[8], input.bytes()).expect("a tensor");
        let outputs = session.run(&[value]).expect("outputs");
        answers.push(RawTensor::copy_of(&outputs[0], "y").expect("a tensor").to_f32());
    }
    assert_eq!(answers, [Some(vec![1.0; 8]), Some(vec![2.0; 8])]);
}
