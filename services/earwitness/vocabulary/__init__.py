"""The nouns that client, explainer and scorer share: frozen values, their limits, and (`messages`) how they travel."""
