"""What ``doctor`` tries with the database clients and on the servers."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from fsbackup_tui.config.load import LoadedConfig
from fsbackup_tui.domain.database_url import DatabaseAddress
from fsbackup_tui.domain.errors import FsbackupError, PostgresError
from fsbackup_tui.domain.secret import Redactor
from fsbackup_tui.engines.postgres.clients import (
    ClientTools,
    choose_client,
    client_remedy,
    examine_clients,
)
from fsbackup_tui.engines.postgres.examination import (
    RestoreExamination,
    SourceExamination,
    examine_restore,
    examine_source,
    read_owner,
)
from fsbackup_tui.engines.postgres.managed import (
    SUPABASE,
    SUPABASE_EXTENSIONS,
    is_platform_role,
    unreadable_warning,
)
from fsbackup_tui.operations.doctor import Finding, failure
from fsbackup_tui.operations.target import (
    admin_address,
    postgres_source,
    source_address,
    source_exclusions,
    target_text,
)

_TLS_MODES = frozenset({"require", "verify-ca", "verify-full"})
_SQL_HINT = "fsbackup doctor --sql   prints what a superuser has to run"


@dataclass(frozen=True, slots=True)
class SourceCheck:
    """What was found for one source."""

    findings: list[Finding] = field(default_factory=list)
    size_bytes: int | None = None


async def check_clients(loaded: LoadedConfig) -> tuple[list[ClientTools], list[Finding]]:
    """Return the PostgreSQL clients of this machine, and what is wrong with them."""
    clients, broken = await examine_clients(loaded.config.clients, os.environ)
    findings = [
        Finding(
            "clients",
            "warning",
            f"CLIENT DOES NOT RUN: {client.directory}.",
            client.why,
            "Reinstall it, or take it out of clients: in the config.",
        )
        for client in broken
    ]
    if clients:
        versions = ", ".join(sorted({client.version for client in clients}))
        findings.append(Finding("clients", "ok", f"PostgreSQL clients: {versions}"))
    else:
        findings.append(
            Finding(
                "clients",
                "error",
                "NO CLIENT: no pg_dump is found on this machine.",
                "",
                "Install the postgresql-client package of the server's major version.",
            )
        )
    return clients, findings


async def check_source(
    loaded: LoadedConfig,
    environment: Mapping[str, str],
    redactor: Redactor,
    name: str,
    clients: Sequence[ClientTools],
) -> SourceCheck:
    """Try to reach a source, to read all of it, and to restore beside it."""
    source = postgres_source(loaded, name)
    try:
        address = await source_address(loaded, environment, redactor, name)
        found = await examine_source(
            address, source_exclusions(source), with_rows=source.scope != "schema"
        )
    except FsbackupError as error:
        return SourceCheck([failure(f"{name}.connection", error)])
    findings = [
        Finding(f"{name}.connection", "ok", f"{name}: {target_text(found.identity)}"),
        *_client(name, address, found, clients),
        *_rights(name, found),
        *_counting(name, found),
    ]
    if source.scope != "schema":
        findings += await _restore(loaded, environment, redactor, name, address, found)
    return SourceCheck(findings, found.identity.size_bytes)


def _client(
    name: str,
    address: DatabaseAddress,
    found: SourceExamination,
    clients: Sequence[ClientTools],
) -> list[Finding]:
    needs_tls = address.parameters.get("sslmode") in _TLS_MODES
    try:
        client, note = choose_client(
            clients, found.identity.server_version_num, needs_tls=needs_tls
        )
    except FsbackupError as error:
        return [failure(f"{name}.client", error)]
    if note is not None:
        wanted = found.identity.server_version_num // 10_000
        return [
            Finding(
                f"{name}.client",
                "warning",
                f"CLIENT NEWER: {client.version} for a server {found.identity.server_version}.",
                f"No client of PostgreSQL {wanted} is here; what a newer one dumps, an older server"
                " may not take back.",
                client_remedy(wanted),
            )
        ]
    return [Finding(f"{name}.client", "ok", f"{name}: pg_dump {client.version}")]


def _rights(name: str, found: SourceExamination) -> list[Finding]:
    if found.missing:
        return [failure(f"{name}.backup-rights", found.missing.error())]
    what = f"{name}: {found.identity.role} may read all of its {found.tables} tables"
    return [Finding(f"{name}.backup-rights", "ok", what), *_platform(name, found)]


def _platform(name: str, found: SourceExamination) -> list[Finding]:
    """Say what is left out since it is the host's own, and what is that should not be."""
    warning = unreadable_warning(found.exclusions, found.identity.role)
    if warning is not None:
        why = "A copy lacks those tables, and what refers to them."
        fix = "Back up as the project's own role postgres."
        return [Finding(f"{name}.platform", "warning", warning, why, fix)]
    if not found.platform:
        return []
    left_out = ", ".join(found.left_out) or "nothing"
    what = f"{name}: Supabase; auth and storage are backed up; left out as its own: {left_out}"
    return [Finding(f"{name}.platform", "ok", what)]


