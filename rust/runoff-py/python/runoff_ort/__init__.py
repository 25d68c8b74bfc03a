# ruff: noqa: D104 (the docstring comes from the compiled module, which copies it from the stub next to this file)
from . import runoff_ort as _compiled
from .runoff_ort import *  # noqa: F403

__doc__ = _compiled.__doc__
__all__ = _compiled.__all__
