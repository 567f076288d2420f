"""Signing a point's SHA256SUMS with a stock tool, and telling whose signature one is."""
