"""Weights that a run begins with, from other libraries or other runs; see the README beside."""
