"""Profile DETERMINISM."""
