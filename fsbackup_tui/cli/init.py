"""``fsbackup init``: write a working configuration and make the repository."""

from __future__ import annotations

import argparse
import getpass
import re
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from fsbackup_tui.cli.context import CliContext
    from fsbackup_tui.config.discover import Candidate
    from fsbackup_tui.config.new_config import NewSite
    from fsbackup_tui.domain.database_url import DatabaseAddress


def add_parser(subparsers: Any, parents: list[argparse.ArgumentParser]) -> None:
    """Register the command; ``--site`` is one of the options common to all."""
    parser = subparsers.add_parser(
        "init",
        parents=parents,
        help="write a configuration and make the repository",
        description="Finds the database address in DIRECT_URL or DATABASE_URL, in .env or "
        ".env.production, or through a Prisma project in this directory; writes a configuration "
        "with the source db and the plan daily; makes the repository. --site is the site's name. "
        "Where the configuration is there already and nothing is given, it makes the repository.",
    )
    address = parser.add_mutually_exclusive_group()
    address.add_argument("--url", metavar="URL", help="the database's address; kept in the file")
    address.add_argument("--url-env", metavar="NAME", help="the variable that holds the address")
    parser.add_argument(
        "--repository", metavar="DIR", type=Path, help="where recovery points go; made if absent"
    )
    parser.add_argument(
        "--adopt",
        metavar="DIR",
        type=Path,
        action="append",
        help="where other scripts keep backups (repeatable); without --url and --url-env the "
        "configuration only watches those",
    )
    parser.add_argument("--output", metavar="FILE", type=Path, help="the configuration to write")
    parser.add_argument(
        "--yes", action="store_true", help="ask nothing, take what is found and suggested"
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace, context: CliContext) -> int:
    """Gather what is needed, make the repository, write the file, say what comes next."""
    from fsbackup_tui.cli.init_report import make_repository, report
    from fsbackup_tui.config.load import load_config
    from fsbackup_tui.config.new_config import config_text
    from fsbackup_tui.config.places import work_tree_of
    from fsbackup_tui.repository.new_site import (
        check_config_place,
        check_repository_place,
        prepare_repository,
        write_config,
    )

    setup = _Setup(arguments, context, Path.cwd())
    if setup.only_repository():
        return make_repository(context, setup.output())
    new = setup.gather()
    output = setup.output()
    text = config_text(new)
    check_config_place(output, text)
    check_repository_place(new.repository, setup.trees())
    _, made = prepare_repository(new.repository, new.site, context.now())
    written = write_config(output, text)
    setup.notes.extend(load_config(output, context.environ).notes)
    if arguments.url is not None and work_tree_of(output) is not None:
        setup.notes.append(f"{output} holds the password: keep it out of git (.gitignore)")
    report(context, setup.address, setup.notes, new, output, made=made, written=written)
    return 0


