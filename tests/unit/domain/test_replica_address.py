"""Addresses of replicas."""

from __future__ import annotations

import pytest

from fsbackup_tui.domain.errors import UsageError
from fsbackup_tui.domain.replica_address import Address, parse_address


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("s3://bucket", Address("s3", "bucket")),
        ("s3://bucket/a/b/", Address("s3", "bucket/a/b")),
        ("sftp://me@host/backups", Address("sftp", "/backups", "host", "me")),
        ("sftp://host:2222/a%20b/", Address("sftp", "/a b", "host", "", 2222)),
        ("sftp://me@[fd00::1]:22/x", Address("sftp", "/x", "fd00::1", "me", 22)),
    ],
)
def test_addresses_are_read(text: str, address: Address) -> None:
    assert parse_address(text) == address
    assert parse_address(address.text().replace(" ", "%20")) == address


@pytest.mark.parametrize(
    "text",
    [
        *("bucket/prefix", "s3://", "s3:///x", "s3://-x/y", "s3://bucket/../x", "s3://b@bucket/x"),
        *("sftp://", "sftp://-oProxyCommand=x/y", "sftp://host:70000/x", "ftp://host/x"),
        *("s3://bucket/x?y", "sftp://host/x#y", "sftp://-u@host/x"),
    ],
)
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_address(text)
    assert "s3://BUCKET/PREFIX" in caught.value.fix


def test_a_password_in_it_is_refused_and_not_shown() -> None:
    with pytest.raises(UsageError) as caught:
        parse_address("sftp://me:canary-word@host/x")
    assert "canary-word" not in str(caught.value)
    assert "PASSWORD IN THE ADDRESS" in caught.value.what
