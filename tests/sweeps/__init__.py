"""Sweeps over damage and over faultless databases; ``python -m tests.sweeps`` runs them whole."""