class _Setup:
    """What the options, the project and the person at the terminal say."""

    def __init__(self, arguments: argparse.Namespace, context: CliContext, directory: Path) -> None:
        self.arguments = arguments
        self.context = context
        self.directory = directory
        self.notes: list[str] = []
        self.address: DatabaseAddress | None = None
        self.asks = not arguments.yes and sys.stdin.isatty() and context.stderr.isatty()

    def output(self) -> Path:
        """Return the file to write."""
        from fsbackup_tui.repository.new_site import default_config_path

        named: Path | None = self.arguments.output or self.context.config_path
        if named is not None:
            return self.directory / named.expanduser()
        return default_config_path(self.directory, self.context.environ)

    def only_repository(self) -> bool:
        """Whether there is a configuration already, and nothing was given for another one."""
        given = self.arguments
        options = (given.url, given.url_env, given.repository, given.adopt, self.context.site)
        return not any(options) and self.output().exists()

    def trees(self) -> list[tuple[str, Path]]:
        """Return the project that is backed up, where a repository must not lie."""
        from fsbackup_tui.config.discover import is_project

        here = self.directory
        return [("the project", here)] if is_project(here, self.context.environ) else []

    def gather(self) -> NewSite:
        """Return what the configuration will say; UsageError with all that is missing."""
        from fsbackup_tui.config.new_config import NewSite

        adopt = self._adopt()
        watches = bool(adopt) and self.arguments.url is None and self.arguments.url_env is None
        found = None if watches else self._address()
        if found is None and self.asks and not watches:
            found = self._ask_address()
        if (found is None and not watches) or not (self.asks or self.arguments.yes):
            self._refuse_if_incomplete(found, watches=watches)
        url, env_file = found if found is not None else (None, None)
        site = self._site()
        return NewSite(site, url, self._repository(site), env_file, adopt)

    def _adopt(self) -> tuple[Path, ...]:
        from fsbackup_tui.domain.errors import UsageError

        places = tuple(self._path(str(path)) for path in self.arguments.adopt or ())
        for place in places:
            if not place.is_dir():
                raise UsageError(
                    f"NO SUCH DIRECTORY: {place}.", fix="Name one in which backups lie."
                )
        return places

    def _address(self) -> tuple[str, Path | None] | None:
        """Return (what ``url:`` says, env file) from the options or the project, if any."""
        from fsbackup_tui.config.discover import find_candidates
        from fsbackup_tui.config.template import escape
        from fsbackup_tui.domain.database_url import parse_database_url

        if self.arguments.url is not None:
            self.address = parse_database_url(self.arguments.url)
            return escape(self.arguments.url.strip()), None
        if self.arguments.url_env is not None:
            return self._named_variable(self.arguments.url_env)
        candidates = find_candidates(self.directory, self.context.environ)
        usable = [candidate for candidate in candidates if candidate.address is not None]
        if not usable:
            problem = candidates[0].problem if candidates else None
            if problem is not None and not self.asks:
                raise problem
            if problem is not None:
                self.context.tell_problem(problem)
            return None
        chosen = self._choose(usable)
        self.address = chosen.address
        if chosen.env_file is None:
            self.notes.append(_from_shell(chosen.template))
        return chosen.template, chosen.env_file

    def _named_variable(self, name: str) -> tuple[str, Path | None]:
        from fsbackup_tui.config.discover import address_of, env_file_with
        from fsbackup_tui.config.env_file import read_env_file
        from fsbackup_tui.domain.errors import UsageError

        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
            raise UsageError(
                "NO VARIABLE'S NAME: what --url-env was given.",
                why="A name has letters, digits and _, such as DATABASE_URL.",
                fix="Give the name of the variable, not the address in it.",
            )
        template, env_file = f"${{{name}}}", None
        environment = self.context.environ
        if not environment.get(name):
            env_file = env_file_with(self.directory, name, environment)
        if env_file is not None:
            environment = {**environment, **read_env_file(env_file, environment).values}
        else:
            self.notes.append(_from_shell(template))
        self.address = address_of(template, environment)
        return template, env_file

    def _choose(self, usable: list[Candidate]) -> Candidate:
        if len(usable) > 1 and not self.asks:
            others = ", ".join(f"{c.origin} ({_where(c)})" for c in usable[1:])
            self.notes.append(f"taken from {usable[0].origin}; not used: {others}")
        if len(usable) == 1 or not self.asks:
            return usable[0]
        self.context.tell("Several database addresses were found:")
        for number, candidate in enumerate(usable, 1):
            self.context.tell(f"  {number}  {_where(candidate)}   from {candidate.origin}")
        numbers = [str(number) for number in range(1, len(usable) + 1)]
        answer = self._ask("Which one", "1", lambda text: _one_of(text, numbers))
        return usable[int(answer) - 1]

    def _ask_address(self) -> tuple[str, Path | None]:
        """Ask for the address, unseen: it holds the password."""
        from fsbackup_tui.config.template import escape
        from fsbackup_tui.domain.database_url import parse_database_url

        self.context.tell("No database address was found here (DATABASE_URL, .env, Prisma).")

        def check(text: str) -> str:
            self.address = parse_database_url(text)
            return text

        return escape(self._ask("Database URL (not shown)", "", check, hidden=True)), None

    def _site(self) -> str:
        from fsbackup_tui.config.discover import suggest_site

        if self.context.site is not None:
            return _checked_site(self.context.site)
        suggestion = suggest_site(self.directory)
        return self._ask("Name of the site", suggestion, _checked_site)

    def _repository(self, site: str) -> Path:
        from fsbackup_tui.repository.new_site import check_repository_place, suggest_repository

        if self.arguments.repository is not None:
            return self._path(str(self.arguments.repository))
        suggestion = suggest_repository(site, self.context.environ)

        def check(text: str) -> str:
            path = self._path(text)
            check_repository_place(path, self.trees())
            return str(path)

        return Path(self._ask("Where recovery points go", str(suggestion), check))

    def _path(self, text: str) -> Path:
        return self.directory / Path(text).expanduser()

    def _ask(
        self, question: str, default: str, check: Callable[[str], str], *, hidden: bool = False
    ) -> str:
        """Return the checked answer; asked again until it can be used. Interrupted at the end."""
        from fsbackup_tui.domain.errors import FsbackupError, Interrupted

        if not self.asks:
            return check(default)
        prompt = f"{question} [{default}]: " if default else f"{question}: "
        while True:
            try:
                answer = self._read_line(prompt, hidden=hidden).strip() or default
                return check(answer)
            except (EOFError, KeyboardInterrupt):
                self.context.tell("")
                raise Interrupted("INIT LEFT: nothing was written.") from None
            except FsbackupError as error:
                self.context.tell_problem(error)

    def _read_line(self, prompt: str, *, hidden: bool) -> str:
        if hidden:
            return getpass.getpass(prompt, stream=self.context.stderr)
        self.context.stderr.write(prompt)
        self.context.stderr.flush()
        line = sys.stdin.readline()
        if not line:
            raise EOFError
        return line

    def _refuse_if_incomplete(
        self, found: tuple[str, Path | None] | None, *, watches: bool = False
    ) -> None:
        """Raise UsageError with all that is missing and one command that gives it."""
        from fsbackup_tui.config.discover import suggest_site
        from fsbackup_tui.domain.errors import UsageError
        from fsbackup_tui.repository.new_site import suggest_repository

        site = self.context.site or suggest_site(self.directory)
        repository = self.arguments.repository or suggest_repository(site, self.context.environ)
        missing = []
        if self.context.site is None and not self.arguments.yes:
            missing.append("--site NAME, the name of what is backed up")
        if found is None and not watches:
            missing.append(
                "the database's address: --url URL, --url-env NAME, or DATABASE_URL "
                "in the environment, .env or .env.production"
            )
        if self.arguments.repository is None and not self.arguments.yes:
            missing.append("--repository DIR, where recovery points go")
        if not missing:
            return
        given = [] if watches else self._given_address(found)
        for place in self.arguments.adopt or ():
            given += ["--adopt", str(place)]
        command = ["fsbackup", "init", "--site", site, *given, "--repository", str(repository)]
        if self.arguments.output is not None:
            command += ["--output", str(self.arguments.output)]
        raise UsageError(
            "INIT NEEDS MORE: nobody is there to be asked, and not all is given.",
            why="Missing is\n" + "\n".join(missing),
            fix=shlex.join(command),
        )

    def _given_address(self, found: tuple[str, Path | None] | None) -> list[str]:
        """Return the options for the address as they may be shown: never a literal URL."""
        if self.arguments.url is not None or found is None:
            return ["--url", "postgresql://USER:PASSWORD@HOST:5432/DATABASE"]
        if self.arguments.url_env is not None:
            return ["--url-env", self.arguments.url_env]
        return []


def _where(candidate: Candidate) -> str:
    return candidate.address.display() if candidate.address is not None else candidate.template


def _from_shell(template: str) -> str:
    return (
        f"the address is read from {template}: it has to be set wherever fsbackup runs, cron too; "
        "or name the file that holds it as env_file: in the configuration"
    )


def _one_of(text: str, allowed: list[str]) -> str:
    from fsbackup_tui.domain.errors import UsageError

    if text not in allowed:
        raise UsageError(f"NOT UNDERSTOOD: type one of {', '.join(allowed)}.")
    return text


def _checked_site(name: str) -> str:
    from fsbackup_tui.config.values import NAME_PATTERN
    from fsbackup_tui.domain.errors import UsageError

    if not re.fullmatch(NAME_PATTERN, name):
        raise UsageError(
            "SITE NAME REFUSED: it stands in file names and commands.",
            fix="Use letters, digits, - and _, beginning with a letter or digit, at most 40.",
        )
    return name
