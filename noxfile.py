# /// script
# requires-python = ">=3.11"
# dependencies = ["nox==2026.10.20", "uv==0.13.9"]
# ///
"""Every environment and every step of runoff: ``nox -l`` lists them, ``nox -s bench`` does all of them that it needs.

The block above lets a plain ``pip install nox`` bring uv by itself. Environments are pinned with hashes in
``requirements/`` and are left alone while their pin file has not changed.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import nox

nox.needs_version = ">=2025.2.9"
nox.options.default_venv_backend = "uv|virtualenv"
nox.options.reuse_existing_virtualenvs = True
nox.options.sessions = ["bench"]

ROOT = Path(__file__).parent
HOME = Path(os.environ.get("RUNOFF_HOME", ROOT / ".runoff"))
WHEELS = HOME / "wheels"
HYPERFINE = "2.0.0"
OLDEST_RUST = (1, 92)
EXTENSION = ROOT / "rust" / "runoff-py" / "Cargo.toml"
# tests of runoff-core that call no C, where Miri cannot follow, and resize no image, which takes it minutes
PURE_MODULES = ("clock::", "dtype::", "preprocess::tests::the_span", "tensor::", "topk::")
IMAGES = {"cpu": "6 GB, with PyTorch's CPU wheels less", "cuda": "6.4 GB"}
CHROMIUM = ("chromium", "chromium-browser", "google-chrome", "chrome")
EVERYTHING = ["runoff", "torch", "ort-python", "ort-pyo3", "coreml", "export", "hyperfine"]

ENVIRONMENTS = Path(os.environ.get("RUNOFF_ENVS", ROOT / ".nox"))


@nox.session(requires=EVERYTHING, venv_backend="none")
def bench(session: nox.Session) -> None:
    """Measure a suite and make its report: nox -s bench [-- seeds | my-suite.toml | --resume RUN]."""
    start_runoff(session, "bench", *session.posargs)


@nox.session(requires=EVERYTHING, venv_backend="none")
def run(session: nox.Session) -> None:
    """Run one case once: nox -s run -- --target ort-rust --image photo.jpg."""
    start_runoff(session, "run", *(session.posargs or ["--target", "ort-rust"]))


@nox.session(requires=[*EVERYTHING, "extension"], venv_backend="none")
def speed(session: nox.Session) -> None:
    """Measure the ratios that have bars, interleaved in one run (15 min): nox -s speed [-- --row NAME] [--quick]."""
    command = (program("runoff", "python"), "-m", "runoff.speed", *session.posargs)
    session.run(*command, env=clean_environment(), external=True, interrupt_timeout=10, terminate_timeout=10)


@nox.session(requires=["runoff"], venv_backend="none")
def report(session: nox.Session) -> None:
    """Make a run's report anew: nox -s report -- results/RUN."""
    start_runoff(session, "report", *session.posargs)


@nox.session(requires=["runoff"], venv_backend="none")
def publish(session: nox.Session) -> None:
    """Put runs among the published ones, and the quick one into the README: nox -s publish -- results/RUN."""
    session.run(program("runoff", "python"), "-m", "runoff.report.publish", *session.posargs)


@nox.session(requires=["runoff"], venv_backend="none")
def doctor(session: nox.Session) -> None:
    """Say what this machine can measure, and what to do about what it cannot."""
    start_runoff(session, "doctor", *session.posargs)


@nox.session
def runoff(session: nox.Session) -> None:
    """Make the environment of runoff itself; afterwards .nox/runoff/bin/runoff is the command."""
    install(session, "runoff", "15 s")
    install_runoff(session)


@nox.session
def torch(session: nox.Session) -> None:
    """Make the environment of the targets torch and torch-export (first time: 1 to 5 min, 5 GB)."""
    index = os.environ.get("RUNOFF_TORCH_INDEX")
    changed = install_torch_from(session, index) if index else install(session, "torch", "1 to 5 min, 5 GB")
    if changed:
        ask(session, "torch_runner")


