"""Profile BATCHING."""
