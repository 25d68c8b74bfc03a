# /// script
# requires-python = ">=3.11"
# dependencies = ["nox==2026.10.20", "uv==0.13.9"]
# ///
"""Environments and steps of runoff: ``nox -l`` lists them, ``nox -s bench`` runs everything it needs.

The block above makes nox install uv. Environments are pinned with hashes in ``requirements/`` and are kept as long
as their pins do not change.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
from pathlib import Path
from typing import Any

import nox

nox.needs_version = ">=2025.2.9"
nox.options.default_venv_backend = "uv"
nox.options.reuse_existing_virtualenvs = True
nox.options.sessions = ["bench"]

ROOT = Path(__file__).parent
HOME = Path(os.environ.get("RUNOFF_HOME", ROOT / ".runoff"))
ENVIRONMENTS = Path(os.environ.get("RUNOFF_ENVS", ROOT / ".nox"))
WHEELS = HOME / "wheels"
NOTHING_RUNS_HERE = 3  # exit code of an installation that cannot succeed on this machine
OPTIONAL = {"web", "webnn", "openvino", "tract"}  # they need npm's registry, a Python 3.12, wheels for this machine
# cargo's profile for tests and lints; CI uses that of the programs, so shared crates are built once
TEST_PROFILE = ("--profile", os.environ.get("RUNOFF_TEST_PROFILE", "dev"))
# each file in one process, in the order of pyproject.toml
PARALLEL = ("-n", "auto", "--dist", "loadfile", "--no-loadscope-reorder")
# files with tests that compare durations; with tests that are longer, or run only, with RUNOFF_TEST_FULL=1
CLOCK, THOROUGH = r"\bmark\.clock\b", r"^from machine import .*\b(thorough|FULL)\b"
IN_EXPORT = ("tests/coreml", "tests/export", "tests/promptable")
ENGINES_IN_RUST = ("openvino-rust", "tract-rust", "rten")
EXTENSION = ROOT / "rust" / "runoff-py" / "Cargo.toml"
# pins that each platform of rust/wheel.py, by uv's name, has wheels for; ONNX Runtime's need macOS 14
SHIPPED = (
    *("runoff", "ort-python", "ort-pyo3", "hyperfine", "py-spy", "inspect", "opencv", "fastapi"),
    *("torch", "export", "web"),
    "ray",
)
PLATFORMS = {
    "x86_64-manylinux_2_28": (*SHIPPED, "openvino", "ort-cuda", "loadgen"),
    "aarch64-manylinux_2_28": SHIPPED,
    "aarch64-apple-darwin": (*SHIPPED, "openvino", "coreml", "loadgen"),
}

# environments that differ by their pins, requirements/NAME.txt
PLAIN = {
    "runoff": "Create the environment of runoff itself; afterwards .nox/runoff/bin/runoff is the command (15 s).",
    "torch": "Create the environment of the targets torch and torch-export (first time: 1 to 5 min, 5 GB).",
    "ort-python": """Create the environment of the target ort-python; the Rust targets load its ONNX Runtime too (5 s).

    If there is an NVIDIA driver it is ONNX Runtime's GPU build with CUDA's libraries (1 to 3 min, 2.3 GB);
    RUNOFF_CUDA=1 requests the GPU build on any machine, RUNOFF_CUDA=0 the usual one.
    """,
    "ort-pyo3": "Create the environment of the target ort-pyo3: the Rust core as a Python extension (5 s).",
    "web": "Create the environment of the targets ort-web-* and ort-node*: Node.js, npm packages (30 s, 750 MB).",
    "inspect": "Create the environment that reads a user's model: ONNX, and ONNX Runtime for its first answers (5 s).",
    "openvino": "Create the environment of the target openvino-python (5 s, 260 MB).",
    "litert": "Create the environment of the target litert (5 s, 160 MB); litert-convert has its converter.",
    "litert-convert": "Create the environment that converts networks for the target litert (1 to 5 min, 6.6 GB).",
    "rten-convert": "Create the environment that converts ONNX files for the target rten (5 s, 90 MB).",
    "executorch": "Create the environment of the target executorch (1 to 5 min, 6 GB).",
    "ray": "Create the environment of runoff bench --on, which measures on many machines: Ray (5 s, 290 MB).",
    "opencv": "Create the environment that ort-python and openvino-python need to segment: OpenCV (2 s).",
    "fastapi": "Create the environment of FastAPI, with which the Python targets serve over HTTP (2 s).",
    "loadgen": "Create the environment of MLPerf's LoadGen, which makes the load of the probe load (2 s).",
    "hyperfine": "Create the environment of hyperfine, which times processes from start to exit (2 s).",
    "py-spy": "Create the environment of py-spy, which samples programs in Python for runoff profile (2 s).",
    "export": "Create the environment that exports models; the command is: runoff export NAME (1 to 5 min, 5 GB).",
    "dev": "Create the environment of the tests and linters (15 s).",
    "extension": "Create the environment of the extension's own tests: onnxruntime, ONNX's models, FastAPI (10 s).",
}
NEEDS = {"ort-pyo3": ["build", "ort-python"], "extension": ["build"]}
EVERYTHING = ["runoff", "torch", "ort-python", "ort-pyo3", "coreml", "export", "inspect", "hyperfine"]
SERVING = ["fastapi", "loadgen"]
TESTED = [*EVERYTHING, *SERVING, "py-spy", "ray", "opencv", "openvino", "web", "webnn", "dev", "extension", "tract"]
ENGINES = ["openvino", "tract", "engines", "web", "litert", "litert-convert", "rten-convert", "executorch"]
WEBNN = ["runoff", "webnn", "webnn-rust", "ort-python", "export", "hyperfine"]


def define(name: str, about: str) -> None:
    """Define the session that creates an environment of `PLAIN`."""

    def session(session: nox.Session) -> None:
        install(session, name)

    session.__doc__ = about
    nox.session(name=name, requires=NEEDS.get(name))(session)


for _name, _about in PLAIN.items():
    define(_name, _about)


@nox.session(requires=EVERYTHING, venv_backend="none")
def bench(session: nox.Session) -> None:
    """Measure a suite and write its report: nox -s bench [-- seeds | my-suite.toml | --resume RUN]."""
    run_runoff(session, program("runoff", "runoff"), "bench")


@nox.session(requires=["runoff", "dev"])
def tract(session: nox.Session) -> None:
    """Create the environment of the target tract-python, and install that plug-in into runoff's environments (5 s)."""
    plugin = ROOT / "python" / "runoff-tract"
    install(session, "tract", pins=plugin / "runoff_tract" / "requirements.txt")
    for name in ("runoff", "dev"):
        into = ("--python", program(name, "python"), "--no-deps", "--no-build-isolation", "--quiet", "--editable")
        session.run("uv", "pip", "install", *into, str(plugin), external=True)


