"""Running and timing: the engines, and the conditions of the machine."""
