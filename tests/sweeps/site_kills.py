"""Settings, code and trees of files put back, and taken back, by a worker that is killed.

At every moment of its job, and at every word of the leading session: live is the former or the
new, what was begun is brought to its end by being done again, and taken back it is as it was.
"""

from __future__ import annotations

import dataclasses
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fsbackup_tui.domain.errors import FsbackupError
from fsbackup_tui.recovery.declare import attach
from fsbackup_tui.recovery.question import Answer
from fsbackup_tui.recovery.session import RecoverySession
from fsbackup_tui.repository.incidents import IncidentJournal
from tests.support.code_sites import git, site_of_code
from tests.support.dying_jobs import DyingJobs
from tests.support.file_sites import PART, make_file_site, snapshot
from tests.support.in_process import back_up_in_process, declare_real
from tests.support.killing import Died, dies_at, drop_presence
from tests.support.recovering import Clock
from tests.support.sites import make_site
from tests.sweeps.kill_points import WORDS_OF_A_STEP
from tests.sweeps.outcomes import Tally

State = Mapping[str, object]
MOST_MOMENTS = 60
SECRET = "API_KEY=canary-9c1\n"

_CONFIG = (
    *(f"fsbackup_tui.engines.config_restore:{name}" for name in ("_create", "_dress", "os.fsync")),
    *(f"fsbackup_tui.engines.config_restore:Path.{name}" for name in ("hardlink_to", "replace")),
)
_CONFIG_BACK = (
    *("fsbackup_tui.operations.config_take_back:rename_new",),
    *(f"fsbackup_tui.operations.config_take_back:Path.{name}" for name in ("hardlink_to",)),
    *(f"fsbackup_tui.operations.config_take_back:{name}" for name in ("Path.replace", "os.fsync")),
)
_CODE = (
    *(f"fsbackup_tui.operations.code_back:{name}" for name in ("_Work.say", "_give_to_owner")),
    *(f"fsbackup_tui.operations.code_{module}:rename_path" for module in ("back", "moves")),
)
_EXCHANGE = (
    *(f"fsbackup_tui.operations.files_exchange:{name}" for name in ("write_mark", "remove_mark")),
    *(f"fsbackup_tui.engines.trees.exchanging:{name}" for name in ("exchange", "rename_new")),
)


