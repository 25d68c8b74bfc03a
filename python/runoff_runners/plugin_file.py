"""The target of a plug-in, loaded from its file: what else is installed next to the plug-in must not be found."""

from __future__ import annotations

import sys
from importlib.util import module_from_spec, spec_from_file_location

TYPE_CHECKING = False
if TYPE_CHECKING:
    from runoff_runners.interfaces import Target


def load(path: str) -> Target:
    """Return the module in the file `path`.

    Raises
    ------
    ImportError
        If it cannot be read.
    """
    spec = spec_from_file_location(path.rpartition("/")[2].removesuffix(".py"), path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is not a module")
    module = module_from_spec(spec)
    sys.modules[spec.name] = module
    try:
        spec.loader.exec_module(module)
    except OSError as error:
        raise ImportError(f"{path}: {error.strerror}") from error
    return module
