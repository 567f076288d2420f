"""RECOVER.md: how to get everything back with stock tools, in commands that work as pasted."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator

from fsbackup_tui.domain.events import format_time
from fsbackup_tui.domain.point import Artifact, Manifest, PartManifest, PostgresFacts
from fsbackup_tui.domain.signature import SIGNATURE_NAMESPACE, SSH_SIGNATURE_NAME
from fsbackup_tui.repository.checksums import SUMS_NAME
from fsbackup_tui.repository.recover_encrypted import (
    PLAIN_DIRECTORY,
    PLAIN_REMOVED,
    decrypt_commands,
    plain_path,
)
from fsbackup_tui.repository.recover_encrypted import needs as encryption_needs
from fsbackup_tui.repository.recover_files import files_chapter, files_steps
from fsbackup_tui.repository.recover_site import fit_chapter, site_chapter, site_steps

_PROVIDERS = {"c": "libc", "i": "icu", "b": "builtin", "d": "libc"}
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_LONGEST_NAME = 63
_COPY_SUFFIX = "_restored"
_PLAIN_READERS = {
    ".gz": "gzip -dc",
    ".zst": "zstd -dc",
    ".xz": "xz -dc",
    ".bz2": "bzip2 -dc",
    ".sql": "cat",
}


def root_recover_text(site: str) -> str:
    """Return the RECOVER.md that stands at the root of a repository."""
    return f"""# How to recover {_line(site)} without fsbackup

This directory is a backup repository. Everything in it can be restored with stock tools:
`sha256sum`, the PostgreSQL client programs, `gzip` or `zstd`, and `gpg` or `age` for what is
encrypted: its `RECOVER.md` names the key. Paste the commands into a shell
in this directory.

## 1. Choose a recovery point

Each directory below `points/` is one recovery point. Its name begins with the time it was
taken, in UTC. A point that has a `manifest.json` is whole. This lists them, oldest first:

```sh
ls -1d points/*/manifest.json
```

What was found out about a point later (verified, suspect and cleared, pinned) stands in
`records/`, one small file per fact. In a point that is `suspect` the manifest says why.

## 2. Check it

The newest whole point is taken unless you set `POINT` to the name of another one first.

```sh
[ -n "${{POINT:-}}" ] || POINT=$(ls -1d points/*/manifest.json | tail -n 1 | cut -d / -f 2)
(cd "points/$POINT" && sha256sum -c SHA256SUMS)
```

Every line must end in `OK`. If one does not, take another point, or restore the parts that
are whole: each part has a `SHA256SUMS` of its own.

## 3. Restore it

Every point has its own `RECOVER.md` with the exact commands for what is in it.

```sh
cat "points/$POINT/RECOVER.md"
```

A point without `manifest.json` was never finished, but each part in it that has a `part.json`
is whole. Its `part.json` holds the commands, under `restore_commands`.

## With fsbackup

`pip install fsbackup-tui`, then `fsbackup init` with this directory as the repository, and
`fsbackup`.
"""


def point_recover_text(manifest: Manifest, *, signature: str = "") -> str:
    """Return the RECOVER.md of one whole point; ``signature`` is the file that signs it."""
    lines = [
        f"# How to restore {manifest.id} without fsbackup",
        "",
        f"Site {_line(manifest.site)}, plan {_line(manifest.plan)}, taken "
        f"{format_time(manifest.started)} on {_line(manifest.host)}.",
        "Paste the commands into a shell in this directory, in this order.",
        "",
    ]
    if manifest.suspect:
        lines += [
            "**This point is suspect.** Compared with the last good one before it:",
            "",
            *(f"- {_line(reason)}" for reason in manifest.suspect),
            "",
        ]
    if manifest.in_incident:
        lines += [
            f"**This point was taken in the incident {_line(manifest.in_incident)}**: what it "
            "holds may be damaged, however well it was kept.",
            "",
        ]
    lines += [
        "## Check that nothing is missing or altered",
        "",
        "Every line must end in `OK`.",
        "",
        "```sh",
        "sha256sum -c SHA256SUMS",
        "```",
        "",
    ]
    if signature:
        lines += _signature_chapter(signature)
    for part in manifest.parts:
        if part.postgres is not None:
            lines += _postgres_chapter(part, part.postgres)
        elif part.files is not None:
            lines += files_chapter(part, part.files)
        elif chapter := list(site_chapter(part)):
            lines += chapter
        else:
            lines += [f"## Part {_line(part.source)}", "", "Its files lie there as they are.", ""]
            for command in part.restore_commands:
                lines += ["```sh", command, "```", ""]
    lines += fit_chapter(manifest.parts)
    return "\n".join(lines)


def _signature_chapter(name: str) -> Iterator[str]:
    """Yield how to see whose point it is, by the stock tool that signed it."""
    yield from (
        "## See who made it",
        "",
        f"`{name}` signs SHA256SUMS, which names all the rest. The signature must be good, and by",
        "somebody you trust: a forged dump runs code as whoever restores it.",
    )
    if name == SSH_SIGNATURE_NAME:
        yield from (
            "`allowed_signers` is a file with a line such as `ana@example.org ssh-ed25519 AAAA…`",
            "for each of them (ssh-keygen(1)); set ALLOWED_SIGNERS to where it is.",
        )
    yield from ("", "```sh", *signature_commands(name), "```", "")


def signature_commands(name: str) -> list[str]:
    """Return the stock commands that check a signature, from the point's directory."""
    if name != SSH_SIGNATURE_NAME:
        return [f"gpg --verify {name} {SUMS_NAME}"]
    allowed = '"${ALLOWED_SIGNERS:-allowed_signers}"'
    return [
        f"SIGNER=$(ssh-keygen -Y find-principals -f {allowed} -s {name} | head -n 1)",
        f"ssh-keygen -Y verify -n {SIGNATURE_NAMESPACE} -f {allowed} -I "
        f'"${{SIGNER%%,*}}" -s {name} < {SUMS_NAME}',
    ]


