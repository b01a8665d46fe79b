"""Evidence for explanations of finished sweeps, by classifiers and a distance not used for selection."""
