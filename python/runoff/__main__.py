"""``python -m runoff``."""

from runoff.cli.main import main

main()
