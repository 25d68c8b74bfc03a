"""How often intervals hold the truth: simulation on noise of many kinds, and the rules that were not taken."""
