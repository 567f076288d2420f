"""The sample site on an embedded server."""
