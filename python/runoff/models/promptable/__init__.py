"""Promptable models: fitted weights, pictures, encoder and decoder as ONNX files. All of it runs in the export environment."""
