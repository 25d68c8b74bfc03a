"""What to measure: suites, settings, cases."""
