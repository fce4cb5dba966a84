"""Profile SAMPLING."""
