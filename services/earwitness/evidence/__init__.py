"""Evidence for explanations: judges and a distance that chose nothing, over finished sweeps, in a table and a page."""