def _counting(name: str, found: SourceExamination) -> list[Finding]:
    if found.budget.holder_fits:
        return []
    return [
        Finding(
            f"{name}.locks",
            "warning",
            f"COUNTS WILL BE ABSENT: {found.tables} tables are more than can be locked.",
            f"The server's lock table has room for {found.budget.size}; pg_dump alone takes"
            f" {found.budget.dumped_objects}.",
            "Raise max_locks_per_transaction in postgresql.conf (needs a restart).",
        )
    ]


async def _restore(
    loaded: LoadedConfig,
    environment: Mapping[str, str],
    redactor: Redactor,
    name: str,
    address: DatabaseAddress,
    found: SourceExamination,
) -> list[Finding]:
    if loaded.config.read_only:
        words = loaded.read_only_words()
        what = f"{name}: restore rights are not tried, since {words}"
        return [Finding(f"{name}.restore-rights", "ok", what)]
    try:
        admin = await admin_address(loaded, environment, redactor, name)
        tried = await examine_restore(
            admin,
            found.identity,
            extensions=found.extensions,
            roles=found.roles,
            owners=found.owners,
        )
    except FsbackupError as error:
        return [failure(f"{name}.restore-connection", error)]
    if tried.standby:
        return [
            Finding(
                f"{name}.restore-rights",
                "warning",
                f"STANDBY: nothing can be restored on {admin.host}:{admin.port}.",
                "It follows a primary and is read-only.",
                "Name the primary as admin: url: of the source.",
            )
        ]
    findings = [
        *_tried_for_real(name, tried),
        *_extensions(name, tried, found.platform),
        *_owners(name, tried, found.platform),
        *_swap(name, address, found, tried),
    ]
    if not findings:
        what = f"{name}: {tried.role} can create, rename and drop databases, and end sessions"
        if found.platform:
            what = (
                f"{name}: {tried.role} can create databases beside; the project's is never renamed"
            )
        findings.append(Finding(f"{name}.restore-rights", "ok", what))
    return findings


def _tried_for_real(name: str, tried: RestoreExamination) -> list[Finding]:
    findings: list[Finding] = []
    problems: tuple[tuple[str, PostgresError | None], ...] = (
        ("create", tried.create_problem),
        ("rename", tried.rename_problem),
        ("drop", tried.drop_problem),
    )
    for verb, problem in problems:
        if problem is None:
            continue
        left = f" It is still there: {tried.left_behind}." if verb == "drop" else ""
        findings.append(
            Finding(
                f"{name}.restore-{verb}",
                "error",
                f"NO RESTORE: {tried.role} can't {verb} a database (tried on an empty one).{left}",
                problem.why or problem.what,
                f"As a superuser: ALTER ROLE {_quoted(tried.role)} CREATEDB;\n"
                f"Or name another role as admin: url:.\n{_SQL_HINT}",
            )
        )
    return findings


