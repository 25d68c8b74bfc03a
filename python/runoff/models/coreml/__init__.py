"""CoreML on any machine: conversion from PyTorch, and an evaluator that says what a saved package computes.

Only ``python -m runoff.models.export --coreml`` and the tests import this; it runs in the export environment.
"""

import logging
import os

# coremltools reads both when it is imported. Its progress bars would be all that a user sees, and it warns of every
# library that is newer than itself.
os.environ.setdefault("TQDM_DISABLE", "1")
logging.getLogger("coremltools").setLevel(logging.ERROR)
