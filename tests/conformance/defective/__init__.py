"""Our real backends, each with defects in what it tells its engine; a file of a test says which is in force."""