@nox.session(name="bench-engines", requires=[*EVERYTHING, *ENGINES], venv_backend="none")
def bench_engines(session: nox.Session) -> None:
    """Measure four models on every engine (1 h, 20 GB): nox -s bench-engines [-- engines-others | --resume RUN]."""
    suite = () if session.posargs else ("engines",)
    # 1 if a case failed: an engine may not read what others do, and the report says so
    run_runoff(session, program("runoff", "runoff"), "bench", *suite, success_codes=(0, 1))


@nox.session(name="bench-web", requires=[*EVERYTHING, "web"], venv_backend="none")
def bench_web(session: nox.Session) -> None:
    """Measure ONNX Runtime Web in Chromium and Node.js (30 min): nox -s bench-web [-- web-gpu | --resume RUN]."""
    suite = () if session.posargs else ("web",)
    # 1 if a case failed: WebGL computes wrong outputs for a model of the suite, and the report says so
    run_runoff(session, program("runoff", "runoff"), "bench", *suite, success_codes=(0, 1))


@nox.session(name="bench-serve", requires=[*EVERYTHING, *SERVING], venv_backend="none")
def bench_serve(session: nox.Session) -> None:
    """Measure servers under load, over a pipe and HTTP (55 min): nox -s bench-serve [-- SUITE | --resume RUN]."""
    suite = () if session.posargs else ("serve",)
    run_runoff(session, program("runoff", "runoff"), "bench", *suite)


