"""Measures what the framework costs, as ratios and differences within one run, interleaved. Run by `make bench`."""
