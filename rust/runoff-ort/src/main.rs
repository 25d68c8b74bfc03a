//! `runoff-ort`: a runner of runoff's protocol, and a separate tool for ONNX models.

#![deny(unsafe_code)]

mod bench;
mod classify;
mod info;
mod prepare;
mod preprocessing;
mod process;
mod runner;
mod serve;
mod session;
mod statistics;
mod stdin;

use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};
use runoff_allocator as allocator;
use runoff_core::clock::now_ns;
use runoff_runner::{RunnerArgs, carry_out_request, is_reader_gone, print, print_json, report_error};

const EXAMPLES: &str = "\
Examples:
  runoff-ort classify --model efficientnet-lite0/model.onnx photo.jpg
  runoff-ort bench a.onnx b.onnx --threads 2
  runoff-ort info model.onnx
  runoff-ort prepare --model model.onnx
  runoff-ort serve efficientnet-lite0
  runoff-ort --capabilities
  runoff-ort --request /abs/request.json --result /abs/result.json

ONNX Runtime's library: --library FILE, else the environment variable RUNOFF_ORT_DYLIB (an absolute path), else the
onnxruntime wheel of the active Python environment. A runner (--request, --capabilities) reads RUNOFF_ORT_DYLIB alone.
Exit codes: 0 ok, 2 bad arguments, 3 unsupported on this machine, 1 anything else.";

/// Runs ONNX models with ONNX Runtime, natively.
#[derive(Debug, Parser)]
#[command(version, after_help = EXAMPLES, args_conflicts_with_subcommands = true)]
struct Arguments {
    #[command(flatten)]
    runner: RunnerArgs,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Say what is in images.
    Classify(classify::Arguments),
    /// Measure how fast a model loads and runs.
    Bench(bench::Arguments),
    /// Describe a model: inputs, outputs, opset, size, providers.
    Info(info::Arguments),
    /// Prepare a model for this machine, once, so that it loads faster.
    Prepare(prepare::Arguments),
    /// Serve a model over HTTP.
    Serve(serve::Arguments),
}

fn main() -> ExitCode {
    let entry_ns = now_ns();
    process::prepare_environment();
    allocator::prepare();
    let arguments = Arguments::parse();
    match (arguments.command, arguments.runner.request, arguments.runner.result) {
        (Some(command), _, _) => finish(carry_out(&command)),
        (None, Some(request), Some(result)) => carry_out_request(&request, &result, |request| {
            allocator::populate();
            runner::execute(request, entry_ns)
        }),
        (None, _, _) if arguments.runner.capabilities => finish(capabilities()),
        (None, _, _) => finish(help()),
    }
}

fn carry_out(command: &Command) -> anyhow::Result<u8> {
    match command {
        Command::Classify(arguments) => classify::run(arguments),
        Command::Bench(arguments) => bench::run(arguments),
        Command::Info(arguments) => info::run(arguments),
        Command::Prepare(arguments) => prepare::run(arguments),
        Command::Serve(arguments) => serve::run(arguments),
    }
}

fn capabilities() -> anyhow::Result<u8> {
    let capabilities = runner::capabilities("ort-rust");
    print_json(&capabilities)?;
    Ok(capabilities.unavailable.map_or(0, |unavailable| unavailable.kind.exit_code()))
}

fn help() -> anyhow::Result<u8> {
    print(&Arguments::command().render_help().to_string())?;
    Ok(0)
}

/// Turns an outcome into an exit code; a failure is reported in one line, and its exit code is the one of its kind.
fn finish(outcome: anyhow::Result<u8>) -> ExitCode {
    let error = match outcome {
        Ok(code) => return ExitCode::from(code),
        Err(error) => error,
    };
    if error.downcast_ref().is_some_and(is_reader_gone) {
        return ExitCode::SUCCESS;
    }
    report_error(&format!("{error:#}"));
    let kind = error.downcast_ref::<runoff_session::Error>().map(|error| error.kind.exit_code());
    ExitCode::from(kind.unwrap_or(1))
}