@nox.session(name="ort-python")
def ort_python(session: nox.Session) -> None:
    """Make the environment of the target ort-python, whose ONNX Runtime the Rust targets load too.

    Where there is an NVIDIA driver it is ONNX Runtime's GPU build with CUDA's libraries (2.3 GB); RUNOFF_CUDA=1 asks
    for that one anywhere, RUNOFF_CUDA=0 for the usual one.
    """
    on_gpu = wants_cuda()
    chosen, other = ("ort-cuda", "ort-python") if on_gpu else ("ort-python", "ort-cuda")
    if stamp_path(session, other).is_file():
        # both builds are the module onnxruntime: what one leaves behind would be taken for the other's
        tool = ("uv", "pip", "uninstall") if session.venv_backend == "uv" else ("pip", "uninstall", "--yes")
        session.run(*tool, "onnxruntime", "onnxruntime-gpu", external=True)
        stamp_path(session, chosen).unlink(missing_ok=True)
        stamp_path(session, other).unlink()
    if install(session, chosen, "1 to 3 min, 2.3 GB" if on_gpu else "5 s"):
        ask(session, "ort_python_runner")


@nox.session(name="ort-pyo3", requires=["build", "ort-python"])
def ort_pyo3(session: nox.Session) -> None:
    """Make the environment of the target ort-pyo3: the Rust core as a Python extension."""
    install(session, "ort-pyo3", "5 s")
    if install_wheel(session):
        ask(session, "ort_pyo3_runner")


# elsewhere not even an empty environment is made
@nox.session(venv_backend=None if sys.platform == "darwin" else "none")
def coreml(session: nox.Session) -> None:
    """Make the environment of the target coreml, on a Mac (20 s, 200 MB); elsewhere nothing is installed."""
    if sys.platform != "darwin":
        session.log("coreml needs macOS: its cases stand in the report with that reason")
    elif install(session, "coreml", "20 s, 200 MB"):
        ask(session, "coreml_runner")


@nox.session
def build(session: nox.Session) -> None:
    """Build the Rust programs and the extension's wheel (first time: 2 to 4 min)."""
    install(session, "build", "5 s")
    env = cargo_environment(session)
    if env is None:
        return
    if not shutil.which("nasm"):
        session.log("no nasm here: JPEG decoding in Rust goes without SIMD and is slower (apt-get install nasm)")
    session.log("building the Rust programs (first time 2 to 5 min, then 1 s)")
    cargo(session, env, "build", "--release", "--locked", "--quiet", "-p", "runoff-ort", "-p", "runoff-floor")
    session.log("building the extension (first time 1 min, then 1 s)")
    options = ("--release", "--locked", "--quiet", "--out", str(WHEELS), "--manifest-path", str(EXTENSION))
    session.run("maturin", "build", *options, env=env)


@nox.session(requires=["build"])
def hyperfine(session: nox.Session) -> None:
    """Build the pinned hyperfine, unless the machine has one new enough (first time: 2 min)."""
    install(session, "build", "5 s")
    own = HOME / "tools" / "bin" / "hyperfine"
    if is_new_enough(str(own)) or is_new_enough("hyperfine"):
        return
    env = cargo_environment(session)
    if env is None:
        return
    session.log(f"building hyperfine {HYPERFINE} (2 min, once)")
    # --ignore-rust-version: it asks for a newer Rust than it needs
    options = ("--locked", "--ignore-rust-version", "--quiet", "--root", str(HOME / "tools"))
    cargo(session, env, "install", f"hyperfine@{HYPERFINE}", *options)


@nox.session(requires=["dev"], venv_backend="none")
def docker(session: nox.Session) -> None:
    """Build the images and try them in containers: nox -s docker [-- cpu | cuda] [options of docker build]."""
    if not engine_answers():
        session.error(
            "this session needs a Docker engine; `docker info` finds none: https://docs.docker.com/engine/install"
        )
    kinds = [word for word in session.posargs if word in IMAGES] or list(IMAGES)
    options = [word for word in session.posargs if word not in IMAGES]
    for kind in kinds:
        session.log(f"building runoff:{kind} (first time 15 to 30 min, {IMAGES[kind]})")
        where = ("--file", str(ROOT / "docker" / f"{kind}.Dockerfile"), "--tag", f"runoff:{kind}", str(ROOT))
        session.run("docker", "build", *options, *where, external=True)
    env = {**clean_environment(), "RUNOFF_IMAGES": " ".join(kinds)}
    session.run(program("dev", "pytest"), str(ROOT / "tests" / "docker"), env=env, external=True)
    session.run("docker", "images", "runoff", external=True)


