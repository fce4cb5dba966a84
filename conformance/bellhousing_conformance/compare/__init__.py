"""Comparing two targets: blocks of both side by side, a noise floor, and what may be said of the ratio."""