@nox.session(name="bench-segment", requires=[*EVERYTHING, "opencv", "openvino"], venv_backend="none")
def bench_segment(session: nox.Session) -> None:
    """Measure Segment Anything (35 min, exports 12 min): nox -s bench-segment [-- segment-large | --resume RUN]."""
    suite = () if session.posargs else ("segment",)
    run_runoff(session, program("runoff", "runoff"), "bench", *suite)


@nox.session(requires=EVERYTHING, venv_backend="none")
def speed(session: nox.Session) -> None:
    """Measure the suite speed (15 min), check its limits, and publish it to results/reference/speed if they hold."""
    run_runoff(session, program("runoff", "python"), str(ROOT / "suites" / "speed" / "measure.py"))


# on other systems not even an empty environment is created
@nox.session(venv_backend=None if sys.platform == "darwin" else "none")
def coreml(session: nox.Session) -> None:
    """Create the environment of the target coreml, on a Mac (20 s, 200 MB); on other systems nothing is installed."""
    if sys.platform != "darwin":
        session.log("coreml needs macOS: the report lists its cases with that reason")
    else:
        install(session, "coreml")


# created with its pins, as its Python is another one
@nox.session(venv_backend="none")
def webnn(session: nox.Session) -> None:
    """Create the environment of the targets webnn-compute and webnn-ort, with Python 3.12 (10 s, 200 MB)."""
    install(session, "webnn", str(ENVIRONMENTS / "webnn"))


@nox.session(name="webnn-rust", requires=["build"])
def webnn_rust(session: nox.Session) -> None:
    """Build the program of the target webnn-rust, on the crate rustnn (first time: 2 to 4 min)."""
    install(session, "webnn-rust")
    # rustnn's build compiles messages; it asks for Rust 1.97 and builds with 1.95
    build_separate(session, "webnn", "--ignore-rust-version", PROTOC=program("webnn-rust", "protoc"))


@nox.session(requires=["build"])
def engines(session: nox.Session) -> None:
    """Build the programs of the targets openvino-rust, tract-rust and rten (first time: 5 to 15 min)."""
    install(session, "build")
    build_separate(session, "engines")


@nox.session(name="bench-webnn", requires=WEBNN, venv_backend="none")
def bench_webnn(session: nox.Session) -> None:
    """Measure the suite webnn and write its report: nox -s bench-webnn [-- options of runoff bench]."""
    run_runoff(session, program("runoff", "runoff"), "bench", "webnn")


@nox.session
def build(session: nox.Session) -> None:
    """Build the Rust programs and the extension's wheel (first time: 2 to 4 min)."""
    install(session, "build")
    env = rust(session)
    if env is None:
        session.warn("the targets ort-rust and ort-pyo3 are skipped: no Rust toolchain")
        return
    if not shutil.which("nasm", path=env["PATH"]):
        session.warn("nasm not found: JPEG decoding in Rust has no SIMD, preprocessing takes twice as long")
    session.log("building the Rust programs (first time 2 to 5 min, then 1 s)")
    common = ("--release", "--locked", "--quiet")
    cargo(session, env, "build", *common, "-p", "runoff-ort", "-p", "runoff-capi")
    session.log("building the extension (first time 1 min, then 1 s)")
    where = ("--out", str(WHEELS), "--manifest-path", str(EXTENSION))
    session.run("maturin", "build", *common, *where, env=env)


@nox.session(requires=["dev"], venv_backend="none")
def docker(session: nox.Session) -> None:
    """Build the images and test them in containers: nox -s docker [-- cpu | cuda] [options of docker build]."""
    session.run(sys.executable, str(ROOT / "docker" / "build.py"), *session.posargs, external=True)
    named = [word for word in session.posargs if word in ("cpu", "cuda")]
    env = {**clean_environment(), **({"RUNOFF_IMAGES": " ".join(named)} if named else {})}
    session.run(program("dev", "pytest"), str(ROOT / "tests" / "docker"), env=env, external=True)
    session.run("docker", "images", "runoff", external=True)


