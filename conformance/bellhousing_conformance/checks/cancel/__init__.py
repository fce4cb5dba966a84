"""Profile CANCEL."""
