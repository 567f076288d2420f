"""A line of the audit log has one form: no byte of it can be another."""

from __future__ import annotations

from datetime import UTC, datetime

from fsbackup_tui.domain.audit import ChainCheck, Deed, Head, Misfit, audit_line

NOW = datetime(2026, 11, 22, 3, 0, tzinfo=UTC)


def lines(count: int) -> list[bytes]:
    head, made = Head(), []
    for number in range(count):
        deed = Deed("clear", "ana", "ok", NOW, {"host": "db1"}, subject=f"point {number} \udc80 é")
        line, head = audit_line(deed, head)
        made.append(line)
    return made


def verdict(data: bytes) -> Misfit | None:
    chain = ChainCheck()
    *whole, rest = data.split(b"\n")
    for line in whole:
        misfit = chain.take(line)
        if misfit is not None:
            return misfit
    return Misfit(0, "torn") if rest else chain.end()


def test_what_was_written_fits_whatever_is_in_it() -> None:
    assert verdict(b"".join(lines(4))) is None


def test_every_flipped_bit_is_seen() -> None:
    data = b"".join(lines(3))
    for place in range(len(data)):
        for bit in range(8):
            harmed = bytearray(data)
            harmed[place] ^= 1 << bit
            assert verdict(bytes(harmed)) is not None, (place, bit)


def test_what_is_too_long_is_cut() -> None:
    more: dict[str, object] = {"a" * 900: "b" * 900, "many": list(range(900)), "deep": {"x": [{}]}}
    line, _ = audit_line(Deed("x" * 900, "o", "ok", NOW, {}, arguments=more), Head())
    assert len(line) < 4000
    assert verdict(line) is None