@nox.session(requires=["build"])
def wheel(session: nox.Session) -> None:
    """Build the wheels as published, test the extension's in every Python, and install runoff from all (5 min)."""
    install(session, "wheel")
    folder = HOME / "wheel"
    session.run("python", str(ROOT / "rust" / "wheel.py"), str(folder), env=need_rust(session))
    pins = str(ROOT / "requirements" / "runoff.txt")
    build_wheel = ("uv", "build", "--quiet", "--wheel", "--build-constraints", pins, "--out-dir", str(folder))
    for project in (ROOT, ROOT / "python" / "runoff-tract"):
        session.run(*build_wheel, str(project))
    if sys.platform == "linux":
        for built in folder.glob("*linux*.whl"):
            session.run("auditwheel", "show", str(built))
    (extension,) = folder.glob("runoff_ort-*.whl")
    tests = ROOT / "tests" / "wheel"
    options: dict[str, Any] = {"env": clean_environment()}
    session.run("python", "-P", str(tests / "check_wheel.py"), str(extension), str(folder / "environments"), **options)
    session.run("python", str(tests / "check_install.py"), str(folder), str(folder / "an install"), **options)


@nox.session(requires=["build", "ort-python", "extension"], venv_backend="none")
def sanitize(session: nox.Session) -> None:
    """Run the Rust tests and attacks on the extension under AddressSanitizer, and Miri (needs Rust's nightly)."""
    env = {**need_rust(session), **runtime_library()}
    command = (str(ROOT / "rust" / "sanitize.py"), program("extension", "python"))
    session.run(program("build", "python"), *command, env=env)


@nox.session(requires=["build", "ort-python"], venv_backend="none")
def fuzz(session: nox.Session) -> None:
    """Feed the Rust core damaged images, models and requests: nox -s fuzz [-- SECONDS [TARGET ...]] (each 60)."""
    env = {**need_rust(session), **runtime_library()}
    session.run(program("build", "python"), str(ROOT / "rust" / "fuzz.py"), *session.posargs, env=env)


@nox.session(requires=TESTED, venv_backend="none")
def tests(session: nox.Session) -> None:
    """Run every test, Rust's and Python's; with arguments, only pytest: nox -s tests -- tests/unit -k plan."""
    if session.posargs:
        pytest(session, *session.posargs)
        return
    env = rust(session)
    if env is not None:
        options = ("--locked", "--quiet", "--workspace", "--exclude", "runoff-py")
        cargo(session, {**env, **runtime_library()}, "test", *TEST_PROFILE, *options)
    session.log("exporting the models for the tests if they are missing (1 min)")
    session.run(program("dev", "runoff"), "export", "efficientnet-lite0", "sam_tiny", env=clean_environment())
    pytest(session, "-m", "not clock", *PARALLEL)
    pytest(session, "-m", "clock", *tests_with(CLOCK))
    # a machine without Rust has no extension
    if any(WHEELS.glob("*.whl")):
        pytest(session, "tests/extension", *PARALLEL, environment="extension")
    # coremltools triggers deprecation warnings of its libraries
    pytest(session, "-o", "filterwarnings=ignore", *IN_EXPORT, *PARALLEL, environment="export")


@nox.session(requires=["tests", "wheel", "sanitize", "webnn-rust", *ENGINES], venv_backend="none")
def thorough(session: nox.Session) -> None:
    """Run the checks before a release: tests at full size, every Python, sanitizers, containers (1 h)."""
    full = {"RUNOFF_TEST_FULL": "1"}
    pytest(session, *tests_with(THOROUGH), env=full)
    pytest(session, "tests/contract", "-k", " or ".join(ENGINES_IN_RUST), *PARALLEL, env=full)
    pytest(session, "tests/extension", *PARALLEL, environment="extension", env=full)
    pytest(session, "-o", "filterwarnings=ignore", "tests/coreml", *PARALLEL, environment="export", env=full)
    clippy = ("--release", "--all-targets", "--locked", "--quiet", *separate("engines"), "--", "-D", "warnings")
    cargo(session, need_rust(session), "clippy", *clippy)
    if shutil.which("docker"):
        session.notify("docker")
    else:
        session.warn("the images were skipped: Docker not found")


