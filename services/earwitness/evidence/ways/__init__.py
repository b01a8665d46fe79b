"""Evidence for ways to search: explanations found by each of them, judged by what chose nothing, beside real audio."""
