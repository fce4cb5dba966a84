"""What is judged: an endpoint alone, one with hooks, or a server that the suite starts."""
