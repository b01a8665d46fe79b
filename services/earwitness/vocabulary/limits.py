"""What one request may hold, on both sides of it; the protos state the same numbers."""

MAX_SEED = 2**63 - 1
"""The largest seed."""
MAX_WEIGHT = 1e6
"""Of a direction. Far beyond it the square of the gradient leaves float32, and Adam stands still without a word."""
MAX_CHUNK_BYTES = 2**20
"""The most a chunk of a shard may hold."""
MAX_SHARD_ROWS = 1_000_000
MAX_SHARD_BYTES = 64 * 2**20
"""The most a shard may hold."""
MAX_TENSOR_BYTES = 15 * 2**20
"""The most that all numbers of a request to the scorer, or of its answer, may take: below what a message holds by
default, so that a refusal can name the field."""
