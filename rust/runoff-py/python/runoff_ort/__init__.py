# ruff: noqa: D104 (the compiled module has the documentation, which is that of the stub next to this file)
from . import runoff_ort as _compiled
from .runoff_ort import *  # noqa: F403

__doc__ = _compiled.__doc__
__all__ = _compiled.__all__