def _extensions(name: str, tried: RestoreExamination, platform: str) -> list[Finding]:
    findings: list[Finding] = []
    untrusted = tried.untrusted
    if platform == SUPABASE:  # it installs its own, and lets postgres create many
        untrusted = tuple(one for one in untrusted if one not in SUPABASE_EXTENSIONS)
    if tried.unavailable:
        findings.append(
            Finding(
                f"{name}.extensions",
                "error",
                f"EXTENSIONS MISSING: {', '.join(tried.unavailable)}.",
                "The database uses them; the server can't create them in a copy any more.",
                "Install their packages on the server.",
            )
        )
    if untrusted:
        findings.append(
            Finding(
                f"{name}.extension-rights",
                "warning",
                f"EXTENSIONS NEED A SUPERUSER: {', '.join(untrusted)}.",
                f"{tried.role} may not create them in a copy, unless the host lets it.",
                "Name a superuser as admin: url:.",
            )
        )
    return findings


def _owners(name: str, tried: RestoreExamination, platform: str) -> list[Finding]:
    findings: list[Finding] = []
    foreign = tried.foreign_owners
    if platform == SUPABASE:  # nobody can become a member of its own roles
        foreign = tuple(one for one in foreign if not is_platform_role(one))
    if tried.absent_roles:
        findings.append(
            Finding(
                f"{name}.roles",
                "error",
                f"ROLES MISSING: {', '.join(tried.absent_roles)}.",
                "The database's objects and grants name them.",
                "\n".join(f"CREATE ROLE {_quoted(role)};" for role in tried.absent_roles)
                + "\nTheir rights are in the globals.sql of a point.",
            )
        )
    if foreign:
        findings.append(
            Finding(
                f"{name}.owners",
                "warning",
                f"OWNERS OUT OF REACH: {', '.join(foreign)}.",
                f"{tried.role} is no member of them: what they own can't be given to them.",
                _membership(tried),
            )
        )
    return findings


def _swap(
    name: str, address: DatabaseAddress, found: SourceExamination, tried: RestoreExamination
) -> list[Finding]:
    lacking = []
    if not tried.may_end_sessions:
        lacking.append("it can't end others' sessions (pg_signal_backend)")
    if not tried.owns_live and not found.platform:
        lacking.append(f"it can't rename {address.database}, which belongs to {found.owner}")
    findings: list[Finding] = []
    if lacking:
        findings.append(
            Finding(
                f"{name}.swap-rights",
                "warning",
                f"SWAP LACKS RIGHTS: a copy can be restored, but {tried.role} can't swap it in.",
                "; ".join(lacking) + ".",
                _SQL_HINT,
            )
        )
    if found.prepared_transactions:
        findings.append(
            Finding(
                f"{name}.prepared",
                "warning",
                f"PREPARED TRANSACTIONS: {', '.join(found.prepared_transactions)}.",
                "They hold locks and keep the database from being renamed; nobody can end them.",
                "Ask their owners, then in that database:\n"
                + "\n".join(
                    f"COMMIT PREPARED {_literal(one)};   or   ROLLBACK PREPARED {_literal(one)};"
                    for one in found.prepared_transactions
                ),
            )
        )
    return findings


def _membership(tried: RestoreExamination) -> str:
    if tried.foreign_superusers:
        # Membership in a superuser would be more than any restore needs.
        return "Name a superuser as admin: url:."
    grants = (f"GRANT {_quoted(owner)} TO {_quoted(tried.role)};" for owner in tried.foreign_owners)
    return "\n".join(["Name a superuser as admin: url:, or as one:", *grants])


def _quoted(identifier: str) -> str:
    return '"' + identifier.replace('"', '""') + '"'


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


async def owner_of(address: DatabaseAddress) -> tuple[str | None, bool, str]:
    """Return the database's owner, whether that is a superuser, and the host's platform.

    The owner is None where the database can't be reached.
    """
    try:
        return await read_owner(address)
    except PostgresError:
        return None, False, SUPABASE if address.is_supabase else ""