@nox.session(requires=["build"])
def wheel(session: nox.Session) -> None:
    """Build the extension's wheel as it is published, and try it in every Python here (first time: 3 min)."""
    install(session, "wheel", "20 s, 100 MB")
    folder = HOME / "wheel"
    shutil.rmtree(folder, ignore_errors=True)
    where = ("--target-dir", str(ROOT / "target" / "wheel"), "--out", str(folder), "--manifest-path", str(EXTENSION))
    # zig links against the glibc of the tag, which is older than this machine's
    tag = ("--zig", "--compatibility", "manylinux_2_28", "--auditwheel", "check") if sys.platform == "linux" else ()
    env = {**need_cargo(session), "CARGO_ENCODED_RUSTFLAGS": "\x1f".join(without_local_paths())}
    session.run(program("build", "maturin"), "build", "--release", "--quiet", *tag, *where, env=env, external=True)
    (built,) = folder.glob("*.whl")
    if sys.platform == "linux":
        session.run("auditwheel", "show", str(built))
    check = str(ROOT / "tests" / "wheel" / "check_wheel.py")
    session.run("python", "-P", check, str(built), str(folder / "environments"), env=clean_environment())


@nox.session(requires=["build", "ort-python"], venv_backend="none")
def sanitize(session: nox.Session) -> None:
    """Run the Rust core's tests under AddressSanitizer, and Miri where they call no C (needs Rust's nightly)."""
    env = {**need_cargo(session), **runtime_library(), "PROPTEST_CASES": "4"}
    host = re.search(r"host: (\S+)", output_of("rustc", "+nightly", "--verbose"))
    if host is None:
        session.warn("nothing was run; what is needed: rustup toolchain install nightly --component miri,rust-src")
        return
    common = ("--locked", "--quiet", "--package", "runoff-core", "--target-dir", str(ROOT / "target" / "sanitize"))
    if output_of("cargo", "+nightly", "miri"):
        # tests read files and clocks, which Miri keeps from them by default, and compare what two calls of exp give
        miri = {**env, "MIRIFLAGS": "-Zmiri-disable-isolation -Zmiri-deterministic-floats"}
        cargo(session, miri, "+nightly", "miri", "test", *common, "--lib", "--", *PURE_MODULES)
    else:
        session.warn("Miri was left out: rustup component add miri rust-src --toolchain nightly")
    address = {**env, "RUSTFLAGS": "-Zsanitizer=address"}
    cargo(session, address, "+nightly", "test", *common, "--target", host[1], "--tests")


@nox.session
def export(session: nox.Session) -> None:
    """Make the environment that exports models; the command is: runoff export NAME."""
    install(session, "export", "1 to 5 min, 5 GB")


@nox.session
def dev(session: nox.Session) -> None:
    """Make the environment of the tests and linters."""
    install(session, "dev", "15 s")
    install_runoff(session)


@nox.session(requires=["build"])
def extension(session: nox.Session) -> None:
    """Make the environment of the extension's own tests: onnxruntime, ONNX's test models, FastAPI."""
    install(session, "extension", "10 s")
    install_wheel(session)


@nox.session(requires=[*EVERYTHING, "dev", "extension"], venv_backend="none")
def tests(session: nox.Session) -> None:
    """Run every test, Rust's and Python's; with arguments, pytest alone: nox -s tests -- tests/unit -k plan."""
    if not session.posargs:
        cargo_tests(session)
    session.log("exporting the models that the tests use, where the store lacks them (15 s each)")
    session.run(program("dev", "runoff"), "export", "efficientnet-lite0", "mobilenet_v2", env=clean_environment())
    session.run(program("dev", "pytest"), *session.posargs, env=clean_environment())
    if not session.posargs:
        session.run(program("extension", "python"), "-m", "pytest", "tests/extension", env=clean_environment())
        at_home = {**clean_environment(), "PYTHONPATH": str(ROOT / "python")}
        # coremltools itself warns of what newer releases of its libraries will refuse
        lenient = ("-o", "filterwarnings=ignore")
        session.run(program("export", "python"), "-m", "pytest", *lenient, "tests/coreml", env=at_home)
        page_tests(session)


