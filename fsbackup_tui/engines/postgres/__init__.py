"""PostgreSQL: its clients, connections, catalogues, dumps and restores."""
