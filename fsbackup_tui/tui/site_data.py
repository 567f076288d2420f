"""The site as it really is: configuration, catalogue, manifests, jobs. Called in threads only."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol

from fsbackup_tui.config.load import LoadedConfig, load_config, site_environment
from fsbackup_tui.config.values import SecretCommand
from fsbackup_tui.domain.errors import (
    FsbackupError,
    PointDamaged,
    PointNotFound,
    Problem,
    RepositoryError,
    RepositoryUnwritable,
    UsageError,
)
from fsbackup_tui.domain.glance import Glance, incident_answer
from fsbackup_tui.domain.health import Hints
from fsbackup_tui.domain.incident import DamageSpan
from fsbackup_tui.domain.judged import judged
from fsbackup_tui.domain.key_question import KeyQuestion, Verdict
from fsbackup_tui.domain.point import PointSummary
from fsbackup_tui.domain.secret import Redactor, Secret
from fsbackup_tui.domain.trust import Trust
from fsbackup_tui.engines.secrets import read_secret
from fsbackup_tui.jobs.supervisor import (
    cancel_job,
    find_job,
    list_jobs,
    operator_name,
    reap_lost,
    start_job,
)
from fsbackup_tui.operations.against import against_last_good
from fsbackup_tui.operations.asked_passphrase import AskedPassphrase
from fsbackup_tui.operations.part_changes import changes_of
from fsbackup_tui.operations.read_only import refuse_if_read_only
from fsbackup_tui.operations.request import Request
from fsbackup_tui.operations.status import (
    Status,
    acceptances_of,
    foreign_places,
    gather_status,
    open_site_repository,
    restore_command_lines,
    site_zone,
)
from fsbackup_tui.operations.watch_only import no_plan, takes_no_backups
from fsbackup_tui.repository.catalog import Catalogue
from fsbackup_tui.repository.incidents import INCIDENTS
from fsbackup_tui.repository.layout import Repository, site_state
from fsbackup_tui.repository.reader import PointReader
from fsbackup_tui.tui.alerts import Findings, alerts_of, has_failed
from fsbackup_tui.tui.buckets import Picture
from fsbackup_tui.tui.copy_data import site_copies
from fsbackup_tui.tui.data import (
    JobRow,
    Order,
    Overview,
    PointDetails,
    PointProof,
    PointQuery,
)
from fsbackup_tui.tui.job_data import LiveWatch, job_row, jobs_order
from fsbackup_tui.tui.proof_data import plan_picture, point_proof, trial_words, wanted_of
from fsbackup_tui.tui.signed import Signed

if TYPE_CHECKING:
    from fsbackup_tui.config.edit import ConfigEdit
    from fsbackup_tui.config.retention import Retention
    from fsbackup_tui.domain.retention import Keep
    from fsbackup_tui.recovery.desk import Desk
    from fsbackup_tui.recovery.reading import OpenIncidents
    from fsbackup_tui.tui.retention_data import RetentionView

_HINTS = Hints(back_up="b takes one", prove="3 proves it", create="Make one: fsbackup init")
_SECRETS_SECONDS = 30.0
_JOBS_LISTED = 200
_ORDERS: Mapping[Order, tuple[Literal["sequence", "size", "trust"], bool]] = {
    "newest": ("sequence", True),
    "oldest": ("sequence", False),
    "largest": ("size", True),
    "least trusted": ("trust", False),
}


class NoConfigFound(UsageError):
    """No configuration lies where one is looked for, and none was named."""

    kind = "no-config"


class Invocation(Protocol):
    """What is needed of the command line's context."""

    environ: Mapping[str, str]
    config_path: Path | None
    site: str | None

    def config_file(self) -> Path:
        """Return the configuration file in use."""
        ...


def open_site(invocation: Invocation) -> LiveSite:
    """Open the site that the invocation means.

    Raises:
        NoConfigFound: there is no configuration, and none was named.
        ConfigError, UsageError: the configuration can't be used.
    """
    environ = invocation.environ
    try:
        path = invocation.config_file()
    except UsageError as error:
        named = invocation.config_path or invocation.site or environ.get("FSBACKUP_CONFIG")
        if named:
            raise
        raise NoConfigFound(error.what, why=error.why, fix=error.fix) from error
    return LiveSite(load_config(path, environ), environ)


@dataclass(slots=True)
class _Reading:
    """The catalogue that pages are read from, apart from the one that refreshes compare."""

    state: Path
    repository: Repository | None
    catalogue: Catalogue


