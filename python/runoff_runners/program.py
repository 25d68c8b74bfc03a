"""The main program of every Python runner: arguments, ``--capabilities``, the result, the exit code."""
# pathlib would add milliseconds to every process:
# ruff: noqa: PTH112, PTH119

from __future__ import annotations

import errno
import gc
import json
import os
import sys

from runoff_runners.model import check_items
from runoff_runners.process import mapped_library, peak_bytes, sum_mappings
from runoff_runners.protocol import (
    PREPARED,
    VERSION,
    Phases,
    RunnerError,
    environment_hint,
    memory_readings,
    one_line,
    write_json,
)
from runoff_runners.request import OPTIONAL_SETTINGS, check_request, read_json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from runoff_runners.interfaces import Fields, Request, Target

_USAGE = "usage: RUNNER --request FILE --result FILE | --capabilities\n"


def main(name: str, load_target: Callable[[], Target], began_ns: int) -> int:
    """Run the program and return its exit code, or exit the process immediately, without teardown.

    Parameters
    ----------
    name
        The runner's name.
    load_target
        Imports the runtime.
    began_ns
        Time at the first line of the runner's own code, in nanoseconds.
    """
    arguments = sys.argv[1:]
    if arguments in (["--capabilities"], ["--probe"]):
        return _print_capabilities(name, load_target)
    named = dict(zip(arguments[::2], arguments[1::2], strict=False))
    if len(arguments) != 4 or named.keys() != {"--request", "--result"}:  # noqa: PLR2004 (two options)
        sys.stderr.write(_USAGE)
        return 2
    runner = _Runner(name, load_target, began_ns)
    fields = runner.answer(named["--request"])
    try:
        write_json(named["--result"], fields)
    except OSError as error:
        sys.stderr.write(f"{name}: cannot write --result {named['--result']}: {error.strerror}\n")
        return 1
    if runner.leaves_at_once:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(runner.exit_code)
    return runner.exit_code


class _Runner:
    """One request and its result."""

    def __init__(self, name: str, load_target: Callable[[], Target], began_ns: int) -> None:
        self.exit_code = 0
        self.leaves_at_once = False
        self._name = name
        self._load_target = load_target
        self._phases = Phases(began_ns)
        self._case = ""

    def answer(self, path: str) -> Fields:
        """Carry out the request in `path`; return the result, also of a failure."""
        try:
            result = self._perform(path)
        except RunnerError as error:
            failure = error
        except ImportError as error:
            failure = _runtime_missing(self._name, error)
        except Exception as error:  # noqa: BLE001 (the last resort of a program whose failures are results)
            failure = _unforeseen(error)
        else:
            return result
        self.exit_code = failure.exit_code
        sys.stderr.write(f"{self._name}: {failure.kind}: {failure.message}\n")
        reported = {"status": failure.status, "kind": failure.kind, "message": one_line(failure.message)}
        return {**self._head(), **reported, "hint": failure.hint, "phases": self._phases.done}

    def _perform(self, path: str) -> Fields:
        document = read_json(path)
        case = document.get("case")
        self._case = case if isinstance(case, str) else ""
        request = check_request(document)
        _check_preloaded()
        settings, measure = request["settings"], request["measure"]
        # without this, NumPy's BLAS, which is not used, starts one thread per core, and these spin for a while
        os.environ.setdefault("OPENBLAS_NUM_THREADS", str(settings["threads"]))
        if settings["teardown"] == "skip" and measure["kind"] in ("once", "mappings"):
            # imports trigger many garbage collections; this process leaves cycles to the system
            gc.disable()
        # after a failure from here on, a thread may still be preparing the first batch
        self.leaves_at_once = bool(settings["overlap"])
        self._phases.begin(request["spawn_ns"], memory_readings(measure))
        target = self._load_target()
        _check_capabilities(request, target, self._name)
        check_items(request)
        fields = target.perform(request, self._phases)
        fields["effective"]["ignored"] = _ignored(request, target)
        self._phases.end("output")
        self.leaves_at_once = settings["teardown"] == "skip"
        memory = {"peak_bytes": peak_bytes(), "after": {}, **self._phases.memory}
        if "mappings" in self._phases.memory:
            memory["mappings"] = {name: sum_mappings(one) for name, one in self._phases.memory["mappings"].items()}
        return {**self._head(), "status": "ok", "phases": self._phases.done, **fields, "memory": memory}

    def _head(self) -> Fields:
        return {"protocol": VERSION, "case": self._case}


