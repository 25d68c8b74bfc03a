//! I/O binding with a real ONNX Runtime, in host memory. All code except the copies also runs on a GPU.

mod common;

use common::{data, environment};
use runoff_session::{Buffer, Buffers, Dtype, Kind, RawTensor, Results, Session, Settings, Value};

fn open(model: &str) -> Session {
    Session::open(environment(), &data(model), &Settings::default()).expect("a session")
}

fn floats(values: &[f32]) -> Buffer {
    let mut buffer = Buffer::zeros(size_of_val(values));
    buffer.floats_mut().copy_from_slice(values);
    buffer
}

fn tensor<'a>(shape: &[usize], buffer: &'a Buffer) -> Value<'a> {
    Value::over(Dtype::Float32, shape, buffer.bytes()).expect("a tensor")
}

fn addresses(values: &[Value<'_>]) -> Vec<usize> {
    values.iter().map(|value| value.tensor("an output").expect("a tensor").data().addr()).collect()
}

/// Runs `sum = a + b` and `count = n + n` with `a` = 1, `b` = 0.5 and `n` = 7 in each of `rows`.
fn add(buffers: &mut Buffers, rows: usize, results: &mut Results) -> u64 {
    let (a, b) = (floats(&vec![1.0; rows * 2]), floats(&vec![0.5; rows * 2]));
    let mut n = Buffer::zeros(rows * 8);
    n.bytes_mut().copy_from_slice(&7_i64.to_le_bytes().repeat(rows));
    let counts = Value::over(Dtype::Int64, &[rows], n.bytes()).expect("a tensor");
    let parts = buffers.run(&[tensor(&[rows, 2], &a), tensor(&[rows, 2], &b), counts], results).expect("a run");
    assert!(parts.copy_in_ns > 0 && parts.compute_ns > 0 && parts.copy_out_ns > 0);
    assert_eq!(RawTensor::copy_of(&results[0], "sum").expect("a tensor").to_f32(), Some(vec![1.5; rows * 2]));
    let count = RawTensor::copy_of(&results[1], "count").expect("a tensor");
    assert_eq!((count.shape, count.bytes), (vec![rows], 14_i64.to_le_bytes().repeat(rows)));
    parts.total_ns()
}

#[test]
fn inputs_go_in_outputs_come_out_and_all_memory_is_used_again() {
    let session = open("add.onnx");
    let (mut buffers, mut results) = (Buffers::new(&session).expect("buffers"), Results::default());
    assert!(add(&mut buffers, 3, &mut results) > 0);
    let before = addresses(&results);
    add(&mut buffers, 3, &mut results);
    assert_eq!(addresses(&results), before);
    for rows in [2, 5, 0, 3] {
        add(&mut buffers, rows, &mut results);
    }
}

#[test]
fn what_goes_in_is_read_at_each_run_and_not_later() {
    let session = open("means.onnx");
    let (mut buffers, mut results) = (Buffers::new(&session).expect("buffers"), Results::default());
    let mut image = floats(&[[1.0; 64], [2.0; 64], [3.0; 64]].concat());
    buffers.copy_in(&[tensor(&[1, 3, 8, 8], &image)]).expect("a copy");
    image.floats_mut().fill(9.0);
    buffers.compute().expect("a run");
    buffers.copy_out(&mut results).expect("a copy");
    let logits = |results: &[Value<'_>]| RawTensor::copy_of(&results[0], "logits").expect("a tensor").to_f32();
    assert_eq!(logits(&results), Some(vec![1.0, 2.0, 3.0]));
    buffers.run(&[tensor(&[1, 3, 8, 8], &image)], &mut results).expect("a run");
    assert_eq!(logits(&results), Some(vec![9.0; 3]));
}

#[test]
fn an_output_of_any_shape_is_made_at_each_run_and_its_shape_read() {
    let session = open("found.onnx");
    let (mut buffers, mut results) = (Buffers::new(&session).expect("buffers"), Results::default());
    for (x, found) in [([0.0, 3.0, 0.0, 0.0], 1), ([1.0, 0.0, 2.0, 3.0], 3), ([0.0; 4], 0), ([1.0, 1.0, 0.0, 0.0], 2)] {
        let input = floats(&x);
        buffers.run(&[tensor(&[1, 4], &input)], &mut results).expect("a run");
        let outputs: Vec<_> =
            results.iter().map(|value| RawTensor::copy_of(value, "an output").expect("a tensor")).collect();
        assert_eq!((outputs[0].dtype, &outputs[0].shape), (Dtype::Int64, &vec![2, found]));
        assert_eq!(outputs[1].to_f32(), Some(x.to_vec()));
        assert_eq!(outputs[2].to_f32(), Some(x.map(|value| 2.0 * value).to_vec()));
    }
}

#[test]
fn buffers_outlive_their_session_and_go_to_other_threads() {
    let mut buffers = Buffers::new(&open("add.onnx")).expect("buffers");
    let worker = std::thread::spawn(move || add(&mut buffers, 2, &mut Results::default()));
    assert!(worker.join().expect("no panic") > 0);
}

#[test]
fn steps_out_of_order_are_told() {
    let session = open("means.onnx");
    let (mut buffers, mut results) = (Buffers::new(&session).expect("buffers"), Results::default());
    assert_eq!(buffers.compute().expect_err("no inputs").kind, Kind::RuntimeFailed);
    let image = floats(&[0.0; 192]);
    buffers.copy_in(&[tensor(&[1, 3, 8, 8], &image)]).expect("a copy");
    let error = buffers.copy_out(&mut results).expect_err("nothing computed");
    assert_eq!((error.kind, error.message.as_str()), (Kind::RuntimeFailed, "there are no outputs to be copied"));
    buffers.compute().expect("a run");
    buffers.copy_out(&mut results).expect("a copy");
    // After a failed run, the outputs of the previous run are not returned.
    buffers.copy_in(&[tensor(&[1, 2, 8, 8], &floats(&[0.0; 128]))]).expect("a copy");
    buffers.compute().expect_err("two channels");
    buffers.copy_out(&mut results).expect_err("nothing computed");
}
