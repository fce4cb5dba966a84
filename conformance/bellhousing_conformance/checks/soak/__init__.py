"""Profile SOAK."""