@nox.session(requires=["dev", "build"], venv_backend="none")
def lint(session: nox.Session) -> None:
    """Check style: ruff, rustfmt, clippy pedantic with warnings as errors, rustdoc."""
    session.run(program("dev", "ruff"), "format", "--check", ".")
    session.run(program("dev", "ruff"), "check", ".")
    env = need_cargo(session)
    if "RUSTUP_HOME" in env:
        # a toolchain that was fetched comes without them
        rustup = str(shutil.which("rustup", path=env["PATH"]))
        session.run(rustup, "component", "add", "rustfmt", "clippy", external=True, env=env)
    cargo(session, env, "fmt", "--all", "--check")
    clippy = ("--workspace", "--all-targets", "--locked", "--quiet", "--", "-D", "warnings")
    cargo(session, env, "clippy", *clippy)
    cargo(session, {**env, "RUSTDOCFLAGS": "-D warnings"}, "doc", "--no-deps", "--locked", "--quiet")


@nox.session(requires=["dev", "ort-pyo3"], venv_backend="none")
def types(session: nox.Session) -> None:
    """Check types: mypy strict on all Python, and the extension's stubs against the built extension."""
    session.run(program("dev", "mypy"), "python/runoff", "python/runoff_runners", "noxfile.py", "tests")
    (packages,) = (ENVIRONMENTS / "ort-pyo3").glob("lib/python3*/site-packages")
    allowed = str(ROOT / "rust" / "runoff-py" / "stubtest-allowlist.txt")
    stubtest = (program("dev", "python"), "-m", "mypy.stubtest", "runoff_ort", "--allowlist", allowed)
    session.run(*stubtest, env={"PYTHONPATH": str(packages)})


@nox.session(venv_backend="none")
def lock(session: nox.Session) -> None:
    """Pin requirements/*.in anew, with hashes, for Python 3.11 and later."""
    options = (
        "--universal",
        "--python-version",
        "3.11",
        "--generate-hashes",
        "--no-header",
        "--upgrade",
        "--quiet",
    )
    # ort-cuda comes last: it is held to what torch is pinned to
    for source in sorted((ROOT / "requirements").glob("*.in"), key=lambda path: (path.stem == "ort-cuda", path.stem)):
        target = source.with_suffix(".txt")
        session.run("uv", "pip", "compile", *options, str(source), "-o", str(target), external=True)


def wants_cuda() -> bool:
    """Return whether ONNX Runtime's GPU build is wanted: as RUNOFF_CUDA says, else where there is an NVIDIA driver.

    Its wheel is for x86-64 only.
    """
    asked = os.environ.get("RUNOFF_CUDA")
    here = Path("/proc/driver/nvidia/version").exists() and os.uname().machine == "x86_64"
    return here if asked is None else asked == "1"


def start_runoff(session: nox.Session, *arguments: str) -> None:
    """Run the command line of runoff; its exit code is the session's. After Ctrl-C it has time to save."""
    command, env = program("runoff", "runoff"), clean_environment()
    session.run(command, *arguments, env=env, interrupt_timeout=10, terminate_timeout=10)


def program(environment: str, name: str) -> str:
    """Return the path of a program in one of the environments."""
    return str(ENVIRONMENTS / environment / "bin" / name)


def cargo_tests(session: nox.Session) -> None:
    """Run the Rust tests on the ONNX Runtime library of the target ort-python."""
    env = {**need_cargo(session), **runtime_library()}
    cargo(session, env, "test", "--locked", "--quiet", "--workspace", "--exclude", "runoff-py")


