"""Scripts of the repository: generated files, checks and the demonstration. Run them through `make`."""
