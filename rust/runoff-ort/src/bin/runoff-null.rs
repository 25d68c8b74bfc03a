//! A runner that speaks the protocol and computes nothing: what it costs is what runoff itself costs.

#![forbid(unsafe_code)]

use std::process::ExitCode;

use clap::{CommandFactory, Parser};
use runoff_core::clock::{Phases, Reading, now_ns};
use runoff_core::protocol::{Capabilities, Effective, Measure, Request, RunResult, VERSION, bad_request};
use runoff_runner::{RunnerArgs, is_reader_gone, print, print_json, read_request, report_error, write_result};

/// Speaks runoff's runner protocol and computes nothing.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    #[command(flatten)]
    runner: RunnerArgs,
}

fn main() -> ExitCode {
    let entry_ns = now_ns();
    let runner = Arguments::parse().runner;
    match (runner.request, runner.result) {
        (Some(request), Some(result)) => match read_request(&request, &result) {
            Ok(request) => write_result(&result, &answer(&request, entry_ns)),
            Err(code) => code,
        },
        _ if runner.capabilities => printed(print_json(&capabilities())),
        _ => printed(print(&Arguments::command().render_help().to_string())),
    }
}

fn printed(outcome: std::io::Result<()>) -> ExitCode {
    match outcome {
        Err(error) if !is_reader_gone(&error) => {
            report_error(&format!("cannot write to stdout: {error}"));
            ExitCode::FAILURE
        }
        _ => ExitCode::SUCCESS,
    }
}

fn answer(request: &Request, entry_ns: u64) -> RunResult {
    let Measure::Once(_) = request.measure else {
        return RunResult::failed(&request.case, &bad_request("measure.kind: runoff-null measures only once"));
    };
    let mut phases = Phases::begin(request.spawn_ns, entry_ns, Reading::of(&request.measure));
    phases.mark("output");
    let (phases, memory) = phases.finish();
    RunResult {
        phases,
        memory: Some(memory),
        effective: Some(Effective {
            runtime: "none".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            language: "rust".into(),
            ..Effective::default()
        }),
        ..RunResult::ok(&request.case)
    }
}

fn capabilities() -> Capabilities {
    let strings = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect();
    Capabilities {
        protocol: vec![VERSION],
        runner: "null-rust".into(),
        language: "rust".into(),
        runtime: "none".into(),
        version: env!("CARGO_PKG_VERSION").into(),
        workloads: strings(&["classify", "tensor"]),
        formats: strings(&["onnx"]),
        providers: strings(&["cpu"]),
        precisions: strings(&["fp32"]),
        measures: strings(&["once"]),
        settings: strings(&["threads"]),
        ..Capabilities::default()
    }
}