def page_tests(session: nox.Session) -> None:
    """Run the tests that read report.html in Chromium, where there is one."""
    if os.environ.get("RUNOFF_CHROMIUM") or any(map(shutil.which, CHROMIUM)):
        session.run(program("dev", "pytest"), "tests/page", env=clean_environment())
    else:
        session.warn("the tests of report.html were left out, they need Chromium: apt-get install chromium")


def runtime_library() -> dict[str, str]:
    """Return what names the ONNX Runtime library of the target ort-python to the Rust programs."""
    environment = ENVIRONMENTS / "ort-python"
    library = max(environment.glob("lib/python3*/site-packages/onnxruntime/capi/libonnxruntime.*"))
    return {"RUNOFF_ORT_DYLIB": str(library)}


def without_local_paths() -> list[str]:
    """Return the flags of rustc that keep this machine's paths out of a program's panic messages."""
    cargo_home = os.environ.get("CARGO_HOME", str(Path.home() / ".cargo"))
    return [f"--remap-path-prefix={folder}=/{name}" for folder, name in ((cargo_home, "cargo"), (ROOT, "runoff"))]


def need_cargo(session: nox.Session) -> dict[str, str | None]:
    """Return cargo's environment, or end the session with one line."""
    env = cargo_environment(session)
    if env is None:
        session.error("this session needs Rust: https://rustup.rs")
    return env


def clean_environment() -> dict[str, str | None]:
    """Return changes that keep the caller's Python switches out of what is measured."""
    return {"PYTHONDONTWRITEBYTECODE": None, "PYTHONPATH": None}


def install(session: nox.Session, name: str, usually: str) -> bool:
    """Bring the environment to what ``requirements/NAME.txt`` pins; return False when it was there already."""
    pins = ROOT / "requirements" / f"{name}.txt"
    if is_current(session, name, pins):
        return False
    session.log(f"installing {name} ({usually})")
    session.install("--require-hashes", "-r", str(pins), *compile_flag(session))
    mark_current(session, name, pins)
    return True


def install_runoff(session: nox.Session) -> None:
    """Install runoff itself, editable."""
    project = ROOT / "pyproject.toml"
    if not is_current(session, "runoff-itself", project):
        session.install("--no-deps", "--no-build-isolation", "-e", str(ROOT))
        mark_current(session, "runoff-itself", project)


def install_wheel(session: nox.Session) -> bool:
    """Install the wheel of the extension that ``build`` made; return False when there was nothing to do."""
    wheels = sorted(WHEELS.glob("runoff_ort-*.whl"), key=lambda path: path.stat().st_mtime)
    if not wheels:
        session.warn("no wheel of the extension: ort-pyo3 is left out")
        return False
    if is_current(session, "wheel", wheels[-1]):
        return False
    session.install("--no-deps", "--force-reinstall", str(wheels[-1]), *compile_flag(session))
    mark_current(session, "wheel", wheels[-1])
    return True


def install_torch_from(session: nox.Session, index: str) -> bool:
    """Install PyTorch from an index of its own (e.g. the CPU wheels), the rest as pinned; hashes differ there."""
    pins = ROOT / "requirements" / "torch.txt"
    if is_current(session, f"torch from {index}", pins):
        return False
    versions = dict(re.findall(r"^([a-z0-9-]+)==([^ ;\\]+)", pins.read_text(), re.MULTILINE))
    session.install(f"torch=={versions['torch']}", f"torchvision=={versions['torchvision']}", "--index-url", index)
    others = [f"{name}=={versions[name]}" for name in ("pillow", "efficientnet-lite-pytorch")]
    session.install("--no-deps", *others, *compile_flag(session))
    mark_current(session, f"torch from {index}", pins)
    return True


def compile_flag(session: nox.Session) -> tuple[str, ...]:
    """Return what makes uv compile bytecode as pip does: a first start must not pay for it."""
    return ("--compile-bytecode",) if session.venv_backend == "uv" else ()


def is_current(session: nox.Session, name: str, source: Path) -> bool:
    """Return whether `source` is what was installed last under `name`."""
    stamp = stamp_path(session, name)
    return stamp.is_file() and stamp.read_text() == digest(source)


