"""Write the inputs of `add.onnx` as NumPy does: ``python make_arrays.py`` writes them beside this file."""

from pathlib import Path

import numpy as np

FOLDER = Path(__file__).parent
ARRAYS = {
    "a": np.array([[1, 2], [3, 4]], np.float32),
    "b": np.full((2, 2), 0.5, np.float32),
    "n": np.array([7, -1], np.int64),
}

if __name__ == "__main__":
    np.savez(FOLDER / "stored.npz", **ARRAYS)
    np.savez_compressed(FOLDER / "deflated.npz", **ARRAYS)
