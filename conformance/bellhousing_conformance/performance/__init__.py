"""The published speeds: every backend of a list compared with the first one, and one document of it all."""
