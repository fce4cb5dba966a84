"""Profile STREAMING."""
