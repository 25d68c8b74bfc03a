"""Running and timing: the two engines, and the conditions of the machine."""
