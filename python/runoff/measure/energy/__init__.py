"""Joules: where they are counted on this machine, and the pass that reads the counters around the work."""
