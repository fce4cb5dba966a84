"""The defects: a file for each, named by it; `saboteur.saboteurs` finds them."""
