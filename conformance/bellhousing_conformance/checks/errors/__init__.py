"""Profile ERRORS."""
