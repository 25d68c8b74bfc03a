"""``runoff selftest``: verifies on this machine that injected faults and slowdowns are detected, and no others."""
