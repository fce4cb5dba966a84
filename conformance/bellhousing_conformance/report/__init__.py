"""The report: its versioned model, what writes it, and what is read off one or several."""
