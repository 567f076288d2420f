"""How what was found of files, configuration or code is put: the one screen of the damage."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from fsbackup_tui.domain.site_damage import SiteDamage
from fsbackup_tui.domain.text import count_text, duration_text, plain_text, shorten
from fsbackup_tui.domain.tree import FilesLook, Found, RowFit
from fsbackup_tui.recovery.actions.action import Situation
from fsbackup_tui.recovery.actions.words import moment
from fsbackup_tui.recovery.facts import read_value

_LABEL = 11
_NAMES = 3
_NAME = 40


def size(count: int | None) -> str:
    """Return bytes as people read them."""
    from fsbackup_tui.operations.wording import size_text

    return size_text(count)


def files_text(found: Found) -> str:
    """Return how many files and bytes: ``5 300 files, 1.2 GB``."""
    word = "file" if found.count == 1 else "files"
    return f"{count_text(found.count)} {word}, {size(found.bytes)}"


def names_text(found: Found, most: int = _NAMES) -> str:
    """Return the first names, and that there are more."""
    names = [shorten(plain_text(name), _NAME) for name in found.names[:most]]
    return ", ".join(names) + (" …" if found.count > len(names) else "")


def files_written_lines(written: Found | None) -> tuple[str, ...]:
    """Return what was written to the restored tree since it was exchanged."""
    if written is None:
        return ("What was written since the exchange is not known.",)
    lines = [f"Written since the exchange: {files_text(written)}"]
    if written.count:
        lines += [f"  like {names_text(written)}", "They come along into the former tree."]
    return tuple(lines)


def files_look(damage: SiteDamage | None) -> FilesLook | None:
    """Return live's tree beside the point's; None before it was looked at, or of another kind."""
    if damage is None or damage.kind != "files":
        return None
    return read_value(FilesLook, damage.found)


def damage_lines(situation: Situation) -> tuple[str, ...]:
    """Return the damage on one screen: what is missing, in the point, nowhere; disk and time."""
    damage = situation.facts.site_damage
    if damage is None:
        return ()
    if not damage.point:
        return tuple(plain_text(note) for note in damage.notes) or ("There is no point of it.",)
    lines = [f"Live now against {damage.point}, {moment(situation, damage.point_at)}:"]
    look = files_look(damage)
    if look is not None:
        lines += _files_lines(situation, damage, look)
    else:
        found = damage.found.get("lines")
        lines += [f"  {plain_text(str(each))}" for each in found] if found else []
    return (*lines, *(f"  {plain_text(note)}" for note in damage.notes))


def _row(label: str, text: str) -> str:
    return f"  {label:<{_LABEL}}{text}"


def _files_lines(situation: Situation, damage: SiteDamage, look: FilesLook) -> Iterator[str]:
    candidate = damage.candidate(damage.point)
    of_all = ""
    if candidate is not None and candidate.files is not None:
        of_all = f" of the point's {count_text(candidate.files)}"
    if not look.exists:
        yield _row("GONE", f"{plain_text(look.root)} itself is not there")
    yield _row("missing", f"{files_text(look.missing)}{of_all}")
    if look.missing.names:
        yield _row("", f"like {names_text(look.missing)}")
    if look.rows:
        yield _row("put back", f"{files_text(look.wanted)}: a row in live names them")
        if look.unnamed.count:
            yield _row("", f"{files_text(look.unnamed)} no row names: users may have erased them")
    yield from _nowhere(look.rows)
    if look.changed.count:
        newer = f", {count_text(look.newer.count)} of them newer in live"
        yield _row("changed", f"{files_text(look.changed)}{newer}: they stay as they are")
    if look.only_live.count:
        yield _row("only live", f"{files_text(look.only_live)}, since the point: they stay")
    free = size(look.free_bytes)
    yield _row("disk", f"{size(look.needed_bytes)} needed, {free} free")
    yield _row("", f"{size(look.beside_bytes)} for the whole tree beside")
    took = None if candidate is None else candidate.seconds
    about = "not known yet" if took is None else f"about {duration_text(max(1.0, took))}"
    yield _row("time", about)
    yield from (f"  {plain_text(note)}" for note in look.notes)


def _nowhere(rows: Sequence[RowFit]) -> Iterator[str]:
    """Yield what rows name and nobody has; where no links are configured, that it is not known."""
    if not rows:
        yield _row("nowhere", "not known: no links: in the configuration tell what rows name")
        return
    for row in rows:
        column = plain_text(f"{row.table}.{row.column}")
        if row.note:
            yield _row("rows", f"{column}: {plain_text(row.note)}")
        elif row.nowhere.count:
            one = row.nowhere.count == 1
            files, them = ("file", "it") if one else ("files", "them")
            told = f"{count_text(row.nowhere.count)} {files} that {column} names"
            yield _row("NOWHERE", f"{told}: neither has {them}")
            if row.nowhere.names:
                yield _row("", f"like {names_text(row.nowhere)}")
        else:
            yield _row("nowhere", f"no file that {column} names, of {count_text(row.rows)} rows")
