"""Linen modules and pure functions of (variables, arrays)."""
