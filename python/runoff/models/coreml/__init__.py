"""CoreML on any machine: conversion from PyTorch, and an evaluator that says what a saved package computes.

Only the program ``python -m runoff.models.coreml`` and the tests import this; it runs in the export environment.
"""
