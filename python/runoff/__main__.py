"""``python -m runoff``."""

from runoff.cli import main

main()
