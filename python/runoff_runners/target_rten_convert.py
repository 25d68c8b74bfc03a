"""RTen's own format, which the target ``rten`` maps: written by ``rten-convert`` from an ONNX file."""

from __future__ import annotations

import sys
from importlib.metadata import version

from rten_convert.converter import main

from runoff_runners.protocol import RunnerError, one_line

TYPE_CHECKING = False
if TYPE_CHECKING:
    from runoff_runners.interfaces import Fields, Spec

PREPARES = "rten"


def prepared_key(spec: Spec) -> Fields:  # noqa: ARG001 (free dimensions stay free)
    """Return what a converted model depends on, except the model's file; it is the same on every CPU."""
    return {"converter": version("rten-convert")}


def write_prepared(model: str, path: str, spec: Spec) -> None:  # noqa: ARG001 (as above)
    """Convert the ONNX file `model`, and write it to `path`.

    Raises
    ------
    RunnerError
        ``model-unsupported``.
    """
    sys.argv = ["rten-convert", model, path]
    try:
        main()
    except (Exception, SystemExit) as error:
        raise RunnerError(
            "model-unsupported", f"rten-convert: {model}: {one_line(error)}", "use the ONNX file"
        ) from error
