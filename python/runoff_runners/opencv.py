"""OpenCV, from an environment that only segmentation needs: the footprint of other workloads is without it."""

from __future__ import annotations

import os
import sys

from runoff_runners.protocol import RunnerError

# last, so NumPy is the runner's own
sys.path.append(os.environ.get("RUNOFF_OPENCV", ""))
try:
    import cv2
except ImportError as error:
    raise RunnerError(
        "runtime-missing",
        f"segmentation needs OpenCV: {error}",
        "make the environment: nox -s opencv, or runoff setup opencv",
    ) from error

__all__ = ["cv2"]
