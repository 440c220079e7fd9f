"""One loop for every task: state, step, checkpoints, records."""
