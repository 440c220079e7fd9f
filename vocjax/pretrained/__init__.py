"""Foreign weights: how others name and lay them out."""
