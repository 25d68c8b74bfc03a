"""``runoff bisect``: the release of a package that made a model slower, larger or less accurate."""
