"""What stands beside the points on a replica: the keys' checks, and who may write there."""

from __future__ import annotations

from contextlib import suppress

from fsbackup_tui.operations.replica_send import Far, Listing
from fsbackup_tui.repository.files import create_whole, list_files, make_directory, writing
from fsbackup_tui.repository.keys import KEYS
from fsbackup_tui.repository.layout import Repository
from fsbackup_tui.repository.writers import (
    DIRECTORY,
    RETIRED_SUFFIX,
    Writer,
    is_writer_name,
    refuse_retired,
    retirements,
)


async def heed_retirements(home: Repository, far: Far, listing: Listing, writer: Writer) -> None:
    """Learn who is retired there, for good: this repository knows it from then on.

    Raises:
        WriterRetired: this host is. Nothing was sent.
    """
    directory = home.root / DIRECTORY
    for path in sorted(listing):
        folder, _, name = path.partition("/")
        if folder != DIRECTORY or not name.endswith(RETIRED_SUFFIX) or not is_writer_name(name):
            continue
        if (directory / name).exists():
            continue
        content = await far.remote.read(path)
        with writing(directory), suppress(FileExistsError):
            make_directory(directory)
            create_whole(directory / name, content)
    refuse_retired(writer, retirements(home), far.remote.describe)


async def send_beside_points(home: Repository, far: Far, listing: Listing) -> None:
    """Send what the replica lacks of the keys' checks and of the writers; none ever changes.

    With them a bare machine can tell whether a passphrase is the right one.
    """
    wanted = [
        f"{folder}/{name}"
        for folder in (KEYS, DIRECTORY)
        if (home.root / folder).is_dir()
        for name in list_files(home.root / folder)
        if not name.startswith(".")
    ]
    missing = [name for name in wanted if name not in listing]
    if missing:
        await far.remote.put(home.root, missing)