@dataclass
class Scene:
    """An incident led to a step; ``read`` returns what live is, ``whole`` judges it in between.

    ``gates`` are where the step's job is killed, ``back`` where the one that takes it back is.
    """

    name: str
    session: RecoverySession
    step: str
    typed: str
    gates: Sequence[str]
    back: Sequence[str]
    read: Callable[[], State]
    whole: Callable[[State, State, State], bool]
    answers: Mapping[str, Answer]
    old: State = dataclasses.field(default_factory=dict)
    new: State = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        jobs = DyingJobs(Clock(self.session.desk.now()))
        self.session.desk = dataclasses.replace(self.session.desk, start=jobs)
        self.old = self.read()
        self._lead_to_step()
        self._do()
        self.new = self.read()
        assert self.new != self.old
        self._undo()
        self._require(self.old, "taken back, live is not what it was")

    @property
    def jobs(self) -> DyingJobs:
        assert isinstance(self.session.desk.start, DyingJobs)
        return self.session.desk.start

    def status(self, step: str = "") -> str:
        incident = self.session.read().incident
        return incident.step(step or self.step, self.session.desk.now()).status

    def strike(self, moment: int) -> bool:
        """Kill the job at its nth moment, both ways; False where neither has so many."""
        self._lead_to_step()
        there = self._killed_at(self.gates, moment, undoing=False)
        if self.status() != "done":
            self._do()
        self._require(self.new, "done again, live is not the new")
        back = self._killed_at(self.back, moment, undoing=True)
        if self.status() != "undone":
            self._undo()
        self._require(self.old, "taken back, live is not what it was")
        return there or back

    def strike_leader(self, word: str) -> None:
        """Let the leading session die at a word of its journal, both ways."""
        self._lead_to_step()
        self._leader_dies_at(word, undoing=False)
        if self.status() != "done":
            self._do()
        self._require(self.new, "done again, live is not the new")
        self._leader_dies_at(word.replace("done", "undone"), undoing=True)
        if self.status() != "undone":
            self._undo()
        self._require(self.old, "taken back, live is not what it was")

    def _require(self, state: State, why: str) -> None:
        live = self.read()
        assert live == state, f"{why}: {differing(live, state)}"

    def _lead_to_step(self) -> None:
        for _ in range(20):
            current = self.session.read().flow.current()
            assert current is not None
            if current.step.id == self.step:
                return
            self._do(current.step.id)
        raise AssertionError("it does not come to the step")

    def _begin(self, *, undoing: bool, step: str = "") -> None:
        step = step or self.step
        given = self.answers.get(step, Answer())
        answer = Answer(given.value, given.reason, self.typed if step == self.step else "")
        if undoing:
            self.session.undo(step, answer)
        else:
            self.session.begin(step, answer)

    def _do(self, step: str = "") -> None:
        self._look()
        self._begin(undoing=False, step=step)
        self._settle(step or self.step)
        state = self.session.read().incident.steps[step or self.step]
        assert state.status == "done", (step, state.reason, state.result)

    def _undo(self) -> None:
        self._look()
        self._begin(undoing=True)
        self._settle(self.step)
        state = self.session.read().incident.steps[self.step]
        assert state.status == "undone", (state.reason, state.result)

    def _look(self) -> None:
        self.session.look_now()
        self.session.poll()

    def _killed_at(self, gates: Sequence[str], moment: int, *, undoing: bool) -> bool:
        self._look()
        self.jobs.kill_next(gates, moment)
        self._begin(undoing=undoing)
        self._check_between()
        self._settle(self.step)
        return self.jobs.killed

    def _leader_dies_at(self, word: str, *, undoing: bool) -> None:
        self._look()
        when, _, kind = word.partition(" ")
        journal = self.session.journal
        dies_at(journal, when, kind)
        with suppress(Died):
            self._begin(undoing=undoing)
            self.session.poll()
            raise AssertionError(f"it never came to {word}")
        drop_presence(journal.directory)
        self._check_between()
        self.session = attach(self.session.desk, IncidentJournal(journal.directory))
        assert self.session.leads
        self._settle(self.step)

    def _check_between(self) -> None:
        live = self.read()
        assert self.whole(live, self.old, self.new), f"live is neither: {differing(live, self.old)}"

    def _settle(self, step: str) -> None:
        for _ in range(5):
            self.session.poll()
            if self.status(step) != "unknown":
                return
            if self.session.watch is None or self.session.look.settles():
                self.session.settle(step)
                self._look()
        raise AssertionError(f"nobody finds out how {step} ended")


def differing(one: State, other: State) -> list[str]:
    """Return the names by which two states differ."""
    return sorted(name for name in {*one, *other} if one.get(name) != other.get(name))


def each_is_whole(live: State, old: State, new: State) -> bool:
    """Whether every file is the old one or the new one, whole."""
    return all(live.get(name) in (old.get(name), new.get(name)) for name in {*live, *old, *new})


def all_is_one(live: State, old: State, new: State) -> bool:
    """Whether it is all of the old, or all of the new."""
    return live in (old, new)


def config_scene(place: Path) -> Scene:
    """Three files to put back: two are otherwise, one is gone; one of them behind a link."""
    live = place / "srv"
    live.mkdir(parents=True)
    files = [live / name for name in (".env", "app.conf", "gone.conf")]
    for path in files:
        path.write_text(SECRET)
    files[0].chmod(0o640)
    (live / "app.conf").rename(live / "real.conf")
    (live / "app.conf").symlink_to("real.conf")
    source = {"kind": "config", "files": [str(path) for path in files], "plaintext": True}
    plans = {"daily": {"sources": ["env"], "verify": "sealed"}}
    settings: dict[str, Any] = {"sources": {"env": source}, "plans": plans}
    site = make_site(place / "site", "", settings=settings)
    back_up_in_process(site)
    session = declare_real(site, "env", "config")
    files[0].write_text("API_KEY=canary-wrong\n")
    (live / "real.conf").write_text("nothing\n")
    files[2].unlink()

    def read() -> State:
        kept = (".before-", ".after-")
        found = snapshot(live)
        return {name: f for name, f in found.items() if not any(word in name for word in kept)}

    def whole(now: State, old: State, new: State) -> bool:
        # A killed worker's file, which has no name that anybody reads: it goes with the next.
        return each_is_whole({n: f for n, f in now.items() if ".fsbackup-" not in n}, old, new)

    return Scene(
        "config",
        session,
        "config-back",
        "",
        _CONFIG,
        _CONFIG_BACK,
        read,
        whole,
        {"choose-config-files": Answer(",".join(map(str, files)))},
    )


