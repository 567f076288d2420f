"""Addresses of replicas, for those who open them."""

from __future__ import annotations

from fsbackup_tui.domain.replica_address import Address, parse_address

__all__ = ["Address", "parse_address"]
