"""Profile ADAPTERS."""
