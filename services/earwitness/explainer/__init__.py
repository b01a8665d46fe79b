"""The explainer service: searches a generator's latent space for what a classifier's unit listens for."""
