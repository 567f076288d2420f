"""A small configuration that tests write and change."""

from __future__ import annotations

from pathlib import Path

MINIMAL = """\
site: shop
repository: {repository}
sources:
  db: {{kind: postgres, url: "${{DIRECT_URL:-${{DATABASE_URL}}}}"}}
plans:
  daily: {{sources: [db]}}
"""


def private_directory(directory: Path) -> Path:
    """Make a directory that only its owner may enter, and return it."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    directory.chmod(0o700)
    return directory


def write_config(directory: Path, text: str | None = None, name: str = "fsbackup.yaml") -> Path:
    """Write a configuration into a private directory below ``directory`` and return its path."""
    path = private_directory(directory / "etc") / name
    path.write_text(MINIMAL.format(repository=directory / "repo") if text is None else text)
    path.chmod(0o600)
    return path
