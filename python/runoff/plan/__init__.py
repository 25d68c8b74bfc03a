"""The plan of a run: suites, settings, targets and cases."""
