"""Evidence for ways to search: their explanations beside real audio, by classifiers not used for selection."""
