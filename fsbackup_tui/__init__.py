"""fsbackup: backup and emergency recovery for a PostgreSQL application."""

__version__ = "0.1.0"
