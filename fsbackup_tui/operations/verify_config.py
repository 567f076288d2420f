"""Showing a configuration good: decrypted, every member read, compared with what is told of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from fsbackup_tui.domain.errors import PointDamaged
from fsbackup_tui.domain.point import Artifact, PartManifest
from fsbackup_tui.domain.site_parts import ConfigFacts
from fsbackup_tui.engines.chain import read_artifact
from fsbackup_tui.engines.compression import ByteStream
from fsbackup_tui.engines.config_digest import DigestKey, config_facts
from fsbackup_tui.engines.config_files import TAR_NAME, ConfigItem, ConfigTarDamaged, read_tar
from fsbackup_tui.engines.encryption.keys import ReadingKeys
from fsbackup_tui.operations.context import JobContext
from fsbackup_tui.operations.digest_key import known_digest_key
from fsbackup_tui.operations.findings import Finding
from fsbackup_tui.repository.layout import Repository
from fsbackup_tui.repository.reader import PointReader

_SHOWN = 5


async def config_readable(
    context: JobContext,
    repository: Repository,
    reader: PointReader,
    part: PartManifest,
    keys: ReadingKeys,
) -> list[Finding]:
    """Read a configuration to its end and return what is wrong; KeyUnavailable."""
    name = TAR_NAME
    try:
        name = config_artifact(part).path
        items = await read_items(reader, part, keys)
    except PointDamaged as error:
        return [Finding(part.source, name, error.why or error.what)]
    facts = part.config
    if facts is None:
        return [Finding(part.source, None, "the manifest tells nothing of its entries")]
    key = known_digest_key(context, repository)
    if key is None or key.id != facts.digest_key:
        found = config_facts(items, DigestKey.new())
        return [Finding(part.source, name, text) for text in _entry_problems(facts, found)]
    found = config_facts(items, key)
    problems = [*_entry_problems(facts, found), *_value_problems(facts, found)]
    return [Finding(part.source, name, text) for text in problems]


def config_artifact(part: PartManifest) -> Artifact:
    """Return the stored tar of a config part; PointDamaged where it names none."""
    for artifact in part.artifacts:
        if artifact.path.startswith(TAR_NAME):
            return artifact
    raise PointDamaged(f"NOTHING IN IT: the part {part.source} names no {TAR_NAME}.")


async def read_items(
    reader: PointReader, part: PartManifest, keys: ReadingKeys
) -> tuple[ConfigItem, ...]:
    """Return what a config part holds, checked to its end before it is returned.

    Raises:
        KeyUnavailable: nothing here opens it.
        PointDamaged: it is altered or cut off.
    """
    artifact = config_artifact(part)
    path = reader.artifact_path(part.source, artifact)

    def consume(stream: ByteStream) -> tuple[ConfigItem, ...]:
        try:
            return read_tar(stream)
        except ConfigTarDamaged as error:
            raise PointDamaged(
                f"NOT READABLE: {artifact.path}.",
                why=f"{error}",
                fix="Take another copy of this point, or another point.",
            ) from error

    return await read_artifact(path, artifact, keys, consume)


def _entry_problems(told: ConfigFacts, found: ConfigFacts) -> Iterator[str]:
    expected = {(entry.origin, entry.name): dict(entry.keys) for entry in told.entries}
    there = {(entry.origin, entry.name): dict(entry.keys) for entry in found.entries}
    if expected.keys() != there.keys():
        yield f"other entries than the manifest names: {_names(expected.keys() ^ there.keys())}"
    for entry, keys in there.items():
        if entry in expected and expected[entry].keys() != keys.keys():
            yield f"{entry[1]}: other keys than the manifest names"


def _value_problems(told: ConfigFacts, found: ConfigFacts) -> Iterator[str]:
    expected = {(entry.origin, entry.name): entry for entry in told.entries}
    for entry in found.entries:
        known = expected.get((entry.origin, entry.name))
        if known is not None and known.digest != entry.digest:
            yield f"{entry.name}: another value than the one that was captured"
        elif known is not None and dict(known.keys) != dict(entry.keys):
            yield f"{entry.name}: another value of a key than the one that was captured"


def _names(entries: set[tuple[str, str]]) -> str:
    listed: Sequence[str] = sorted(name for _origin, name in entries)
    more = len(listed) - _SHOWN
    return ", ".join(listed[:_SHOWN]) + (f" and {more} more" if more > 0 else "")
