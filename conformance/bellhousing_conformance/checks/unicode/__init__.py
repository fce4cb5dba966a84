"""Profile UNICODE."""