class LiveSite:
    """One site; every method may block, and may be called from several threads."""

    def __init__(
        self,
        loaded: LoadedConfig,
        environ: Mapping[str, str],
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._loaded = loaded
        self._environ = environ
        self._asked = AskedPassphrase(environ, now)
        self._now = now
        self._signed = Signed()
        self._findings = Findings()
        self._guard = threading.Lock()
        self._reading: _Reading | None = None
        self._closed = False
        self._incidents: OpenIncidents | None = None
        self._incidents_guard = threading.Lock()
        self._stamp = _stamp_of(loaded.path)
        self._reloads = 0
        self._config_problem: Problem | None = None
        self._secret_problems: tuple[Problem, ...] = ()
        self._secrets_read = -_SECRETS_SECONDS

    def overview(self) -> Overview:
        """Look at the repository, the jobs and what the configuration needs."""
        self._reload()
        loaded = self._loaded
        config = loaded.config
        status = gather_status(loaded, self._environ, self._now(), hints=_HINTS)
        self._follow(status.repository)
        state = self._state()
        if not config.read_only:
            reap_lost(state)
        jobs = list_jobs(state, limit=_JOBS_LISTED)
        secrets = self._missing_secrets()
        glance = self.glance()
        findings = self._findings.look(loaded, self._environ, self._now())
        answer = judged(status.answer, findings)
        if glance is not None and not glance.is_drill:
            answer = incident_answer(glance, config.site, config.environment, self._now())
            self._mark_damage(glance.damage)
        else:
            self._mark_damage(None)
        return Overview(
            site=config.site,
            environment=config.environment,
            answer=answer,
            zone=status.zone,
            config=str(loaded.path),
            repository=str(config.repository),
            plans=tuple(config.plans),
            wanted=wanted_of(config.plans),
            trial=trial_words(config.scratch),
            alerts=tuple(alerts_of((self._config_problem, *secrets), findings)),
            running=tuple(job_row(job).label for job in jobs if job.running),
            failed={job_row(job).label: job.problem for job in jobs if has_failed(job)},
            revision=status.revision + self._reloads,
            blocked=self._blocked(status, secrets),
            incident=glance,
            read_only=config.read_only,
            copies=site_copies(config.replicas, status.repository),
            has_files=any(source.kind == "files" for source in config.sources.values()),
        )

    def _mark_damage(self, damage: DamageSpan | None) -> None:
        """Have points say whether they were taken after it was last right."""
        with self._guard:
            reading = self._reading
            if reading is not None and reading.catalogue.damage != damage:
                reading.catalogue.damage = damage
                self._reloads += 1

    def _reload(self) -> None:
        """Read the configuration again where the file was changed; keep the old while it is bad."""
        stamp = _stamp_of(self._loaded.path)
        if stamp == self._stamp:
            return
        try:
            self._loaded = load_config(self._loaded.path, self._environ)
        except FsbackupError as error:
            self._config_problem = error.problem()
            return
        self._config_problem = None
        self._stamp = stamp
        self._reloads += 1
        self._secrets_read = -_SECRETS_SECONDS

    def _missing_secrets(self) -> tuple[Problem, ...]:
        """Return which database addresses can't be had; commands are not run for it."""
        if time.monotonic() - self._secrets_read < _SECRETS_SECONDS:
            return self._secret_problems
        loaded = self._loaded
        problems: list[Problem] = []
        try:
            environment = site_environment(loaded, self._environ)
            for name, source in loaded.config.databases.items():
                if isinstance(source.url, SecretCommand):
                    continue
                where = loaded.place("sources", name, "url")
                with suppress_into(problems):
                    asyncio.run(
                        read_secret(
                            source.url,
                            environment,
                            Redactor(),
                            what="database address",
                            where=where,
                        )
                    )
        except FsbackupError as error:
            problems.append(error.problem())
        self._secret_problems = tuple(dict.fromkeys(problems))
        self._secrets_read = time.monotonic()
        return self._secret_problems

    def _blocked(self, status: Status, secrets: Sequence[Problem]) -> dict[str, Problem]:
        blocked: dict[str, Problem] = {}
        if self._loaded.config.read_only:
            why = f"{self._loaded.read_only_words()}."
            blocked["backup"] = Problem(
                "refused", "READ ONLY: this configuration takes no backups.", why
            )
        if takes_no_backups(self._loaded):
            blocked.setdefault("backup", no_plan(self._loaded).problem())
        if secrets and len(secrets) >= len(self._loaded.config.databases):
            blocked.setdefault("backup", secrets[0])
        if self._config_problem is not None:
            blocked |= dict.fromkeys(("backup", "verify", "verify-file"), self._config_problem)
        if status.problem is not None:
            blocked["backup"] = blocked["verify"] = blocked["inventory"] = status.problem
        return blocked

    def _state(self) -> Path:
        return site_state(self._loaded, self._environ, self._repository())

    def _repository(self) -> Repository | None:
        reading = self._reading
        return None if reading is None else reading.repository

    def _follow(self, repository: Repository | None) -> None:
        """Open the catalogue that pages are read from, anew where the repository is another."""
        with self._guard:
            if self._closed:  # a look that was under way when the screens went
                return
            state = site_state(self._loaded, self._environ, repository)
            before = self._reading
            known = before is not None and before.state == state
            if not known or before is None or (before.repository is None) != (repository is None):
                places = foreign_places(self._loaded, state)
                catalogue = Catalogue.open(state, repository, places)
                self._reading = _Reading(state, repository, catalogue)
                if before is not None:
                    before.catalogue.close()
            reading = self._reading
            if reading is not None:
                reading.catalogue.acceptances = acceptances_of(self._loaded)
        if reading is not None and reading.catalogue.in_memory:
            reading.catalogue.refresh()

    def _catalogue(self) -> Catalogue:
        if self._reading is None:
            repository: Repository | None = None
            with suppress(RepositoryError):
                repository = open_site_repository(self._loaded, self._environ)
            self._follow(repository)
        reading = self._reading
        if reading is None:
            raise RepositoryUnwritable("CATALOGUE NOT OPENED.", fix="fsbackup doctor")
        return reading.catalogue

    def count(self, query: PointQuery) -> int:
        """Return how many points the query matches."""
        return self._catalogue().count(text=query.text or None)

    def points(self, query: PointQuery, offset: int, limit: int) -> Sequence[PointSummary]:
        """Return one page of the points that the query matches."""
        order, descending = _ORDERS[query.order]
        return self._catalogue().points(
            order=order,
            descending=descending,
            limit=limit,
            offset=offset,
            text=query.text or None,
        )

    def details(self, point: str) -> PointDetails:
        """Return one point with its manifest, as far as it can be read."""
        summary = self._catalogue().point(point)
        if summary is None:
            raise PointNotFound(f"POINT GONE: {point} is not in the repository any more.")
        if summary.foreign:
            return PointDetails(summary, None, summary.foreign, restore_command_lines(summary))
        repository = self._repository() or open_site_repository(self._loaded, self._environ)
        reader = PointReader(repository, point)
        try:
            manifest, problem = reader.manifest, None
        except PointDamaged as error:
            manifest, problem = None, error.problem()
        commands: tuple[str, ...] = ()
        sound = tuple(part for part in summary.parts if part.trust is not Trust.DAMAGED)
        parts = () if manifest is None else manifest.parts
        if not summary.running:
            commands = restore_command_lines(replace(summary, parts=sound), parts)
        if manifest is None and problem is None:
            words = "is still being written" if summary.running else "was never finished"
            why = "Parts that stand whole in it can be restored by name."
            problem = Problem("incomplete", f"NO MANIFEST YET: this point {words}.", why)
        return PointDetails(
            summary,
            manifest,
            str(reader.directory),
            commands,
            problem,
            against_last_good(self._catalogue(), repository, summary, parts),
            changes_of(self._catalogue(), repository, summary, parts),
            self._signed.of(self._loaded, reader, self._environ),
        )

    def proof(self, point: str) -> PointProof:
        """Return what was shown of a point by restoring it."""
        summary = self._catalogue().point(point)
        if summary is None:
            raise PointNotFound(f"POINT GONE: {point} is not in the repository any more.")
        if summary.foreign:
            return PointProof(summary)
        repository = self._repository() or open_site_repository(self._loaded, self._environ)
        reader, manifest = PointReader(repository, point), None
        with suppress(PointDamaged):
            manifest = reader.manifest
        found = point_proof(repository, summary)
        return replace(
            found, manifest=manifest, signature=self._signed.of(self._loaded, reader, self._environ)
        )

    def picture(self, plan: str, unit: timedelta | None, columns: int) -> Picture:
        """Return a plan's points by stretches of time."""
        zone = site_zone(self._loaded)
        return plan_picture(self._catalogue(), plan, unit, columns, now=self._now(), zone=zone)

    def jobs(self) -> Sequence[JobRow]:
        """Return the jobs, running ones first, then the newest first."""
        self._catalogue()
        return jobs_order(list_jobs(self._state(), limit=_JOBS_LISTED))

    def watch(self, job: str) -> LiveWatch:
        """Begin to follow a job."""
        return LiveWatch(find_job(self._state(), job))

    def start(self, request: Request) -> JobRow:
        """Start a job in its own process; PassphraseNeeded where one has to be asked for."""
        loaded = self._loaded
        self._asked.require(request, loaded)
        operator = operator_name(self._environ)
        environ = self._asked.environ
        return job_row(
            start_job(request, loaded, environ=environ, state=self._state(), operator=operator)
        )

    def check_passphrase(self, question: KeyQuestion, typed: Secret) -> Verdict:
        """Return whether what was typed is what was asked for."""
        return self._asked.check(question, typed, self._loaded)

    def keep_passphrase(self, question: KeyQuestion, typed: Secret | None) -> None:
        """Keep it in memory for the jobs to come; None: do without where that can be."""
        self._asked.keep(question, typed)

    def cancel(self, job: str) -> None:
        """Ask a running job to stop and clean up."""
        refuse_if_read_only(self._loaded, "cancels nothing")
        cancel_job(find_job(self._state(), job), operator=operator_name(self._environ))

    def retention(self) -> RetentionView:
        """Return what stays and what leaves, as retention sees it now."""
        from fsbackup_tui.tui.site_retention import read_retention

        return read_retention(self._loaded, self._environ, self._own_repository(), self._now())

    def draft(self, plan: str, keep: Keep, settings: Retention) -> ConfigEdit:
        """Return what writing these rules would make of the configuration."""
        from fsbackup_tui.tui.site_retention import draft_of

        return draft_of(self._loaded, self._environ, plan, keep, settings)

    def write(self, edit: ConfigEdit) -> str:
        """Write it into the configuration, and read that again at once."""
        from fsbackup_tui.config.edit import write_edit

        with self._audited("configure", edit.path.name, {"changes": list(edit.diff)}):
            kept = write_edit(edit, self._state())
        self._reload()
        return f"{edit.path} is written." + (f" As it was: {kept}" if kept else "")

    def pin(self, point: str, reason: str | None) -> None:
        """Write down that a point is pinned, or is no more."""
        from fsbackup_tui.tui.site_retention import write_pin

        with self._audited(
            "pin" if reason is not None else "unpin", point, {"reason": reason or ""}
        ):
            write_pin(
                self._loaded, self._environ, self._own_repository(), point, reason, self._now()
            )

    def _audited(
        self, action: str, subject: str, arguments: Mapping[str, object]
    ) -> AbstractContextManager[None]:
        """Return what writes an act of the screens into the audit log, however it ends."""
        from fsbackup_tui.operations.auditing import audited

        return audited(
            self._state(),
            action,
            environ=self._environ,
            loaded=self._loaded,
            subject=subject,
            arguments=arguments,
        )

    def _own_repository(self) -> Repository:
        return self._repository() or open_site_repository(self._loaded, self._environ)

    def desk(self) -> Desk:
        """Return where recoveries are led from."""
        from fsbackup_tui.recovery.desk import open_desk

        loaded = self._loaded
        return open_desk(
            loaded,
            self._asked.environ,
            now=self._now,
            ready=lambda request: self._asked.require(request, loaded),
        )

    def glance(self) -> Glance | None:
        """Return the open incident at a glance."""
        if not (self._state() / INCIDENTS).is_dir():
            return None
        from fsbackup_tui.recovery.reading import OpenIncidents, glance_at

        with self._incidents_guard:
            self._incidents = self._incidents or OpenIncidents()
            journal = self._incidents.newest(self._state())
            return glance_at(self.desk(), journal) if journal is not None else None

    def close(self) -> None:
        """Let go of the catalogue for good."""
        with self._guard:
            self._closed = True
            if self._reading is not None:
                self._reading.catalogue.close()
                self._reading = None


class suppress_into:  # noqa: N801 - reads as a statement, like contextlib.suppress
    """Keeps an FsbackupError's problem in a list instead of raising it."""

    def __init__(self, problems: list[Problem]) -> None:
        self._problems = problems

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: object, trace: object) -> bool:
        if isinstance(error, FsbackupError):
            self._problems.append(error.problem())
            return True
        return False


def _stamp_of(path: Path) -> tuple[int, int, int] | None:
    try:
        facts = path.stat()
    except OSError:
        return None
    return facts.st_mtime_ns, facts.st_size, facts.st_ino
