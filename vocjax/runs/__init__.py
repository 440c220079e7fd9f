"""Run directories: what is written into them, read from them, and restored."""
