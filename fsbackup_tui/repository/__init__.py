"""The repository: where recovery points lie, how they are written, read and listed."""
