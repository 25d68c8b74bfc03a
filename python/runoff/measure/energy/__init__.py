"""Energy: the sources of readings on this machine."""
