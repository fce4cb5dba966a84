"""Profile STOP."""
