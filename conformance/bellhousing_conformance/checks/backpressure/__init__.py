"""Profile BACKPRESSURE."""
