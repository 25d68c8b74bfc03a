//! `runoff-burn`, run as the selftest runs it.

use std::fs;
use std::io::Write;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const BURN: &str = env!("CARGO_BIN_EXE_runoff-burn");

fn shell(share: &str, script: &str) -> Command {
    let mut command = Command::new(BURN);
    command.args([share, "/bin/sh", "-c", script]);
    command
}

#[test]
fn the_program_has_the_streams_and_gives_the_exit_code() {
    let mut command = shell("0", "read line; echo \"$line $1\"; echo trouble >&2; exit 7");
    command.args(["sh", "argument"]);
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("a program");
    child.stdin.take().expect("stdin").write_all(b"hello\n").expect("a reader");
    let output = child.wait_with_output().expect("an end");
    assert_eq!(output.status.code(), Some(7));
    assert_eq!((&output.stdout[..], &output.stderr[..]), (&b"hello argument\n"[..], &b"trouble\n"[..]));
}

#[test]
fn a_signal_becomes_an_exit_code() {
    for (signal, code) in [("TERM", 143), ("KILL", 137)] {
        let status = shell("0", &format!("kill -{signal} $$")).status().expect("a program");
        assert_eq!(status.code(), Some(code));
    }
}

#[cfg(target_os = "linux")]
#[test]
fn the_share_is_burnt_after_the_program_and_is_cpu_time() {
    // the program sleeps, so what CPU time there is was burnt
    let folder = tempfile::tempdir().expect("a folder");
    let ended = folder.path().join("ended");
    let began = Instant::now();
    let mut child = shell("2", &format!("sleep 0.3; touch {}", ended.display())).spawn().expect("a program");
    while !ended.exists() {
        assert!(began.elapsed() < Duration::from_mins(1));
        std::thread::sleep(Duration::from_millis(5));
    }
    std::thread::sleep(Duration::from_millis(300));
    let stat = fs::read_to_string(format!("/proc/{}/stat", child.id())).expect("it still burns");
    let ticks: u64 =
        stat.rsplit(')').next().expect("fields").split(' ').nth(12).expect("utime").parse().expect("a number");
    assert!(ticks >= 5, "{ticks} ticks of CPU in 300 ms");
    assert!(child.wait().expect("an end").success());
    assert!(began.elapsed() >= Duration::from_millis(900));
}

#[test]
fn nothing_is_burnt_with_a_share_of_zero() {
    let began = Instant::now();
    assert!(shell("0", "sleep 0.5").status().expect("a program").success());
    let without = began.elapsed();
    let began = Instant::now();
    assert!(shell("3", "sleep 0.5").status().expect("a program").success());
    assert!(began.elapsed() > without + Duration::from_secs(1), "{without:?}");
}

#[test]
fn bad_command_lines_are_named() {
    let arguments: [&[&str]; 5] = [&[], &["1"], &["-1", "true"], &["inf", "true"], &["much", "true"]];
    for (given, words) in
        arguments.iter().zip(["SHARE is missing", "PROGRAM is missing", "\"-1\"", "\"inf\"", "\"much\""])
    {
        let output = Command::new(BURN).args(*given).output().expect("a program");
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2));
        assert!(text.contains(words) && text.contains("usage: runoff-burn SHARE PROGRAM"), "{text}");
    }
    let output = Command::new(BURN).args(["0", "/nowhere/program"]).output().expect("a program");
    assert_eq!(output.status.code(), Some(127));
    assert!(String::from_utf8_lossy(&output.stderr).contains("/nowhere/program"));
}
