"""Servers that have extensions which nobody packages: stand-ins made of SQL."""

from __future__ import annotations

import shutil
from collections.abc import Collection, Mapping
from pathlib import Path


def with_stand_ins(
    bin_directory: Path,
    place: Path,
    extensions: Mapping[str, tuple[str, str]],
    real_where_present: Collection[str] = (),
) -> Path:
    """Copy a server's programs, add extensions (name: version and script), return its ``bin``."""
    tree = bin_directory.parent
    place = place / tree.parent.name / tree.name
    shutil.copytree(tree, place, symlinks=True)
    libraries = tree.parent.with_name(f"{tree.parent.name}.libs")
    if libraries.is_dir():  # where a Python package keeps what its programs load
        shutil.copytree(libraries, place.parents[1] / libraries.name)
    (known,) = place.glob("share/**/extension/plpgsql.control")
    directory = known.parent
    for name, (version, script) in extensions.items():
        control = directory / f"{name}.control"
        if name not in real_where_present or not control.exists():
            for other in directory.glob(f"{name}--*.sql"):
                other.unlink()
            control.write_text(f"default_version = '{version}'\nrelocatable = false\n")
            (directory / f"{name}--{version}.sql").write_text(script)
    return place / bin_directory.name
