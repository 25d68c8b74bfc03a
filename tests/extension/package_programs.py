"""Inference code of two PyPI packages, printed as JSON: ``python package_programs.py NAME``."""

from __future__ import annotations

import json
import sys
from typing import Any

import numpy as np

RATE = 16_000


def rapidocr() -> Any:
    """Read the text of a picture: detection, direction, recognition."""
    from PIL import Image, ImageDraw, ImageFont
    from rapidocr_onnxruntime import RapidOCR

    picture = Image.new("RGB", (640, 240), "white")
    draw = ImageDraw.Draw(picture)
    for line, text in enumerate(["Benchmark 2026", "two runtimes, one answer", "3.14159 + 2.71828"]):
        draw.text((20, 20 + 70 * line), text, "black", ImageFont.load_default(40))
    found, _ = RapidOCR(intra_op_num_threads=1)(np.asarray(picture))
    return [[[list(map(float, corner)) for corner in box], text, float(score)] for box, text, score in found]


def silero() -> Any:
    """Look for speech in tones and noise: chunk by chunk with state, and as a sequence."""
    import torch
    from silero_vad import VADIterator, get_speech_timestamps, load_silero_vad
    from silero_vad.sequence_vad import get_speech_timestamps_sequence

    time = np.arange(4 * RATE) / RATE
    voice = sum(np.sin(2 * np.pi * 130 * part * time) / part for part in range(1, 20))
    noise = np.random.default_rng(1).standard_normal(time.size)
    envelope = np.clip(np.sin(2 * np.pi * 0.5 * time), 0, 1) * (1 + 0.5 * np.sin(2 * np.pi * 4 * time))
    audio = (0.2 * voice * envelope + 0.01 * noise).astype(np.float32)
    model = load_silero_vad(onnx=True)
    chunks = torch.from_numpy(audio[: audio.size // 512 * 512].copy()).reshape(-1, 512)
    chances = [model(chunk, RATE).item().hex() for chunk in chunks]
    model.reset_states()
    iterator = VADIterator(model, threshold=0.05)
    events = [event for event in map(iterator, chunks) if event]
    sequence = load_silero_vad(sequence=True)
    return {
        "chances": chances,
        "events": events,
        "timestamps": get_speech_timestamps(torch.from_numpy(audio), model, threshold=0.05),
        "sequence": get_speech_timestamps_sequence(audio, sequence, threshold=0.05),
        "sequence chances": [value.hex() for value in sequence.audio_forward(audio).tolist()],
    }


PROGRAMS = {"rapidocr_onnxruntime": rapidocr, "silero_vad": silero}

if __name__ == "__main__":
    result = PROGRAMS[sys.argv[1]]()
    used = [name for name in ("onnxruntime", "runoff_ort.onnxruntime") if name in sys.modules]
    sys.stdout.write("\n" + json.dumps({"result": result, "used": used}))
