"""Places elsewhere that hold copies: one interface, and a program for each way there."""
