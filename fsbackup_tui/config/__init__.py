"""The configuration of one site: its schema and how it is read."""
