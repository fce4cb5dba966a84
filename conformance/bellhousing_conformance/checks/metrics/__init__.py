"""Profile METRICS."""