def _ignored(request: Request, target: Target) -> list[str]:
    """Return the requested settings that are not applied; `prepared` needs the format of a prepared file."""
    settings = request["settings"]
    # a target with a format of its own takes no file that ONNX Runtime optimised for itself
    own = getattr(target, "PREPARES", None)
    usual = "onnx" if settings["prepared"] == "onnx" else PREPARED
    is_prepared = request["model"]["format"] == (own or usual)
    requested = [name for name in ("threads", *OPTIONAL_SETTINGS) if settings[name] is not None]  # type: ignore[literal-required]
    unprepared = {"prepared"} if settings["prepared"] and not is_prepared else set()
    most: int | None = getattr(target, "MOST_THREADS", None)
    too_many = {"threads"} if most and settings["threads"] > most else set()
    applied: dict[str, tuple[str, ...]] = getattr(target, "APPLIED", {})
    other = {name for name, values in applied.items() if settings[name] not in values}  # type: ignore[literal-required]
    return [name for name in requested if name not in target.SETTINGS or name in unprepared | too_many | other]


def _check_capabilities(request: Request, target: Target, name: str) -> None:
    """Check the request against the runner's capabilities, and that its outputs folder exists."""
    requested = (
        ("model.format", request["model"]["format"], target.FORMATS),
        ("measure.kind", request["measure"]["kind"], target.MEASURES),
        ("workload", request["workload"], _workloads(target)),
    )
    for field, value, known in requested:
        if known and value not in known:
            message = f"{field}: {value!r} is not among what {name} can do ({', '.join(known)})"
            raise RunnerError("bad-request", message, "see the runner's --capabilities")
    precision, known = request["settings"]["precision"], _precisions(target)
    if precision not in known:
        message = f"settings.precision: {name} computes in {' or '.join(known)}, not {precision!r}"
        raise RunnerError("provider-unavailable", message, 'set precision = "fp32"')
    if not os.path.isdir(request["outputs_dir"]):
        raise RunnerError("bad-request", f"outputs_dir: no such folder: {request['outputs_dir']}", "make it first")


def _precisions(target: Target) -> tuple[str, ...]:
    precisions: tuple[str, ...] = getattr(target, "PRECISIONS", ("fp32",))
    return precisions


def _workloads(target: Target) -> tuple[str, ...]:
    workloads: tuple[str, ...] = getattr(target, "WORKLOADS", ("classify", "tensor"))
    return workloads


def _print_capabilities(name: str, load_target: Callable[[], Target]) -> int:
    """Print the runner's capabilities on this machine as JSON; return 0, or 3 if it cannot run."""
    capabilities: Fields = {"protocol": [VERSION], "runner": name, "language": "python", "runtime": "none"}
    code = 0
    try:
        _check_preloaded()
        target = load_target()
        capabilities |= {
            "workloads": _workloads(target),
            "formats": target.FORMATS,
            "measures": target.MEASURES,
            "settings": target.SETTINGS,
            "precisions": _precisions(target),
            **target.capabilities(),
        }
    except (ImportError, RunnerError) as error:
        failure = error if isinstance(error, RunnerError) else _runtime_missing(name, error)
        code = 3
        capabilities["unavailable"] = {
            "kind": failure.kind,
            "message": one_line(failure.message),
            "hint": failure.hint,
        }
    sys.stdout.write(json.dumps(capabilities) + "\n")
    return code


def _check_preloaded() -> None:
    """Check that the libraries in ``LD_PRELOAD`` are loaded: the system only warns if one is not found.

    Raises
    ------
    RunnerError
        ``runtime-missing``.
    """
    for path in os.environ.get("LD_PRELOAD", "").replace(":", " ").split():
        if mapped_library(os.path.basename(path)) is None:
            message = f"LD_PRELOAD: {path} was not loaded"
            raise RunnerError("runtime-missing", message, "install the library, or unset LD_PRELOAD")


def _runtime_missing(name: str, error: ImportError) -> RunnerError:
    """Return the failure for a module missing from the runner's environment."""
    return RunnerError("runtime-missing", one_line(error), environment_hint(name))


def _unforeseen(error: Exception) -> RunnerError:
    """Return the failure for an unexpected exception."""
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return RunnerError("no-space", one_line(error), "free some space on the disk of outputs_dir")
    import traceback

    traceback.print_exception(error)
    message = one_line(f"{type(error).__name__}: {error}")
    return RunnerError("internal", message, "this is a bug in the runner: report it with the text on stderr")
