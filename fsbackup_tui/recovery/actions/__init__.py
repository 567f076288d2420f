"""What the steps of runbooks do, by name."""
