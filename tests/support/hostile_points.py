"""Points of files whose stored bytes, list or manifest somebody with bad intent has made."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from fsbackup_tui.engines.compression import zstd_module
from fsbackup_tui.repository.layout import open_repository
from tests.support.file_sites import PART, FileSite
from tests.support.hostile_archives import good_archive, good_index
from tests.support.resealing import reseal


@dataclass
class HostilePoint:
    """One point of a site, of which archive and index are written anew each time."""

    files: FileSite
    _good: bytes = b""

    @property
    def directory(self) -> Path:
        """Where the part lies."""
        return self.files.site.repository / "points" / self.files.point / PART

    def store(
        self,
        archive: bytes | None = None,
        index: bytes | None = None,
        told: Mapping[str, Mapping[str, object]] | None = None,
        packed: bytes | None = None,
    ) -> None:
        """Store and seal a point of this archive and index; ``told`` changes what is told of them.

        ``packed`` is the archive as it is stored, however it was made.
        """
        plain = {
            "archive": good_archive() if archive is None else archive,
            "index": good_index() if index is None else index,
        }
        manifest = self.directory.parent / "manifest.json"
        self._good = self._good or manifest.read_bytes()
        document = json.loads(self._good)
        part = next(each for each in document["parts"] if each["source"] == PART)
        for artifact in part["artifacts"]:
            content = plain.get(artifact["role"], b"")
            stored = zstd_module().compress(content, 1)
            if artifact["role"] == "archive" and packed is not None:
                stored = packed
            (self.directory / artifact["path"]).write_bytes(stored)
            artifact["compression"] = "zstd:1"
            artifact["plain_bytes"] = len(content)
            artifact["plain_sha256"] = hashlib.sha256(content).hexdigest()
        manifest.write_text(json.dumps(document))
        repository = open_repository(self.files.site.repository)
        reseal(repository, self.files.point)
        if told:
            self._lie(told)

    def _lie(self, told: Mapping[str, Mapping[str, object]]) -> None:
        """Change what manifest and part.json tell, with every sum of it made to match."""
        from fsbackup_tui.repository.checksums import SUMS_NAME, parse_sums

        for path in (self.directory.parent / "manifest.json", self.directory / "part.json"):
            document = json.loads(path.read_bytes())
            for part in document.get("parts", [document]):
                for artifact in part["artifacts"]:
                    artifact.update(told.get(artifact["role"], {}))
            path.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n")
        part_sums = self.directory / SUMS_NAME
        point_sums = self.directory.parent / SUMS_NAME
        for sums, names in (
            (part_sums, ("part.json",)),
            (point_sums, ("manifest.json", f"{PART}/part.json", f"{PART}/{SUMS_NAME}")),
        ):
            known = parse_sums(sums.read_bytes())
            for name in names:
                known[name] = hashlib.sha256((sums.parent / name).read_bytes()).hexdigest()
            lines = sorted(f"{digest}  {name}\n" for name, digest in known.items())
            sums.write_text("".join(sorted(lines, key=lambda line: line.partition("  ")[2])))
