"""External programs and servers, one module each."""
