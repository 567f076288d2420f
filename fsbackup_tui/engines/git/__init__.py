"""Git work trees: captured without writing to them, checked by rebuilding them, rebuilt."""
