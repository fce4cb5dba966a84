"""Profile THROUGHPUT."""
