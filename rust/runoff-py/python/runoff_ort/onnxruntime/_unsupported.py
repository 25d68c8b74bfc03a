"""The error for parts of onnxruntime's API that this module does not support."""

from __future__ import annotations

from typing import NoReturn

ELSEWHERE = "use the package onnxruntime for it"
# what to use instead, by the name that the error states, or its first word
INSTEAD = {
    "IOBinding.get_outputs_as_ortvaluevector": "use IOBinding.get_outputs",
    "InferenceSession.get_input_epdevices": "use InferenceSession.get_providers",
    "InferenceSession.run_with_ortvaluevector": "use InferenceSession.run_with_ort_values",
    "ModelCompiler": "runoff_ort.prepare optimises and saves a model",
    "SessionOptions.add_provider_for_devices": "use the argument providers of InferenceSession",
    "SessionOptions.set_provider_selection_policy": "use the argument providers of InferenceSession",
    "SessionOptions.set_provider_selection_policy_delegate": "use the argument providers of InferenceSession",
    "SessionOptions.use_per_session_threads": "each session has its own threads: set intra_op_num_threads",
    "copy_tensors": "use OrtValue.update_inplace",
    "enable_telemetry_events": "telemetry is always off",
    "get_ep_devices": "use get_available_providers",
    "memory": "runoff_ort.Session.on_device keeps arrays on a GPU",
    "set_global_thread_pool_sizes": "set SessionOptions.intra_op_num_threads",
}


class UnsupportedError(NotImplementedError, AttributeError):
    """A part of onnxruntime's API that this module does not support."""


def unsupported(name: str) -> NoReturn:
    """Raise an `UnsupportedError` for the attribute `name`, or for a value of it: ``CLASS.ATTRIBUTE = VALUE``."""
    hint = INSTEAD.get(name.split(maxsplit=1)[0], ELSEWHERE)
    message = f"runoff_ort.onnxruntime has no {name}: {hint}"
    raise UnsupportedError(message)
