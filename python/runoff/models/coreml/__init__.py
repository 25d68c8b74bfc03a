"""CoreML on any machine: conversion from PyTorch, and an evaluator of saved packages.

Only ``python -m runoff.models.export --coreml`` and the tests import this; it runs in the export environment.
"""

import logging
import os

# coremltools reads both when it is imported. Its progress bars would hide all other output, and it warns about every
# library that is newer than itself.
os.environ.setdefault("TQDM_DISABLE", "1")
logging.getLogger("coremltools").setLevel(logging.ERROR)
