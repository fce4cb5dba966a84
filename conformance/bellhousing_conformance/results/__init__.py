"""The published results: every backend of a list, judged one after the other, and one document of it all."""
