//! `runoff-ort` as people use it: its subcommands on small models.

mod common;
mod folder;

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use common::data;
use folder::{COLOURS, Ended, Folder};
use serde_json::{Value, json};

#[test]
fn classify_takes_flags_before_the_manifest() {
    let folder = Folder::new();
    let classify = ["classify", "--model", "model.onnx", "blue.png"];
    assert_eq!(folder.print(&[&classify[..], &["--top", "2"]].concat()), " 86.68 %  blue\n 11.73 %  red\n");
    let classified = folder.json(&[&classify[..], &["--top", "1", "--json", "--mean", "0,0,40"]].concat());
    assert_eq!((&classified["image"], &classified["top"][0]["label"]), (&json!("blue.png"), &json!("red")));
    let ended = folder.run(&[&classify[..], &["--mean", "1,2"]].concat());
    assert!(ended.code == Some(2) && ended.stderr.contains("--mean"), "{}", ended.stderr);
    fs::remove_file(folder.path("manifest.json")).expect("a manifest");
    let ended = folder.run(&classify);
    assert!(ended.code == Some(2) && ended.stderr.contains("--resize is not given"), "{}", ended.stderr);
}

#[test]
fn a_bad_image_is_named_and_the_others_are_classified() {
    let folder = Folder::new();
    let images = ["blue.png", "labels.txt", "nowhere.png", "red.png", "green.png"];
    for profile in ["default", "cold", "latency"] {
        for batch in ["1", "2", "3", "8"] {
            let flags = ["classify", "--model", "model.onnx", "--json", "--profile", profile, "--batch", batch];
            let ended = folder.run(&[&flags[..], &images].concat());
            assert_eq!(ended.code, Some(1), "{profile} {batch}: {}", ended.stderr);
            let reasons: Vec<_> = ended.stderr.lines().collect();
            assert_eq!(reasons.len(), 2, "{}", ended.stderr);
            assert!(reasons[0].contains("labels.txt") && reasons[1].contains("nowhere.png"), "{reasons:?}");
            let best = |line: &str| {
                let classified: Value = serde_json::from_str(line).expect("JSON");
                (classified["image"].clone(), classified["top"][0]["label"].clone())
            };
            let found: Vec<_> = ended.stdout.lines().map(best).collect();
            let expected = ["blue", "red", "green"].map(|label| (json!(format!("{label}.png")), json!(label)));
            assert_eq!(found, expected, "{profile} {batch}");
        }
    }
}

#[test]
fn several_images_are_told_apart() {
    let folder = Folder::new();
    let classify = ["classify", "--model", "model.onnx", "blue.png", "red.png"];
    let one = folder.print(&[&classify[..], &["--top", "1"]].concat());
    let names: Vec<_> = one.lines().map(|line| line.split_once(": ").expect("a name")).collect();
    assert!(names[0].0 == "blue.png" && names[0].1.ends_with("  blue"), "{one}");
    assert!(names[1].0 == "red.png" && names[1].1.ends_with("  red"), "{one}");
    let two = folder.print(&[&classify[..], &["--top", "2"]].concat());
    assert!(two.starts_with("blue.png:\n 86.68 %  blue\n") && two.contains("\n\nred.png:\n"), "{two}");
}

#[test]
fn a_model_that_takes_two_images_gets_two() {
    let folder = Folder::new();
    let mut model = fs::read(data("means.onnx")).expect("a model");
    fix_batch(&mut model, 2);
    fs::write(folder.path("model.onnx"), model).expect("a model");
    let images = COLOURS.map(|(name, _)| name);
    let flags = ["classify", "--model", "model.onnx", "--top", "1"];
    for profile in ["default", "cold"] {
        let text = folder.print(&[&flags[..], &["--profile", profile], &images].concat());
        let labels: Vec<_> = text.lines().filter_map(|line| line.rsplit(' ').next()).collect();
        assert_eq!(labels, ["blue", "red", "green"], "{text}");
    }
    let ended = folder.run(&[&flags[..], &["--batch", "3"], &images].concat());
    assert_eq!((ended.code, ended.stderr.lines().count()), (Some(2), 1));
    assert!(ended.stderr.contains("--batch 3"), "{}", ended.stderr);
}

/// Gives the dimension that is called `batch` in the ONNX file `model` the number `size`.
fn fix_batch(model: &mut [u8], size: u8) {
    // TensorShapeProto.Dimension: field 2 (dim_param) is a string, field 1 (dim_value) a number. The bytes that are
    // left over go into field 3 (denotation), so that no length changes.
    let symbol = b"\x0a\x07\x12\x05batch";
    let number = [0x0a, 7, 0x08, size, 0x1a, 3, b'a', b'b', b'c'];
    let places: Vec<_> = (0..model.len()).filter(|&place| model[place..].starts_with(symbol)).collect();
    assert_eq!(places.len(), 2, "an input and an output");
    for place in places {
        model[place..place + number.len()].copy_from_slice(&number);
    }
}

