"""Commands and terminal."""