def mark_current(session: nox.Session, name: str, source: Path) -> None:
    """Note that `source` is installed under `name`."""
    stamp_path(session, name).write_text(digest(source))


def stamp_path(session: nox.Session, name: str) -> Path:
    """Return the file in the environment that holds the stamp of `name`."""
    return Path(session.virtualenv.location) / f".{re.sub(r'[^a-z0-9-]+', '-', name)}.stamp"


def digest(path: Path) -> str:
    """Return the SHA-256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def ask(session: nox.Session, runner: str) -> None:
    """Show in one line what a runner can do in this environment."""
    path = str(ROOT / "python" / "runoff_runners" / f"{runner}.py")
    env = {**clean_environment(), "PYTHONPATH": str(ROOT / "python")}
    text = session.run("python", "-P", path, "--probe", env=env, silent=True, success_codes=[0, 3])
    can = json.loads(str(text).strip().splitlines()[-1])
    lack = can.get("unavailable")
    session.log(lack["message"] if lack else f"{can['runtime']} {can['version']}: {', '.join(can['providers'])}")


def cargo_environment(session: nox.Session) -> dict[str, str | None] | None:
    """Return what cargo needs in the environment; ``None``, after one line, when there is no Rust to be had.

    A machine without cargo, or with one that is too old, gets a toolchain through the package puccinialin.
    """
    # cmake, which libjpeg-turbo is built with, is in the environment of the session build
    tools: dict[str, str | None] = {
        "PATH": f"{ENVIRONMENTS / 'build' / 'bin'}{os.pathsep}{os.environ['PATH']}",
        "PYO3_PYTHON": program("build", "python"),
    }
    if rust_version() >= OLDEST_RUST:
        return tools
    session.log("no recent cargo on this machine: fetching a Rust toolchain (1 min, once)")
    info = HOME / "rust.json"
    info.parent.mkdir(parents=True, exist_ok=True)
    fetch = (program("build", "python"), "-m", "puccinialin")
    try:
        session.run(*fetch, "--location", str(HOME / "rust"), "--info-json", str(info), external=True)
    except nox.command.CommandFailed:
        session.warn(
            "no Rust: the targets ort-rust and ort-pyo3 and the probe process are left out; install it: https://rustup.rs"
        )
        return None
    return with_toolchain(tools, json.loads(info.read_text())["env"])


def cargo(session: nox.Session, env: dict[str, str | None], *arguments: str) -> None:
    """Run cargo, the one on the PATH of `env`."""
    session.run(str(shutil.which("cargo", path=env["PATH"])), *arguments, external=True, env=env)


def with_toolchain(tools: dict[str, str | None], toolchain: dict[str, str]) -> dict[str, str | None]:
    """Return the environment with a toolchain that was fetched, whose PATH comes first."""
    path = os.pathsep.join(filter(None, (toolchain.get("PATH"), tools["PATH"])))
    return {**toolchain, **tools, "PATH": path}


def rust_version() -> tuple[int, ...]:
    """Return the version of the machine's rustc; (0,) when there is none."""
    text = output_of("rustc") if shutil.which("cargo") else ""
    found = re.search(r"(\d+)\.(\d+)", text)
    return (int(found[1]), int(found[2])) if found else (0,)


def engine_answers() -> bool:
    """Return whether there is a Docker engine that this user may speak to."""
    command = ["docker", "info", "--format", "{{.ServerVersion}}"]
    return bool(shutil.which("docker")) and subprocess.run(command, capture_output=True, check=False).returncode == 0


def is_new_enough(program: str) -> bool:
    """Return whether `program` is a hyperfine that writes the JSON schema runoff reads."""
    found = re.search(r"(\d+)\.", output_of(program))
    return found is not None and int(found[1]) >= int(HYPERFINE.split(".", maxsplit=1)[0])


def output_of(*command: str) -> str:
    """Return what a command prints with ``--version``; nothing when it cannot be run."""
    try:
        return subprocess.run([*command, "--version"], capture_output=True, text=True, check=False).stdout
    except OSError:
        return ""
