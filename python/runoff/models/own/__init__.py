"""A user's ONNX model: reading it, choosing sizes and inputs, computing references.

All but `runoff.models.own.find` runs in the environment ``inspect``, which has onnx and ONNX Runtime.
"""
