//! `runoff-ort` on numbers and files that are meant to bring it down: one line of error and an exit code, in memory that is
//! limited so that no system lends more than it has.

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use common::{data, write_image};
use serde_json::{Value, json};
use tempfile::TempDir;

/// Address space of the program, in KiB: ONNX Runtime alone takes half a gigabyte.
const MEMORY_KIB: u32 = 3 << 20;

fn folder() -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    fs::copy(data("means.onnx"), folder.path().join("model.onnx")).expect("a model");
    write_image(&folder.path().join("red.png"), [90, 10, 0]);
    let made = Command::new("mkfifo").arg(folder.path().join("pipe")).status().expect("mkfifo");
    assert!(made.success());
    folder
}

/// The program in `folder`; it is ended after a while, because it would wait at a pipe or a device for ever.
fn run(folder: &Path, words: &[&str]) -> Output {
    let limited = format!("ulimit -v {MEMORY_KIB} && exec timeout 300 \"$0\" \"$@\"");
    let mut command = Command::new("sh");
    command.args(["-c", &limited, env!("CARGO_BIN_EXE_runoff-ort")]).args(words);
    command.current_dir(folder).stdin(Stdio::null()).output().expect("a program")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn numbers_that_are_too_large_are_an_error_of_one_line() {
    let folder = folder();
    let bench = ["bench", "--model", "model.onnx"];
    let flags =
        ["--interpolation", "bilinear", "--mean", "0,0,0", "--std", "1,1,1", "--model", "model.onnx", "red.png"];
    let classify = [&["classify"], &flags[..]].concat();
    for (words, named) in [
        ([&bench[..], &["--samples", "1000000000000"]].concat(), "--samples"),
        ([&bench[..], &["--samples", "18446744073709551615"]].concat(), "--samples"),
        ([&bench[..], &["--warmup", "1000000000000"]].concat(), "--warmup"),
        ([&bench[..], &["--concurrency", "1000000000000"]].concat(), "--concurrency"),
        ([&bench[..], &["--dim", "batch=1000000000"]].concat(), "--dim"),
        ([&bench[..], &["--shape", "input=1000000000,3,8,8"]].concat(), "--shape input"),
        ([&bench[..], &["--threads", "4294967296"]].concat(), "threads"),
        ([&bench[..], &["--threads", "100000"]].concat(), "threads"),
        ([&classify[..], &["--resize", "200000", "--crop", "200000"]].concat(), "crop"),
        ([&classify[..], &["--resize", "4294967295", "--crop", "4294967295"]].concat(), "crop"),
    ] {
        let ended = run(folder.path(), &words);
        let stderr = text(&ended.stderr);
        assert_eq!(ended.status.code(), Some(2), "{words:?}: {stderr}");
        assert!(stderr.starts_with("error: ") && stderr.lines().count() == 1 && stderr.contains(named), "{stderr}");
    }
}

#[test]
fn a_batch_that_is_larger_than_the_images_holds_all_of_them() {
    let folder = folder();
    let flags = ["--interpolation", "bilinear", "--mean", "0,0,0", "--std", "1,1,1", "--resize", "9", "--crop", "8"];
    for batch in ["100000000", "18446744073709551615"] {
        for profile in ["default", "cold"] {
            let images = ["--batch", batch, "--profile", profile, "--top", "1", "red.png", "red.png"];
            let ended = run(folder.path(), &[&["classify", "--model", "model.onnx"], &flags[..], &images].concat());
            assert_eq!((ended.status.code(), text(&ended.stderr).as_str()), (Some(0), ""));
            assert_eq!(text(&ended.stdout).lines().count(), 2);
        }
    }
}

/// A PNG file with a colour profile of more than 3 GB of zeros, in 20 MB.
fn write_bomb(path: &Path) {
    write_image(path, [90, 10, 0]);
    let file = fs::read(path).expect("a file");
    // The last block, with fixed codes; a zero; 258 zeros more by copying what comes one before, again and again.
    let begin = [true, true, false, false, false, true, true, false, false, false, false];
    let copy = [true, true, false, false, false, true, false, true, false, false, false, false, false];
    let bits: Vec<bool> = begin.into_iter().chain(copy.repeat(16)).collect();
    let byte = |bits: &[bool]| bits.iter().rev().fold(0_u8, |byte, &bit| byte << 1 | u8::from(bit));
    let bytes: Vec<u8> = bits.chunks_exact(8).map(byte).collect();
    // Eight copies are 13 bytes, after which the bits come again.
    let stream = [&[0x78, 1], &bytes[..2], &bytes[2..15].repeat((3 << 30) / (258 * 8) + 1)].concat();
    let chunk = [b"iCCPp\0\0", &stream[..]].concat();
    let length = u32::try_from(chunk.len() - 4).expect("a chunk").to_be_bytes();
    // Behind the signature and the header, which are 8 and 25 bytes.
    fs::write(path, [&file[..33], &length, &chunk, &crc32(&chunk).to_be_bytes(), &file[33..]].concat())
        .expect("a file");
}

/// CRC-32 as PNG chunks carry it (ISO 3309).
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| if crc & 1 == 1 { (crc >> 1) ^ 0xedb8_8320 } else { crc >> 1 })
    })
}

