//! `runoff-ort`: a runner of runoff's protocol, and an image classifier of its own.

#![deny(unsafe_code)]

mod classify;

use std::path::Path;
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};
use runoff_core::clock::now_ns;
use runoff_core::protocol::Teardown;
use runoff_core::runner;
use runoff_runner::{RunnerArgs, complain, print, print_json, read_request, write_result};

const EXAMPLES: &str = "\
Examples:
  runoff-ort classify --model efficientnet-lite0/model.onnx --image photo.jpg
  runoff-ort classify --model model.onnx --image photo.jpg --labels labels.txt \\
      --resize 256 --crop 224 --interpolation bicubic --mean 123.675,116.28,103.53 --std 58.395,57.12,57.375
  runoff-ort --probe
  runoff-ort --request /abs/request.json --result /abs/result.json

ONNX Runtime's library is taken from the environment variable RUNOFF_ORT_DYLIB (an absolute path).";

/// Runs an ONNX model with ONNX Runtime, natively.
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
    /// Say what is in an image.
    Classify(classify::Arguments),
}

fn main() -> ExitCode {
    let entry_ns = now_ns();
    let arguments = Arguments::parse();
    match (arguments.command, arguments.runner.request, arguments.runner.result) {
        (None, Some(request), Some(result)) => run(&request, &result, entry_ns),
        (None, _, _) if arguments.runner.probe => probe(),
        (None, _, _) => finish(print(&Arguments::command().render_help().to_string()).map_err(Into::into)),
        (Some(Command::Classify(classify)), _, _) => finish(classify::run(&classify)),
    }
}

/// Carries out the request in the file `request`.
fn run(request: &Path, result: &Path, entry_ns: u64) -> ExitCode {
    let request = match read_request(request, result) {
        Ok(request) => request,
        Err(code) => return code,
    };
    let answer = runner::execute(&request, entry_ns);
    let succeeded = answer.session.is_some();
    let code = write_result(result, &answer.result);
    if succeeded && code == ExitCode::SUCCESS && request.settings.teardown == Some(Teardown::Skip) {
        leave_at_once();
    }
    drop(answer.session);
    code
}

/// Ends the process with exit code 0 without freeing anything.
#[allow(unsafe_code)]
fn leave_at_once() -> ! {
    // SAFETY: `_exit` takes no pointers and does not return. What it leaves out (destructors, `atexit` handlers,
    // buffers of stdio) is what `teardown = "skip"` asks for: the result is on disk and stderr is not buffered.
    unsafe { libc::_exit(0) }
}

fn probe() -> ExitCode {
    let capabilities = runner::capabilities("ort-rust");
    let code = capabilities.unavailable.as_ref().map_or(0, |unavailable| unavailable.kind.exit_code());
    match finish(print_json(&capabilities).map_err(Into::into)) {
        ExitCode::SUCCESS => ExitCode::from(code),
        failed => failed,
    }
}

/// Reports a failure in one line; the exit code is the one of its kind.
fn finish(outcome: anyhow::Result<()>) -> ExitCode {
    let Err(error) = outcome else { return ExitCode::SUCCESS };
    complain(&format!("{error:#}"));
    let kind = error.downcast_ref::<runoff_core::Error>().map(|error| error.kind.exit_code());
    ExitCode::from(kind.unwrap_or(1))
}
