"""The terminal application: a viewer that owns no data pipe."""
