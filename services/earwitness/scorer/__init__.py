"""The scorer: references of real activations, and the Fréchet distance of a batch from them."""
