"""Profile EQUIVALENCE: the target against another, given by `--against`."""
