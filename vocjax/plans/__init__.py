"""Many experiments: which there are, what is left to do, how long it takes, how it goes."""