#[test]
fn a_prepared_model_is_made_once_and_answers_alike() {
    let folder = Folder::new();
    let prepare = ["prepare", "--model", "model.onnx", "--json"];
    let made = folder.json(&prepare);
    let path = made["path"].as_str().expect("a path");
    assert!(made["made"] == true && path.starts_with(folder.path("cache").to_str().expect("text")), "{made}");
    assert_eq!(folder.json(&prepare), json!({"path": path, "made": false, "key": made["key"]}));
    assert_eq!(folder.print(&["prepare", "--model", "model.onnx"]), format!("{path}\n"));

    let classify = |model: &str| {
        let images = ["blue.png", "red.png", "green.png"];
        let flags = ["classify", "--model", model, "--manifest", "manifest.json", "--json", "--profile", "cold"];
        folder.print(&[&flags[..], &images].concat())
    };
    assert_eq!(classify(path), classify("model.onnx"));

    fs::copy(data("add.onnx"), folder.path("model.onnx")).expect("a model");
    let other = folder.json(&["prepare", "--model", "model.onnx", "--folder", "elsewhere", "--json"]);
    assert!(other["made"] == true && other["key"] != made["key"], "{other}");
    assert!(other["path"].as_str().expect("a path").starts_with("elsewhere"), "{other}");

    let ended = folder.run(&["prepare", "--model", "labels.txt"]);
    assert!(ended.code == Some(1) && ended.stderr.contains("labels.txt"), "{}", ended.stderr);
    assert_eq!(fs::read_dir(folder.path("cache")).expect("a folder").count(), 1);
}

#[test]
fn many_processes_prepare_and_use_one_model() {
    const SCRIPT: &str = "prepared=$(\"$0\" prepare --model model.onnx) && \
                          exec \"$0\" classify --model \"$prepared\" --manifest manifest.json --top 1 blue.png";
    let folder = Folder::new();
    let plain = folder.print(&["classify", "--model", "model.onnx", "--top", "1", "blue.png"]);
    let start = |_| {
        let mut command = Command::new("sh");
        command.args(["-c", SCRIPT, env!("CARGO_BIN_EXE_runoff-ort")]).current_dir(&folder.0);
        command.env("RUNOFF_CACHE", folder.path("cache")).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().expect("a program")
    };
    let children: Vec<_> = (0..6).map(start).collect();
    for child in children {
        let ended = Ended::of(&child.wait_with_output().expect("an end"));
        assert_eq!((ended.code, ended.stdout.as_str(), ended.stderr.as_str()), (Some(0), plain.as_str(), ""));
    }
    assert_eq!(fs::read_dir(folder.path("cache")).expect("a folder").count(), 1);
}

#[test]
fn info_describes_onnx_and_prepared_models() {
    let folder = Folder::new();
    let info = folder.json(&["info", "model.onnx", "--json"]);
    let input = json!({"name": "input", "dtype": "float32", "shape": ["batch", 3, 8, 8]});
    assert_eq!((&info["inputs"], &info["outputs"][0]["shape"]), (&json!([input]), &json!(["batch", 3])));
    assert_eq!((&info["opsets"], &info["ir_version"]), (&json!({"ai.onnx": 17}), &json!(8)));
    assert_eq!(info["bytes"], fs::metadata(folder.path("model.onnx")).expect("a model").len());
    assert_eq!((&info["external_bytes"], &info["metadata"]["graph"]), (&json!(0), &json!("test")));
    assert_eq!(info["metadata"]["version"], 0);
    assert_eq!(info["sha256"].as_str().map(str::len), Some(64));
    let providers = info["providers"].as_array().expect("providers");
    assert!(providers.contains(&json!("CPUExecutionProvider")), "{providers:?}");
    let table = folder.print(&["info", "model.onnx"]);
    for part in ["float32 [batch, 3, 8, 8]", "ai.onnx 17", "CPUExecutionProvider"] {
        assert!(table.contains(part), "{table}");
    }

    let prepared = folder.print(&["prepare", "--model", "model.onnx"]);
    let shown = folder.json(&["info", prepared.trim_end(), "--json"]);
    assert_eq!(
        (&shown["inputs"], &shown["opsets"], &shown["ir_version"]),
        (&info["inputs"], &Value::Null, &Value::Null)
    );
    let ended = folder.run(&["info", "labels.txt"]);
    assert!(ended.code == Some(1) && ended.stderr.contains("labels.txt"), "{}", ended.stderr);
}

#[test]
fn without_the_library_nothing_can_run_here() {
    let folder = Folder::new();
    for words in [&["info", "model.onnx"][..], &["classify", "--model", "model.onnx", "red.png"]] {
        let mut command = folder.command(words);
        command.env_remove("RUNOFF_ORT_DYLIB").env_remove("VIRTUAL_ENV").env("CONDA_PREFIX", folder.0.path());
        let ended = Ended::of(&command.output().expect("a program"));
        assert_eq!((ended.code, ended.stdout.as_str()), (Some(3), ""));
        let wheel = folder.path("lib/python3*/site-packages/onnxruntime/capi");
        let searched = format!(
            "RUNOFF_ORT_DYLIB is not set; VIRTUAL_ENV is not set; CONDA_PREFIX: no library in {}",
            wheel.display()
        );
        assert!(ended.stderr.contains(&searched) && ended.stderr.lines().count() == 1, "{}", ended.stderr);
    }
}