def _postgres_chapter(part: PartManifest, facts: PostgresFacts) -> Iterator[str]:
    yield from (f"## Restore the database (part {_line(part.source)})", "")
    yield from _needs(part, facts)
    yield from (
        "",
        "The commands connect as the shell says: set PGHOST, PGPORT, PGUSER and PGPASSWORD (or",
        "a `~/.pgpass`) first where the defaults are not right. The role must be allowed to",
        "create databases; a superuser is best in an emergency. Nothing here touches an",
        "existing database: all of it goes into a new one.",
        "",
    )
    for title, commands in _steps(part, facts):
        yield from (f"### {title}", "", "```sh", *commands, "```", "")
    yield from _afterwards(part, facts)


def _needs(part: PartManifest, facts: PostgresFacts) -> Iterator[str]:
    identity = facts.identity
    major = identity.server_version_num // 10000
    client = max(major, _major(facts.client_version))
    tool = "psql" if facts.format == "plain" else "pg_restore"
    if major:
        yield (
            f"- Database `{_code(identity.database or 'name not known')}` of PostgreSQL "
            f"{_line(identity.server_version)}, dumped with version "
            f"{_line(facts.client_version)}, scope {facts.scope}, format {facts.format}."
        )
        yield f"- Needs `{tool}` {client} or newer, and a server of version {major} or newer."
    else:
        yield f"- A dump that does not tell its version, scope {facts.scope}; needs `{tool}`."
    suffix = _dump_path(part, facts).rpartition(".")[2]
    if facts.format == "plain" and f".{suffix}" in _PLAIN_READERS and suffix not in ("gz", "sql"):
        yield f"- Needs `{_PLAIN_READERS[f'.{suffix}'].split()[0]}` to decompress."
    yield from encryption_needs(part)
    if facts.roles:
        yield f"- Roles it refers to: {', '.join(f'`{_code(role)}`' for role in facts.roles)}."
    if facts.extensions:
        names = ", ".join(f"`{_code(e.name)}` {_line(e.version)}" for e in facts.extensions)
        yield f"- Extensions the server must have installed: {names}."
    if facts.collate:
        yield (
            f"- Encoding {_line(facts.encoding)}, collation `{_code(facts.collate)}`, character "
            f"type `{_code(facts.ctype)}`: the server must know them (`locale -a` on its host)."
        )


def _steps(part: PartManifest, facts: PostgresFacts) -> Iterator[tuple[str, list[str]]]:
    dump = _encrypted_dump(part)
    if dump is not None:
        yield (
            "Decrypt the dump, and see that it is whole: the last line must end in `OK`",
            [*PLAIN_DIRECTORY, *decrypt_commands(part, dump)],
        )
    if facts.scope == "data":
        yield "Name the database that has the tables already", data_name_commands()
    else:
        yield "Name the new database", name_commands(facts)
        roles = role_commands(facts)
        if roles:
            yield "Make the roles that are missing (they can't log in until you allow it)", roles
        yield "Create it", create_commands(facts)
    yield "Restore into it", restore_commands(part, facts)
    settings = [] if facts.scope == "data" else setting_commands(facts)
    if settings:
        yield "Set what was set for the database", settings
    yield (
        "Gather statistics, or queries will be slow",
        ['vacuumdb --analyze --dbname="$NEW_DATABASE"'],
    )
    if dump is not None:
        yield "Remove what was decrypted", PLAIN_REMOVED


