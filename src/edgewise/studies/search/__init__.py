"""Search over a space of options (extra `search`)."""
