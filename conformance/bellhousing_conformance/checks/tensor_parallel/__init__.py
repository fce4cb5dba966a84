"""Profile TENSOR-PARALLEL."""
