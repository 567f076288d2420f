"""Guiding a recovery: runbooks, incidents, and what their steps ask of jobs."""
