"""``runoff tune``: finds the settings of a target that are best for one objective on this machine."""
