"""The stock commands that are told beside a step: those that restore, encrypted or not."""

from __future__ import annotations

from fsbackup_tui.domain.point import PartManifest
from fsbackup_tui.operations.site_points import stock_of
from tests.support.points import START

SEAL = "(cd env && sha256sum -c SHA256SUMS)"
OPENED = (
    'gpg --output "$PLAIN"/config.tar.gz --decrypt env/config.tar.gz.gpg\n'
    "printf '%s  %s\\n' 51ab \"$PLAIN\"/config.tar.gz | sha256sum -c -\n"
    'tar -xpf "$PLAIN"/config.tar.gz -C "$CONFIG_TO"'
)


def part(kind: str, *commands: str) -> PartManifest:
    return PartManifest("env", kind, START, START, (), commands)


def test_what_opens_an_encrypted_part_is_told_though_it_compares_a_hash_too() -> None:
    for kind in ("config", "code"):
        assert stock_of(part(kind, SEAL, OPENED)) == tuple(OPENED.splitlines())


def test_the_seal_alone_is_left_out() -> None:
    plain = "tar -xpf env/config.tar.gz -C DIR"
    assert stock_of(part("config", SEAL, plain)) == (plain,)
