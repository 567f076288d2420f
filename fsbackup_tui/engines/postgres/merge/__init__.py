"""Rows of a restored copy put back into the live database (design §6 *merge*, ops.md o)."""