@nox.session(requires=["dev", "build"], venv_backend="none")
def lint(session: nox.Session) -> None:
    """Check style and layers: ruff, import-linter, rustfmt, clippy pedantic (warnings are errors), rustdoc, semver."""
    session.run(program("dev", "ruff"), "format", "--check", ".")
    session.run(program("dev", "ruff"), "check", ".")
    session.run(program("dev", "lint-imports"))
    env = need_rust(session)
    if "RUSTUP_HOME" in env:
        # a downloaded toolchain does not include them
        rustup = str(shutil.which("rustup", path=env["PATH"]))
        session.run(rustup, "component", "add", "rustfmt", "clippy", external=True, env=env)
    cargo(session, env, "fmt", "--all", "--check")
    clippy = ("--workspace", "--all-targets", "--locked", "--quiet", "--", "-D", "warnings")
    cargo(session, env, "clippy", *TEST_PROFILE, *clippy)
    cargo(session, {**env, "RUSTDOCFLAGS": "-D warnings"}, "doc", *TEST_PROFILE, "--no-deps", "--locked", "--quiet")
    if shutil.which("cargo-semver-checks", path=env["PATH"]):
        cargo(session, env, "semver-checks", "--package", "runoff-session", "--baseline-rev", "HEAD~")
    else:
        session.log("API of runoff-session not compared with the previous commit: cargo-semver-checks not found")


@nox.session(requires=["dev", "ort-pyo3"], venv_backend="none")
def types(session: nox.Session) -> None:
    """Check types: mypy strict on all Python, and the extension's stubs against the built extension."""
    mypy = program("dev", "mypy")
    rust_scripts = (f"rust/{name}.py" for name in ("fuzz", "sanitize", "toolchain", "wheel"))
    scripts = ("noxfile.py", "docker/build.py", *rust_scripts)
    packages = ("python/runoff", "python/runoff_runners", "python/runoff-tract")
    session.run(mypy, *packages, "tests", "benchmarks", "suites", "tools", *scripts)
    # apart from the tests, which break the types of the extension on purpose
    package = str(EXTENSION.parent / "python")
    session.run(mypy, package, env={"MYPYPATH": package})
    (installed,) = (ENVIRONMENTS / "ort-pyo3").glob("lib/python3*/site-packages")
    allowed = str(ROOT / "rust" / "runoff-py" / "stubtest-allowlist.txt")
    stubtest = (program("dev", "python"), "-m", "mypy.stubtest", "runoff_ort", "--allowlist", allowed)
    session.run(*stubtest, env={"PYTHONPATH": str(installed)})


@nox.session(venv_backend="none")
def lock(session: nox.Session) -> None:
    """Pin requirements/*.in again, with hashes, for Python 3.11 and later; check for wheels on every platform."""
    options = ["--universal", "--python-version", "3.11", "--generate-hashes", "--no-header", "--upgrade", "--quiet"]
    # last come those that are constrained by the pins of others
    sources = [*(ROOT / "requirements").glob("*.in"), *(ROOT / "python").glob("runoff-*/*/requirements.in")]
    order = {source: ("\n-c " in source.read_text(), source) for source in sources}
    for source in sorted(order, key=order.__getitem__):
        overrides = source.with_suffix(".overrides")
        own = ["--override", str(overrides)] if overrides.exists() else []
        pins = str(source.with_suffix(".txt"))
        session.run("uv", "pip", "compile", *options, *own, str(source), "-o", pins, external=True)
    env = {"MACOSX_DEPLOYMENT_TARGET": "14.0"}
    for platform, names in PLATFORMS.items():
        where = ("--python-platform", platform, "--python-version", "3.11", "--target", str(HOME / "none"))
        for pins in (str(ROOT / "requirements" / f"{name}.txt") for name in names):
            install = ("pip", "install", "--dry-run", "--quiet", "--no-build", "--require-hashes", *where, "-r", pins)
            session.run("uv", *install, env=env, external=True)


