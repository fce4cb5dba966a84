"""Profile LATENCY."""
