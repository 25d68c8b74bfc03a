"""``runoff explain``: which parts of a model make one way of running it slower than another."""