#[cfg(unix)]
#[test]
fn the_library_is_the_flags_then_the_variables_then_the_active_environments() {
    let folder = Folder::new();
    let library = std::env::var_os("RUNOFF_ORT_DYLIB").expect("set it for these tests");
    let wheel = folder.path("lib/python3.11/site-packages/onnxruntime/capi");
    fs::create_dir_all(&wheel).expect("a folder");
    std::os::unix::fs::symlink(&library, wheel.join("libonnxruntime.so.1")).expect("a link");
    std::os::unix::fs::symlink(&library, folder.path("named.so")).expect("a link");
    let nowhere = folder.path("nowhere.so");
    for (flags, variable, code) in [
        (&[][..], None, 0),
        (&[], Some(""), 0),
        (&[], Some(nowhere.to_str().expect("text")), 3),
        (&["--library", "named.so"], Some(nowhere.to_str().expect("text")), 0),
        (&["--library", "other.so"], None, 3),
    ] {
        let mut command = folder.command(&[&["info", "model.onnx"][..], flags].concat());
        command.env_remove("RUNOFF_ORT_DYLIB").envs(variable.map(|path| ("RUNOFF_ORT_DYLIB", path)));
        let ended = Ended::of(&command.env("VIRTUAL_ENV", folder.0.path()).output().expect("a program"));
        assert_eq!(ended.code, Some(code), "{flags:?} {variable:?}: {}", ended.stderr);
    }
}

#[test]
fn a_gpu_computes_or_one_line_says_what_is_lacking() {
    let folder = Folder::new();
    let lacking = folder.json(&["--probe"])["lacking"].clone();
    for provider in ["cuda", "tensorrt"] {
        let bench = ["bench", "--model", "model.onnx", "--samples", "64", "--json", "--provider", provider];
        let classify =
            ["classify", "--model", "model.onnx", "--top", "1", "--provider", provider, "blue.png", "red.png"];
        let Some(reason) = lacking[provider].as_str() else {
            let measured = folder.json(&bench);
            assert!(measured["parts"]["copy_in"]["median_ns"].as_f64() > Some(0.0), "{measured}");
            assert!(folder.print(&classify).lines().next().is_some_and(|line| line.ends_with("  blue")));
            continue;
        };
        for words in [&bench[..], &classify, &[&classify[..], &["--profile", "cold"]].concat()] {
            let ended = folder.run(words);
            assert_eq!((ended.code, ended.stdout.as_str()), (Some(3), ""), "{words:?}: {}", ended.stderr);
            let line = format!("error: settings.provider: '{provider}' cannot be used: {reason} (");
            assert!(ended.stderr.starts_with(&line) && ended.stderr.lines().count() == 1, "{}", ended.stderr);
        }
    }
    let ended = folder.run(&["bench", "--model", "model.onnx", "--provider", "gpu"]);
    assert!(ended.code == Some(3) && ended.stderr.contains("\"gpu\""), "{}", ended.stderr);
}

#[test]
fn on_the_host_nothing_is_copied() {
    let measured = Folder::new().json(&["bench", "--model", "model.onnx", "--samples", "1", "--json"]);
    assert_eq!((&measured["provider"], &measured["device"]), (&json!("cpu"), &Value::Null));
    assert_eq!(measured["parts"], json!({}));
}

#[test]
fn every_subcommand_shows_examples() {
    let folder = Folder::new();
    for command in ["classify", "bench", "info", "prepare"] {
        let help = folder.print(&[command, "--help"]);
        assert!(help.contains(&format!("Examples:\n  runoff-ort {command} ")), "{help}");
    }
    assert!(folder.print(&[]).contains("Examples:"));
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let folder = Folder::new();
    for words in [
        &["--help"][..],
        &[],
        &["--probe"],
        &["info", "model.onnx"],
        &["bench", "--model", "model.onnx", "--samples", "1"],
        &["prepare", "--model", "model.onnx"],
    ] {
        let mut child = folder.command(words).stdout(Stdio::piped()).spawn().expect("a program");
        drop(child.stdout.take());
        assert_eq!(child.wait().expect("an end").code(), Some(0), "{words:?}");
    }
    let many = [&["classify", "--model", "model.onnx", "--json"][..], &vec!["red.png"; 2000]].concat();
    let mut child = folder.command(&many).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("a program");
    let mut line = String::new();
    BufReader::new(child.stdout.take().expect("stdout")).read_line(&mut line).expect("a line");
    assert!(line.contains("red.png"), "{line}");
    let ended = Ended::of(&child.wait_with_output().expect("an end"));
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
}
