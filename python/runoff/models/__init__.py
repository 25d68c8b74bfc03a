"""Models: the zoo, their export to files, and the store that keeps them."""
