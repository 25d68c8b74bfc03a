"""PyTorch's own ways to compute in fewer bits, for networks whose inputs and outputs stay in float32.

16 bits: ``torch.autocast`` around all inferences, as in "CPU Inference Example" of its documentation
(https://docs.pytorch.org/docs/stable/amp.html); never left, it keeps the converted weights. 8 bits:
``torch.ao.quantization.quantize_dynamic``, which converts linear and recurrent layers only
(https://docs.pytorch.org/docs/stable/quantization.html).
"""

from __future__ import annotations

import warnings

import torch

from runoff_runners.protocol import RunnerError, one_line

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from runoff_runners.interfaces import Settings

_HALF = {"fp16": torch.float16, "bf16": torch.bfloat16}


def reduced(network: torch.nn.Module, settings: Settings, called: Iterable[torch.nn.Module]) -> torch.nn.Module:
    """Return a module that computes `network` in ``settings["precision"]``.

    Parameters
    ----------
    called
        The modules of `network` whose outputs are used: itself, or its parts.

    Raises
    ------
    RunnerError
        ``provider-unavailable``: not on this device, or nothing of the network can be converted.
    """
    precision = settings["precision"]
    if settings["provider"] != "cpu":
        raise _unavailable(f"{precision!r} is for the provider cpu only")
    if precision in _HALF:
        for module in called:
            _autocast(module, _HALF[precision])
        return network
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            quantized: torch.nn.Module = torch.ao.quantization.quantize_dynamic(network, dtype=torch.qint8)
    except Exception as error:  # whatever a network of the user's raises
        raise _unavailable(f"'int8': torch.ao.quantization.quantize_dynamic: {one_line(error)}") from error
    if not any(type(module).__module__.startswith("torch.ao.nn.quantized") for module in quantized.modules()):
        raise _unavailable("'int8': the network has no layer that quantize_dynamic converts (Linear, LSTM, GRU)")
    return quantized


def _unavailable(message: str) -> RunnerError:
    return RunnerError("provider-unavailable", f"settings.precision: {message}", 'set precision = "fp32"')


def _autocast(module: torch.nn.Module, dtype: torch.dtype) -> None:
    """Compute a module in half precision from now on; its outputs are converted to float32."""
    autocast = torch.autocast("cpu", dtype=dtype)

    def begin(*_: object) -> None:
        # a state of each thread, which the end of `inference_mode` resets
        autocast.__enter__()

    module.register_forward_pre_hook(begin)
    module.register_forward_hook(lambda _module, _inputs, outputs: _float32(outputs))


def _float32(answer: object) -> object:
    if isinstance(answer, torch.Tensor):
        return answer.float() if answer.dtype in _HALF.values() else answer
    if isinstance(answer, dict):
        return {name: _float32(value) for name, value in answer.items()}
    return [_float32(value) for value in answer] if isinstance(answer, (tuple, list)) else answer
