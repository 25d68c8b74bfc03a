"""Promptable models: fitted weights, pictures, encoder and decoder as ONNX files. All in the export environment."""
