"""Trees of files: walked, captured through GNU tar, read, indexed, extracted, compared."""
