"""The operations a job runs, their typed requests, and the one answer for every face."""
