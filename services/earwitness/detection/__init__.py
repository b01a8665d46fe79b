"""How well a detector tells genuine from spoofed: equal error rates, DET plots, score files and their keys."""
