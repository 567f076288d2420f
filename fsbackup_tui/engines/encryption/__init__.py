"""Encryption of artifacts with stock formats: OpenPGP by gpg, age by pyrage."""
