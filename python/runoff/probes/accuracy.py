"""``accuracy``: does the case compute what PyTorch computed when the model was stored? Always the first pass."""

from __future__ import annotations

from runoff.probes.base import Probe
from runoff.records.protocol import Accuracy

ACCURACY = Probe(name="accuracy", summary="outputs and input tensors against the model's reference", measure=Accuracy())
