"""Trials, and who runs them."""