def code_scene(place: Path, *, gone: bool = False) -> Scene:
    """A work tree at another commit, with work that nobody committed and other built files.

    ``gone``: it is no longer there at all.
    """
    site, top = site_of_code(place)
    session = declare_real(site, "code", "config")
    if gone:
        shutil.rmtree(top)
    else:
        (top / "server.js").write_text("crash()\n")
        (top / "two.js").write_text("two\n")
        git(top, "add", "--all")
        git(top, "commit", "--quiet", "--message=two")
        (top / "server.js").write_text("crash() // somebody was at it\n")
        (top / "staged.js").write_text("staged\n")
        git(top, "add", "staged.js")
        (top / ".next/app.js").write_text("built of two\n")

    def read() -> State:
        if not top.exists():
            return {}
        work = {name: f for name, f in snapshot(top).items() if not name.startswith(".git/")}
        head = git(top, "rev-parse", "HEAD", "--abbrev-ref", "HEAD")
        return {**work, "": (head, git(top, "status", "--porcelain"))}

    def between(live: State, old: State, new: State) -> bool:
        # A checkout is no single step; what is no code, or settings, is never touched.
        return all(live.get(name) == old[name] for name in (".env", "uploads/me.jpg"))

    return Scene(
        "code gone" if gone else "code",
        session,
        "code-back",
        "srv",
        _CODE,
        _CODE,
        read,
        all_is_one if gone else between,
        {},
    )


def exchange_scene(place: Path) -> Scene:
    """A tree that lost files, restored beside and exchanged."""
    tree = make_file_site(place)
    back_up_in_process(tree.site)
    session = declare_real(tree.site, PART, "files")
    shutil.rmtree(tree.root / "faces")
    (tree.root / "new.txt").write_text("written since")
    return Scene(
        "exchange",
        session,
        "files-exchange",
        "storage",
        _EXCHANGE,
        _EXCHANGE,
        lambda: snapshot(tree.root, times=True),
        all_is_one,
        {"choose-way": Answer("exchange"), "files-carry": Answer("nothing")},
    )


SCENES: Mapping[str, Callable[[Path], Scene]] = {
    "config": config_scene,
    "code": code_scene,
    "code gone": lambda place: code_scene(place, gone=True),
    "exchange": exchange_scene,
}


def sweep_site_kills(
    name: str, place: Path, moments: Iterable[int] = (), words: Sequence[str] = WORDS_OF_A_STEP
) -> Tally:
    """Kill at these moments (none given: at all there are) and words of one scene."""
    tally = Tally(f"killed while it is put back, and taken back: {name}")
    drawn = list(moments)
    scenes = _Scenes(name, place)
    for moment in drawn or range(MOST_MOMENTS):
        if not scenes.struck(tally, f"moment {moment}", lambda s: s.strike(moment)):  # noqa: B023
            break
    for word in words:
        scenes.struck(tally, f"leader {word}", lambda s: s.strike_leader(word))  # noqa: B023
    return tally


class _Scenes:
    """One scene, and another one where something went wrong in that."""

    def __init__(self, name: str, place: Path) -> None:
        self._name, self._place, self._made = name, place, 0
        self._scene: Scene | None = None

    def struck(self, tally: Tally, what: str, strike: Callable[[Scene], bool | None]) -> bool:
        """Strike; False where there was nothing to strike."""
        if self._scene is None:
            self._made += 1
            self._scene = SCENES[self._name](self._place / str(self._made))
        try:
            met = strike(self._scene) is not False
        except (AssertionError, FsbackupError) as error:
            tally.counts["wrong"] += 1
            tally.failures.append(f"{what}: {error!r}"[:900])
            self._scene = None
            return True
        tally.counts["leader" if what.startswith("leader") else "worker"] += met
        return met


def run_scene(name: str) -> Tally:
    """Run the whole sweep of a scene in a directory of its own."""
    with tempfile.TemporaryDirectory(prefix="fsbackup-kills-") as place:
        return sweep_site_kills(name, Path(place))


def run_scenes(names: Sequence[str] = ()) -> list[Tally]:
    """Run whole sweeps, beside each other; none named: all."""
    with ProcessPoolExecutor(min(os.cpu_count() or 1, len(SCENES))) as pool:
        return list(pool.map(run_scene, names or SCENES))
