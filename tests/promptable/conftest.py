"""These tests run in the environment of the export, which has PyTorch, segment_anything and OpenCV."""

from __future__ import annotations

import torch

torch.set_num_threads(1)
