"""Profile CORE."""
