"""The directory that holds recovery points (design §5): the truth, written atomically."""
