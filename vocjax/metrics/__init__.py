"""Metrics: sums that merge over batches, confusion matrices, and metrics of a whole split."""
