"""``fsbackup bootstrap URL``: a bare machine, an address, its credentials and the key."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fsbackup_tui.cli.context import CliContext
    from fsbackup_tui.config.rebuild import OriginReplica, Rebuilt
    from fsbackup_tui.domain.point import Manifest
    from fsbackup_tui.engines.remote.remote import Remote
    from fsbackup_tui.operations.bootstrap import Found, Need, Place
    from fsbackup_tui.repository.layout import Repository

_SFTP_PASSWORD = "FSBACKUP_SFTP_PASSWORD"  # noqa: S105 - a variable's name
_NAMES = {
    "access_key": ("AWS_ACCESS_KEY_ID", "Access key id"),
    "secret_key": ("AWS_SECRET_ACCESS_KEY", "Secret access key"),
    "password": (_SFTP_PASSWORD, "Password"),
}


_OPTIONS_OF = {"s3": ("endpoint", "region"), "sftp": ("key_file", "known_hosts")}


def add_parser(subparsers: Any, parents: list[argparse.ArgumentParser]) -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "bootstrap",
        parents=parents,
        help="make the site anew on a bare machine, from a copy elsewhere",
        description="Needs the copy's address, its credentials and the key. Credentials are "
        "$AWS_ACCESS_KEY_ID and $AWS_SECRET_ACCESS_KEY, or $FSBACKUP_SFTP_PASSWORD, or asked for, "
        "hidden; the key is $FSBACKUP_PASSPHRASE, or asked for. May be stopped and run again.",
    )
    parser.add_argument(
        "url", metavar="URL", help="s3://BUCKET/PREFIX, sftp://USER@HOST/PATH, or a directory"
    )
    parser.add_argument("--endpoint", metavar="URL", help="of an S3 server that is not Amazon's")
    parser.add_argument("--region", metavar="NAME", help="the bucket's region")
    parser.add_argument("--key-file", metavar="F", type=Path, help="sftp: the private key")
    parser.add_argument("--known-hosts", metavar="F", type=Path, help="sftp: known host keys")
    parser.add_argument(
        "--to", metavar="DIR", type=Path, help="the repository here (default: where it was)"
    )
    retiring = parser.add_mutually_exclusive_group()
    retiring.add_argument(
        "--retire",
        action="store_true",
        default=None,
        dest="retire",
        help="the former host must not write to the copy any more (default: asked, else yes)",
    )
    retiring.add_argument(
        "--no-retire",
        action="store_false",
        default=None,
        dest="retire",
        help="the former host lives and goes on: this is a second site",
    )
    parser.set_defaults(run=run)


@dataclass
class _Run:
    arguments: argparse.Namespace
    context: CliContext
    remote: Remote
    origin: OriginReplica | None
    secrets: Mapping[str, str]
    work: Path
    notes: list[str] = field(default_factory=list)


def run(arguments: argparse.Namespace, context: CliContext) -> int:
    """Make the site anew; exit code of design §9."""
    from fsbackup_tui.operations.private_work import private_work

    with private_work() as work:
        return _Bootstrap(_opened(arguments, context, work)).run()


def _opened(arguments: argparse.Namespace, context: CliContext, work: Path) -> _Run:
    import asyncio

    from fsbackup_tui.config.rebuild import OriginReplica
    from fsbackup_tui.config.replicas import Replica
    from fsbackup_tui.domain.errors import UsageError
    from fsbackup_tui.domain.secret import Redactor
    from fsbackup_tui.engines.remote.address import parse_address
    from fsbackup_tui.engines.remote.directory import DirectoryRemote
    from fsbackup_tui.engines.remote.remote import open_remote

    url = str(arguments.url)
    options = {
        name: getattr(arguments, name)
        for name in ("endpoint", "region", "key_file", "known_hosts")
        if getattr(arguments, name) is not None
    }
    if "://" not in url or url.startswith("file:"):
        if options:
            raise UsageError(
                f"NOT FOR A DIRECTORY: {_option(next(iter(options)))}.",
                fix="fsbackup bootstrap --help",
            )
        path = Path(url.removeprefix("file://").removeprefix("file:")).expanduser().absolute()
        return _Run(arguments, context, DirectoryRemote(path), None, {}, work)
    address = parse_address(url)
    for name in options:
        if name not in _OPTIONS_OF[address.scheme]:
            fitting = " and ".join(_option(one) for one in _OPTIONS_OF[address.scheme])
            raise UsageError(
                f"NOT FOR {address.scheme.upper()}: {_option(name)}.",
                why=f"With {address.scheme}:// go {fitting}.",
                fix="fsbackup bootstrap --help",
            )
    wanted: tuple[str, ...] = ("password",)
    if address.scheme == "s3":
        wanted = ("access_key", "secret_key")
    if arguments.key_file is not None:
        wanted = ()
    secrets = {what: _secret(context, what) for what in wanted}
    settings = {
        name: str(value.expanduser().absolute() if isinstance(value, Path) else value)
        for name, value in options.items()
    }
    described = {what: {"env": f"FSBACKUP_ORIGIN_{what.upper()}"} for what in wanted}
    try:
        replica = Replica.model_validate({"url": url, **settings, **described})
    except ValueError as error:
        raise UsageError("NOT TOGETHER: the address and the options.", why=str(error)) from None
    told = {f"FSBACKUP_ORIGIN_{what.upper()}": value for what, value in secrets.items()}
    environ = {**context.environ, **told}
    remote = asyncio.run(open_remote("origin", replica, environ, Redactor(), work))
    origin = OriginReplica(url, settings, wanted)
    return _Run(arguments, context, remote, origin, secrets, work)


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _secret(context: CliContext, what: str) -> str:
    from fsbackup_tui.cli.passphrase import ask_hidden, can_ask
    from fsbackup_tui.domain.errors import SecretUnavailable

    variable, words = _NAMES[what]
    if told := context.environ.get(variable, ""):
        return told
    typed = ask_hidden(context, f"{words}:") if can_ask(context) else None
    if typed is None:
        raise SecretUnavailable(
            f"CREDENTIALS UNKNOWN: {words.lower()} of the copy.",
            why=f"{variable} is not set, and nothing was typed.",
            fix=f"Set {variable}, or run it in a terminal. The kit says where they are kept.",
        )
    return typed.reveal()


class _Bootstrap:
    """One run; each step says what it found."""

    def __init__(self, run: _Run) -> None:
        self.run_ = run
        self.context = run.context

    def run(self) -> int:
        """Do all of it and print the result."""
        import asyncio

        from fsbackup_tui.domain.text import many_text
        from fsbackup_tui.operations import bootstrap as work

        found = asyncio.run(work.look(self.run_.remote))
        self.context.tell(
            f"{found.identity.site}: {many_text(len(found.points), 'point')}"
            f" at {self.run_.remote.describe}"
        )
        place = self._place()
        text, newest = asyncio.run(work.newest_config(self.run_.remote, found))
        loaded, rebuilt = work.write_config(
            place, text, self.run_.origin, self.run_.secrets, self.context.environ
        )
        self.context.tell(f"Configuration: {place.config}")
        self.context.config_path = place.config
        repository = self._fetch(found, loaded.config.repository, rebuilt)
        key = self._check_key(repository, newest)
        needs = self._fill(rebuilt, place, repository, newest, key)
        retired = self._retire(repository, newest)
        self._emit(found, place, repository, key, needs, retired)
        return 0

    def _place(self) -> Place:
        from fsbackup_tui.config.load import SYSTEM_DIRECTORY, user_config_path
        from fsbackup_tui.operations.bootstrap import Place

        config = self.context.config_path
        if config is None and self.context.site is not None:
            config = SYSTEM_DIRECTORY / "sites" / f"{self.context.site}.yaml"
        if config is None:
            own = user_config_path(self.context.environ)
            config = SYSTEM_DIRECTORY / "config.yaml" if os.geteuid() == 0 else own
        config = config.expanduser().absolute()
        to = self.run_.arguments.to
        repository = None if to is None else to.expanduser().absolute()
        return Place(config, config.with_suffix(".env"), repository)

    def _fetch(self, found: Found, directory: Path, rebuilt: Rebuilt) -> Repository:
        import asyncio

        from fsbackup_tui.operations import bootstrap as work
        from fsbackup_tui.repository.not_here import FILE_SCHEME

        def report(done: int, total: int) -> None:
            self.context.tell(f"Fetched {done} of {total} small files")

        repository = asyncio.run(work.fetch_first(self.run_.remote, found, directory, report))
        origin = rebuilt.origin
        if self.run_.origin is None:
            origin = f"{FILE_SCHEME}{self.run_.remote.describe}"
        for point in work.mark_parts(repository, found, origin):
            self.run_.notes.append(f"{point}: its manifest can't be read")
        return repository

    def _check_key(self, repository: Repository, newest: Manifest) -> str:
        import asyncio

        from fsbackup_tui.cli.passphrase import ask_for, can_ask
        from fsbackup_tui.domain.errors import KeyRefused
        from fsbackup_tui.operations.bootstrap_key import check_key
        from fsbackup_tui.operations.requests import VerifyRequest

        if can_ask(self.context) and self.context.load().config.encryption is not None:
            ask_for(VerifyRequest(newest.id), self.context)
        try:
            return asyncio.run(check_key(self._job(), repository, newest.id))
        except KeyRefused:
            from fsbackup_tui.domain.key_question import VARIABLE

            told = self.context.asked().environ.get(VARIABLE)
            if told or can_ask(self.context):
                raise
            self.run_.notes.append(
                f"THE KEY WAS NOT CHECKED: nobody told it. Set {VARIABLE}, or run this in a"
                " terminal; without it nothing can be restored."
            )
            return "not told"

    def _job(self) -> Any:
        from fsbackup_tui.operations.bootstrap_key import bootstrap_context

        context = self.context
        return bootstrap_context(
            context.load(),
            context.asked().environ,
            self.run_.work,
            operator=_operator(context),
            now=context.now,
            report=lambda _event: None,
        )

    def _fill(
        self, rebuilt: Rebuilt, place: Place, repository: Repository, newest: Manifest, key: str
    ) -> list[Need]:
        import asyncio

        from fsbackup_tui.operations.bootstrap import fill_variables
        from fsbackup_tui.operations.bootstrap_key import captured_variables

        captured: dict[str, str] = {}
        if key != "not told":
            captured = asyncio.run(
                captured_variables(self._job(), repository, newest.id, rebuilt.former_env_file)
            )
        return fill_variables(self.context.load(), rebuilt, place, self.context.environ, captured)

    def _retire(self, repository: Repository, newest: Manifest) -> list[str]:
        import asyncio

        from fsbackup_tui.operations import bootstrap as work

        context, host = self.context, os.uname().nodename
        own = work.become_writer(repository, context.load(), host, context.now())
        others = work.to_retire(repository, own, newest.host)
        if not others or not self._wants_retired([host for _, host in others]):
            others = []
        by = f"{_operator(context)} on {host}"
        problem = asyncio.run(
            work.retire_writers(repository, self.run_.remote, own, others, by=by, now=context.now())
        )
        if problem and others:
            self.run_.notes.append(
                f"THE FORMER HOST IS NOT RETIRED at the copy ({problem}): if it wakes, it writes"
                " there. Credentials that may write are needed: run this again with them."
            )
            return []
        return [host for _, host in others]

    def _wants_retired(self, hosts: list[str]) -> bool:
        wish: bool | None = self.run_.arguments.retire
        if wish is not None:
            return wish
        if not sys.stdin.isatty() or self.context.json:
            return True
        self.context.tell(
            f"{', '.join(hosts)} wrote here before. If it wakes, its cron would write again: it"
            " is retired, and its next copy refused, unless it lives and goes on."
        )
        self.context.stderr.write("Retire it? [Y/n] ")
        self.context.stderr.flush()
        return not sys.stdin.readline().strip().lower().startswith("n")

    def _emit(
        self,
        found: Found,
        place: Place,
        repository: Repository,
        key: str,
        needs: list[Need],
        retired: list[str],
    ) -> None:
        from fsbackup_tui.domain.trust import Trust
        from fsbackup_tui.operations.status import gather_status, site_catalogue

        context = replace(self.context, _loaded=None)
        loaded = context.load()
        with site_catalogue(loaded, context.environ) as (catalogue, *_):
            catalogue.refresh()
            points = [point for point in catalogue.points() if not point.foreign]
        proven = sum(point.trust is Trust.PROVEN for point in points)
        line = gather_status(loaded, context.environ, context.now()).answer.line()
        missing = [need for need in needs if not need.known]
        document = {
            "ok": True,
            "site": found.identity.site,
            "config": str(place.config),
            "env_file": str(place.env_file),
            "repository": str(repository.root),
            "points": len(points),
            "proven": proven,
            "incomplete": list(found.incomplete),
            "key": key,
            "needed": [{"name": need.name, "setting": need.setting} for need in missing],
            "retired": retired,
            "notes": self.run_.notes,
        }
        context.emit(document, lambda: _tell(document, line, context))


def _operator(context: CliContext) -> str:
    from fsbackup_tui.jobs.supervisor import operator_name

    return operator_name(context.environ)


def _tell(document: Mapping[str, Any], line: str, context: CliContext) -> None:
    context.say(line)
    context.say()
    context.say(f"Configuration  {document['config']}")
    context.say(f"Variables      {document['env_file']}  (0600)")
    context.say(f"Repository     {document['repository']}")
    context.say(
        f"Points         {document['points']}, {document['proven']} proven;"
        " what they hold is fetched when it is used"
    )
    words = {"right": "it is the right one", "not needed": "nothing is encrypted"}
    context.say(f"Key            {words.get(document['key'], 'NOT CHECKED')}")
    if document["retired"]:
        context.say(f"Retired        {', '.join(document['retired'])}: it can't write any more")
    for note in document["notes"]:
        context.say_text(note, first="NOTE ")
    if document["needed"]:
        names = ", ".join(each["name"] for each in document["needed"])
        context.say_text(
            f"Fill in {names} in {document['env_file']}; an address is that of the new server.",
            first="Next  ",
        )
    context.say_text("fsbackup recover host-lost", first="Next  ")
