"""Which kinds of sources a site has, what can be seen of each, and which runbooks are about it."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from fsbackup_tui.config.load import LoadedConfig
from fsbackup_tui.config.sources import PostgresSource
from fsbackup_tui.domain.errors import UsageError
from fsbackup_tui.domain.incident import Seen
from fsbackup_tui.domain.place import SourceKind

_OF_SEEN: Mapping[Seen, tuple[SourceKind, ...]] = {
    "rows": ("postgres",),
    "structure": ("postgres",),
    "errors": ("postgres",),
    "files": ("files",),
    "server": ("postgres",),
    "config": ("config", "code"),
}
"""What each thing that can be seen is the matter with; the runbooks of this version lead out."""

KIND_WORDS: Mapping[SourceKind, str] = {
    "postgres": "database",
    "files": "files",
    "config": "configuration",
    "code": "code",
}
"""What each kind is called in a sentence."""


def source_kinds(loaded: LoadedConfig) -> Mapping[str, SourceKind]:
    """Return the sources that can be recovered, each with its kind, in the file's order."""
    return {
        name: source.kind
        for name, source in loaded.config.sources.items()
        if not (isinstance(source, PostgresSource) and source.scope == "schema")
    }


def seen_here(loaded: LoadedConfig) -> tuple[Seen, ...]:
    """Return what can be seen at this site: of what it has no source, nothing is offered."""
    kinds = set(source_kinds(loaded).values())
    return (*(seen for seen, about in _OF_SEEN.items() if kinds & set(about)), "unknown")


def sources_for(
    loaded: LoadedConfig, seen: Seen, about: Collection[SourceKind] | None = None
) -> tuple[str, ...]:
    """Return the sources that it can be: of the kinds that are seen, and of those in ``about``.

    Who does not know what it is begins with the database, where there is one.
    """
    kinds = source_kinds(loaded)
    fitting = _OF_SEEN.get(seen)
    if fitting is None:
        fitting = ("postgres",) if "postgres" in kinds.values() else tuple(kinds.values())
    allowed = set(fitting if about is None else about)
    return tuple(name for name, kind in kinds.items() if kind in allowed)


def seen_of(loaded: LoadedConfig, source: str) -> tuple[Seen, ...]:
    """Return what can be seen of one source."""
    kind = source_kinds(loaded).get(source, "postgres")
    return (*(seen for seen, about in _OF_SEEN.items() if kind in about), "unknown")


def require_sources(loaded: LoadedConfig) -> None:
    """Raise UsageError where the site has nothing that can be recovered."""
    if source_kinds(loaded):
        return
    raise UsageError(
        "NOTHING TO RECOVER: the configuration names no database with data, no files,"
        " configuration or code.",
        fix="Name one under sources:, or restore a file by hand (RECOVER.md).",
    )


def drilled_sources(loaded: LoadedConfig, about: Collection[SourceKind]) -> tuple[str, ...]:
    """Return the sources of these kinds that a drill can play on a copy of: settings have none."""
    kinds = source_kinds(loaded)
    return tuple(name for name, kind in kinds.items() if kind in about and kind != "config")


def named_source(loaded: LoadedConfig, wanted: str) -> str:
    """Return the source of that name; UsageError where it is none that can be recovered."""
    kinds = source_kinds(loaded)
    if wanted in kinds:
        return wanted
    known = ", ".join(kinds) or "none"
    raise UsageError(f"NO SUCH SOURCE: {wanted}.", why=f"There are: {known}.")