def _afterwards(part: PartManifest, facts: PostgresFacts) -> Iterator[str]:
    paths = {artifact.role: artifact.path for artifact in part.artifacts}
    if "globals" in paths:
        yield (
            f"All roles and tablespaces of the old server are in "
            f"`{part.source}/{paths['globals']}`. "
            "A role whose line there has no PASSWORD needs a new one."
        )
    also = [artifact.path for artifact in part.artifacts if artifact.role == "also"]
    if also:
        listed = ", ".join(f"`{part.source}/{_code(path)}`" for path in also)
        yield f"Stored beside it, as it was when the dump was taken: {listed}."
    if facts.migration_head:
        yield f"The last migration it has had is `{_code(facts.migration_head)}`."
    if facts.grants:
        yield "Rights on the database itself that were granted:"
        yield from ("", *(f"    {_line(grant)}" for grant in facts.grants), "")
    if facts.subscriptions:
        names = ", ".join(f"`{_code(name)}`" for name in facts.subscriptions)
        yield f"Subscriptions are left out on purpose ({names}): a copy must not take them over."
    if facts.scope == "schema":
        yield "It holds the definitions alone: the tables are empty."
    if facts.count_method != "absent":
        yield (
            f"Compare row counts with `tables` in `manifest.json` "
            f"({len(facts.tables)} tables were captured)."
        )
    yield ""


def stock_commands(part: PartManifest) -> tuple[str, ...]:
    """Return the stock commands that restore a part, from the point's directory.

    The same as in RECOVER.md, one string per command; variables are set by the first.
    """
    if part.postgres is not None:
        steps = list(_steps(part, part.postgres))
    elif part.files is not None:
        steps = list(files_steps(part, part.files))
    else:
        steps = list(site_steps(part))
    if not steps:
        return ()
    check = f"(cd {shlex.quote(part.source)} && sha256sum -c SHA256SUMS)"
    return (check, *("\n".join(lines) for _, lines in steps))


def name_commands(facts: PostgresFacts) -> list[str]:
    """Return the command that sets NEW_DATABASE, unless the shell has it already."""
    default = copy_name(facts.identity.database)
    return [f'[ -n "${{NEW_DATABASE:-}}" ] || NEW_DATABASE={shlex.quote(default)}']


def data_name_commands() -> list[str]:
    """Return the command for a point of data alone: there the tables must exist already."""
    return [': "${NEW_DATABASE:?set it to a database restored from a schema point}"']


def copy_name(database: str) -> str:
    """Return a plain name for a copy: letters, digits and _, at most 63 bytes."""
    plain = re.sub(r"[^A-Za-z0-9_]", "_", database) or "database"
    return plain[: _LONGEST_NAME - len(_COPY_SUFFIX)] + _COPY_SUFFIX


def role_commands(facts: PostgresFacts) -> list[str]:
    """Return the command that makes the roles that are missing; none where none are needed."""
    roles = [role for role in facts.roles if not role.startswith("pg_") and role != "public"]
    if not roles:
        return []
    array = f"ARRAY[{', '.join(_literal(role) for role in roles)}]"
    return [
        "psql -X -q -v ON_ERROR_STOP=1 -d \"${PGDATABASE:-postgres}\" <<'SQL'",
        "SELECT format('CREATE ROLE %I', name)",
        f"FROM unnest({array}) AS name",
        "WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = name) \\gexec",
        "SQL",
    ]


