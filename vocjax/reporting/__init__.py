"""Run directories in, one HTML page out."""
