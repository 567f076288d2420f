"""Measurements against the seed's script and the raw tools (design §10)."""
