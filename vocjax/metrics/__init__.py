"""Metrics: sums over batches, confusion matrices, and metrics of a whole split or image."""