def install(session: nox.Session, name: str, folder: str = "", pins: Path | None = None) -> None:
    """Sync the environment of the session with its pins, unless it is up to date; `pins` are those of a plug-in."""
    folder = folder or session.virtualenv.location
    command = (sys.executable, "-P", "-m", "runoff.environments", name, folder, *([str(pins)] if pins else []))
    env = {"PYTHONPATH": str(ROOT / "python"), "RUNOFF_ROOT": None}
    codes = [0, NOTHING_RUNS_HERE] if name in OPTIONAL else [0]
    session.run(*command, env=env, external=True, log=False, success_codes=codes)
    if name in OPTIONAL and not (Path(folder) / ".installed").exists():
        session.warn(f"the targets that need the environment {name} are skipped")


def run_runoff(session: nox.Session, *command: str, **more: Any) -> None:
    """Run a command with the session's arguments; after Ctrl-C it has time to save."""
    options: dict[str, Any] = {"external": True, "interrupt_timeout": 10, "terminate_timeout": 10, **more}
    session.run(*command, *session.posargs, env=clean_environment(), **options)


def tests_with(pattern: str) -> list[str]:
    """Return the files of tests, of those that run in the environment dev, whose text has a match of `pattern`."""
    folders = ("integration", "contract", "page", "unit")
    files = (path for folder in folders for path in (ROOT / "tests" / folder).glob("test_*.py"))
    return sorted(str(path) for path in files if re.search(pattern, path.read_text(encoding="utf-8"), re.MULTILINE))


def program(environment: str, name: str) -> str:
    """Return the path of a program in one of the environments."""
    return str(ENVIRONMENTS / environment / "bin" / name)


def pytest(session: nox.Session, *arguments: str, environment: str = "dev", env: dict[str, str] | None = None) -> None:
    """Run pytest in an environment, with further variables."""
    path = {"PYTHONPATH": str(ROOT / "python") if environment == "export" else None}
    session.run(
        program(environment, "python"), "-m", "pytest", *arguments, env=clean_environment() | path | (env or {})
    )


def clean_environment() -> dict[str, str | None]:
    """Return changes that keep the caller's Python switches out of the measured processes."""
    return {"PYTHONDONTWRITEBYTECODE": None, "PYTHONPATH": None}


def runtime_library() -> dict[str, str]:
    """Return the variable that points the Rust programs to the ONNX Runtime library of the target ort-python."""
    library = max((ENVIRONMENTS / "ort-python").glob("lib/python3*/site-packages/onnxruntime/capi/libonnxruntime.*"))
    return {"RUNOFF_ORT_DYLIB": str(library)}


def rust(session: nox.Session) -> dict[str, str | None] | None:
    """Return the variables that cargo needs, found by rust/toolchain.py; ``None``, after one line, without Rust."""
    command = (program("build", "python"), str(ROOT / "rust" / "toolchain.py"), str(HOME))
    *_, last = str(session.run(*command, external=True, silent=True, success_codes=[0, 3])).strip().splitlines()
    if not last.startswith("{"):
        session.warn(last)
        return None
    variables: dict[str, str | None] = json.loads(last)
    return variables


def need_rust(session: nox.Session) -> dict[str, str | None]:
    """Return the variables that cargo needs, or end the session."""
    return rust(session) or session.error("this session needs Rust: https://rustup.rs")


def build_separate(session: nox.Session, workspace: str, *options: str, **variables: str) -> None:
    """Build the programs of a separate workspace in ``rust/``; without Rust, only print why not."""
    env = rust(session)
    if env is not None:
        command = ("build", "--release", "--locked", "--quiet", *options, *separate(workspace))
        cargo(session, {**env, **variables}, *command)


def separate(workspace: str) -> tuple[str, ...]:
    """Return the options of cargo for a separate workspace in ``rust/``; the programs go where all others are."""
    return ("--manifest-path", str(ROOT / "rust" / workspace / "Cargo.toml"), "--target-dir", str(ROOT / "target"))


def cargo(session: nox.Session, env: dict[str, str | None], *arguments: str) -> None:
    """Run cargo, the one on the PATH of `env`."""
    session.run(str(shutil.which("cargo", path=env["PATH"])), *arguments, external=True, env=env)