def create_commands(facts: PostgresFacts) -> list[str]:
    """Return the command that creates the database as the captured one was created."""
    major = facts.identity.server_version_num // 10000
    provider = _PROVIDERS.get(facts.locale_provider, facts.locale_provider)
    options = [
        "--template=template0",
        f"--encoding={_line(facts.encoding, ' ')}",
    ]
    if not facts.collate:
        return [f'createdb {shlex.join(options)} "$NEW_DATABASE"']
    options += [
        f"--lc-collate={_line(facts.collate, ' ')}",
        f"--lc-ctype={_line(facts.ctype, ' ')}",
    ]
    if major >= 15 and provider in {"libc", "icu", "builtin"}:
        options.append(f"--locale-provider={provider}")
    if provider == "icu" and facts.locale:
        options.append(f"--icu-locale={_line(facts.locale, ' ')}")
        if facts.icu_rules and major >= 16:
            options.append(f"--icu-rules={_line(facts.icu_rules, ' ')}")
    if provider == "builtin" and facts.locale:
        options.append(f"--builtin-locale={_line(facts.locale, ' ')}")
    return [f'createdb {shlex.join(options)} "$NEW_DATABASE"']


def restore_commands(part: PartManifest, facts: PostgresFacts) -> list[str]:
    """Return the command that loads the dump into NEW_DATABASE."""
    path = _dump_path(part, facts)
    stored = shlex.quote(f"{part.source}/{path}")
    jobs = 4
    if (dump := _encrypted_dump(part)) is not None:
        # An archive that came by a pipe can't feed more than two.
        path, stored, jobs = "database.sql", plain_path(dump), 2
    if facts.format == "plain":
        reader = next(
            (tool for suffix, tool in _PLAIN_READERS.items() if path.endswith(suffix)), "cat"
        )
        return [
            f'{reader} {stored} | psql -X -q -o /dev/null -v ON_ERROR_STOP=1 -1 -d "$NEW_DATABASE"'
        ]
    options = f"--jobs={jobs} --no-subscriptions"
    if facts.scope == "data":
        options += " --data-only"
    return [f'pg_restore {options} -d "$NEW_DATABASE" {stored}']


def setting_commands(facts: PostgresFacts) -> list[str]:
    """Return the command that sets again what was set with ALTER DATABASE … SET."""
    if not facts.settings:
        return []
    statements = []
    for setting in facts.settings:
        listed = setting.lists_names
        if listed and _CONTROL.search(setting.value):
            statements.append(f"-- left out, see manifest.json: {_line(setting.name)}")
            continue
        value = setting.value if listed else _literal(setting.value)
        name = ".".join(_identifier(piece) for piece in setting.name.split("."))
        role = f"ROLE {_identifier(setting.role)} IN " if setting.role is not None else ""
        empty = "''"
        statements.append(f'ALTER {role}DATABASE :"new" SET {name} = {value or empty};')
    return [
        'psql -X -q -v ON_ERROR_STOP=1 -v new="$NEW_DATABASE" '
        "-d \"${PGDATABASE:-postgres}\" <<'SQL'",
        *statements,
        "SQL",
    ]


def _encrypted_dump(part: PartManifest) -> Artifact | None:
    """Return the dump where it lies encrypted: then it is one file."""
    dumps = (artifact for artifact in part.artifacts if artifact.role == "dump")
    return next((artifact for artifact in dumps if artifact.encryption is not None), None)


def _dump_path(part: PartManifest, facts: PostgresFacts) -> str:
    """Return the dump's file or, in directory format, its directory, below the part."""
    paths = [artifact.path for artifact in part.artifacts if artifact.role == "dump"]
    if facts.format == "directory":
        for path in paths:
            if path.endswith("/toc.dat"):
                return path.removesuffix("/toc.dat")
    return paths[0] if paths else "database.dump"


def _major(version: str) -> int:
    match = re.search(r"\d+", version)
    return int(match[0]) if match else 0


def _identifier(name: str) -> str:
    """Quote a name for SQL on one line: a line break in it could end the shell's here-document."""
    if _CONTROL.search(name) is None:
        return '"' + name.replace('"', '""') + '"'
    escaped = name.replace("\\", "\\\\").replace('"', '""')
    return 'U&"' + _CONTROL.sub(lambda match: f"\\{ord(match[0]):04x}", escaped) + '"'


def _literal(text: str) -> str:
    """Quote a text for SQL on one line (see ``_identifier``)."""
    quoted = text.replace("'", "''")
    if "\\" not in text and _CONTROL.search(text) is None:
        return f"'{quoted}'"
    escaped = quoted.replace("\\", "\\\\")
    return "E'" + _CONTROL.sub(lambda match: f"\\x{ord(match[0]):02x}", escaped) + "'"


def _line(text: str, instead: str = "?") -> str:
    """Return text as one line without control characters, so that it can't forge a block."""
    return "".join(character if character.isprintable() else instead for character in text)


def _code(text: str) -> str:
    return _line(text).replace("`", "'")
