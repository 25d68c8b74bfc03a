"""``runoff profile``: flame graphs of a target, of Python and native frames together."""
