"""Profile LIFECYCLE."""