#[test]
fn a_colour_profile_is_not_unpacked() {
    let folder = folder();
    write_bomb(&folder.path().join("bomb.png"));
    let flags = ["--interpolation", "bilinear", "--mean", "0,0,0", "--std", "1,1,1", "--resize", "9", "--crop", "8"];
    let classify = |image| run(folder.path(), &[&["classify", "--model", "model.onnx", image], &flags[..]].concat());
    let (plain, bomb) = (classify("red.png"), classify("bomb.png"));
    assert_eq!((bomb.status.code(), text(&bomb.stderr).as_str()), (Some(0), ""));
    assert_eq!(bomb.stdout, plain.stdout);
}

/// A change of a request.
type Change = fn(&mut Value);

/// Serves the request that `change` makes of a good one; returns the exit code and the result.
fn serve(folder: &Path, workload: &str, change: Change) -> (Option<i32>, Value) {
    let path = |name: &str| folder.join(name);
    fs::write(path("x.bin"), [0; 768]).expect("a file");
    let item = json!({
        "image": path("red.png"),
        "tensors": {"input": {"path": path("x.bin"), "dtype": "float32", "shape": [1, 3, 8, 8]}},
    });
    let mut request = json!({
        "case": "c", "workload": workload, "outputs_dir": folder, "inputs": [item],
        "settings": {}, "measure": {"kind": "once"},
        "model": {
            "name": "means", "format": "onnx", "sha256": "0", "path": path("model.onnx"), "outputs": [],
            "inputs": [{"name": "input", "dtype": "float32", "shape": [null, 3, 8, 8]}],
        },
    });
    if workload == "classify" {
        request["preprocess"] =
            json!({"resize": 9, "crop": 8, "interpolation": "bicubic", "mean": [0, 0, 0], "std": [10, 10, 10]});
    }
    change(&mut request);
    let files: [PathBuf; 2] = [path("request.json"), path("result.json")];
    fs::write(&files[0], request.to_string()).expect("a request");
    let ended = run(folder, &["--request", "request.json", "--result", "result.json"]);
    let result = fs::read(&files[1]).unwrap_or_else(|_| panic!("{workload}: {}", text(&ended.stderr)));
    fs::remove_file(&files[1]).expect("a result");
    (ended.status.code(), serde_json::from_slice(&result).expect("JSON"))
}

#[test]
fn a_request_of_too_much_is_a_bad_request() {
    let folder = folder();
    let changes: [(&str, Change); 8] = [
        ("tensor", |_| {}),
        ("classify", |_| {}),
        ("tensor", |request| request["settings"]["threads"] = json!(1_u64 << 32)),
        ("tensor", |request| request["settings"]["inter_threads"] = json!(1_u64 << 32)),
        ("tensor", |request| request["settings"]["batch"] = json!(1_u64 << 40)),
        ("classify", |request| request["settings"] = json!({"batch": u64::MAX, "overlap": true})),
        ("classify", |request| request["preprocess"]["resize"] = json!(u32::MAX)),
        ("tensor", |request| {
            request["measure"] = json!({"kind": "latency", "min_samples": 1_u64 << 60, "min_ns": 0, "warmup": 0});
        }),
    ];
    for (number, (workload, change)) in changes.into_iter().enumerate() {
        let (code, result) = serve(folder.path(), workload, change);
        let expected = if number < 2 || number == 6 { (Some(0), Value::Null) } else { (Some(2), json!("bad-request")) };
        assert_eq!((code, result["kind"].clone()), expected, "{number}: {result}");
    }
}

#[test]
fn a_request_is_not_led_to_pipes_and_devices() {
    let folder = folder();
    let changes: [(&str, &str, Change); 6] = [
        ("classify", "image-unreadable", |request| request["inputs"][0]["image"] = json!("pipe")),
        ("classify", "image-unreadable", |request| request["inputs"][0]["image"] = json!("/dev/zero")),
        ("classify", "bad-request", |request| request["labels"] = json!("/dev/zero")),
        ("tensor", "tensor-unreadable", |request| request["inputs"][0]["tensors"]["input"]["path"] = json!("pipe")),
        ("tensor", "model-unreadable", |request| request["model"]["path"] = json!("pipe")),
        ("tensor", "model-unreadable", |request| request["model"]["path"] = json!("/dev/zero")),
    ];
    for (number, (workload, kind, change)) in changes.into_iter().enumerate() {
        let (code, result) = serve(folder.path(), workload, change);
        let expected = if kind == "bad-request" { 2 } else { 1 };
        assert_eq!((code, &result["kind"]), (Some(expected), &json!(kind)), "{number}: {result}");
    }
}
