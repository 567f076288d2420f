"""What is known in an incident, typed: the parameters that flow from step to step (design §7)."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from fsbackup_tui.domain.copy_check import CopyCheck
from fsbackup_tui.domain.damage import Candidate, DamageReport, Way
from fsbackup_tui.domain.incident import Incident
from fsbackup_tui.domain.place import PlaceStanding, SourceKind
from fsbackup_tui.domain.point import ServerIdentity
from fsbackup_tui.domain.preserve import Preserved, Salvaged
from fsbackup_tui.domain.site_damage import SiteCandidate, SiteDamage
from fsbackup_tui.domain.standing import Standing
from fsbackup_tui.domain.tree import (
    Carried,
    Exchanged,
    FilesLook,
    Found,
    PutBack,
    TreeBeside,
    TreeDifference,
)
from fsbackup_tui.domain.way import FilesWay
from fsbackup_tui.domain.written import WrittenSince

_Value = TypeVar("_Value")


_ADAPTERS: dict[type[Any], TypeAdapter[Any]] = {}


def _adapter(value_type: type[_Value]) -> TypeAdapter[_Value]:
    found = _ADAPTERS.get(value_type)
    if found is None:
        found = _ADAPTERS[value_type] = TypeAdapter(value_type)
    return found


def read_value(value_type: type[_Value], document: object) -> _Value | None:
    """Return the value in a result; None where there is none, or another version's."""
    if not isinstance(document, Mapping):
        return None
    plain = {name: value for name, value in document.items() if name != "ok"}
    try:
        return _adapter(value_type).validate_python(plain)
    except ValidationError:
        return None


class IncidentFacts:
    """The typed view of an incident's parameters; what is not known yet is None or empty."""

    def __init__(self, incident: Incident) -> None:
        self.incident = incident
        self._known: Mapping[str, Any] = incident.parameters

    def _text(self, name: str) -> str:
        value = self._known.get(name)
        return value if isinstance(value, str) else ""

    def _number(self, name: str) -> int:
        value = self._known.get(name)
        return value if isinstance(value, int) else 0

    def _texts(self, name: str) -> tuple[str, ...]:
        value = self._known.get(name)
        return tuple(map(str, value)) if isinstance(value, list | tuple) else ()

    def document(self, name: str) -> Mapping[str, Any]:
        """Return a parameter that is a document of its own; empty where it is not known."""
        value = self._known.get(name)
        return value if isinstance(value, Mapping) else {}

    @property
    def kind(self) -> SourceKind:
        """What kind of source it is about."""
        kinds: tuple[SourceKind, ...] = ("files", "config", "code")
        return next((kind for kind in kinds if kind == self._text("kind")), "postgres")

    @cached_property
    def place(self) -> PlaceStanding | None:
        """The last look at the paths of files, configuration or code."""
        return read_value(PlaceStanding, self._known.get("place"))

    @cached_property
    def site_damage(self) -> SiteDamage | None:
        """The damage report of files, configuration or code."""
        return read_value(SiteDamage, self._known.get("site_damage"))

    @property
    def files_way(self) -> FilesWay | None:
        """How the files come back, once it was chosen."""
        ways: tuple[FilesWay, ...] = ("missing", "everything", "patterns", "exchange")
        return next((way for way in ways if way == self._text("files_way")), None)

    @cached_property
    def put_back(self) -> PutBack | None:
        """What was put back into live's tree."""
        return read_value(PutBack, self._known.get("put_back"))

    @cached_property
    def tree_beside(self) -> TreeBeside | None:
        """The restored tree beside live's."""
        return read_value(TreeBeside, self._known.get("tree_beside"))

    @cached_property
    def tree_difference(self) -> TreeDifference | None:
        """The restored tree compared with live's."""
        return read_value(TreeDifference, self._known.get("tree_difference"))

    @cached_property
    def carried(self) -> Carried | None:
        """What was copied from live into the restored tree."""
        return read_value(Carried, self._known.get("carried"))

    @cached_property
    def exchanged(self) -> Exchanged | None:
        """Which tree is live since an exchange, and where the former one is kept."""
        return read_value(Exchanged, self._known.get("exchanged"))

    @cached_property
    def written_files(self) -> Found | None:
        """What was written to the restored tree since the exchange, when last counted."""
        return read_value(Found, self._known.get("written_files"))

    @cached_property
    def files_after(self) -> FilesLook | None:
        """Live's tree beside the point's, once it was put right."""
        return read_value(FilesLook, self._known.get("files_after"))

    @property
    def site_candidate(self) -> SiteCandidate | None:
        """What is known of the chosen point, of files, configuration or code."""
        damage = self.site_damage
        return None if damage is None else damage.candidate(self.point)

    @cached_property
    def server(self) -> ServerIdentity | None:
        """The server, as last seen through its maintenance database."""
        return read_value(ServerIdentity, self._known.get("server"))

    @cached_property
    def standing(self) -> Standing | None:
        """The last look at the server."""
        return read_value(Standing, self._known.get("standing"))

    @property
    def live_name(self) -> str:
        """The live database's name."""
        return self._text("live_name")

    @property
    def database(self) -> str:
        """What stands in for the live database: a drill's copy; empty for the live one."""
        return self._text("database")

    @property
    def mismatch(self) -> str:
        """Why the server is not the one the points came from; empty where it is."""
        return self._text("mismatch")

    @property
    def accepted_target(self) -> str:
        """The server and database that a person accepted although they do not match."""
        return self._text("accepted_target")

    def accepts(self, word: str) -> bool:
        """Whether a person took the target for right: a path is, for the reason it was taken for.

        ``word`` is what had to be typed.
        """
        if not word or self.accepted_target != word:
            return False
        return self.kind == "postgres" or self._text("accepted_mismatch") == self.mismatch

    @property
    def tables(self) -> tuple[str, ...]:
        """The tables that somebody named as damaged."""
        return self._texts("tables")

    @property
    def freeze(self) -> str:
        """The grade of freeze that was chosen; ``nothing`` is one, too."""
        return self._text("freeze")

    @property
    def rungs(self) -> tuple[str, ...]:
        """What shall be preserved."""
        return self._texts("rungs")

    @cached_property
    def preserved(self) -> Preserved | None:
        """How far the damaged state was preserved."""
        return read_value(Preserved, self._known.get("preserved"))

    @cached_property
    def salvaged(self) -> Salvaged | None:
        """What could still be read, as a new database."""
        return read_value(Salvaged, self._known.get("salvaged"))

    @cached_property
    def report(self) -> DamageReport | None:
        """The damage report."""
        return read_value(DamageReport, self._known.get("report"))

    @property
    def point(self) -> str:
        """The point that was chosen."""
        return self._text("point")

    @property
    def spoilt(self) -> tuple[str, ...]:
        """The points that turned out to be damaged when they were about to be restored."""
        return self._texts("spoilt")

    @cached_property
    def candidate(self) -> Candidate | None:
        """What is known of the chosen point; before one is chosen, None."""
        report = self.report
        if report is None:
            return None
        return next((each for each in report.candidates if each.point == self.point), None)

    @property
    def reason_unsigned(self) -> str:
        """Why the chosen point is trusted although it lacks the signature that is demanded."""
        candidate = self.candidate if self.kind == "postgres" else self.site_candidate
        return self._text("point_reason") if candidate is not None and candidate.unsigned else ""

    @property
    def way(self) -> Way | None:
        """The way that was chosen."""
        value = self._text("way")
        ways: tuple[Way, ...] = ("merge", "swap", "schema swap", "salvage")
        return next((way for way in ways if way == value), None)

    @property
    def copy(self) -> str:
        """The side database."""
        return self._text("copy")

    @property
    def copy_oid(self) -> int:
        """The side database's OID."""
        return self._number("copy_oid")

    @property
    def copy_is_kept(self) -> bool:
        """Whether the side database is one that an earlier recovery kept, and of no point."""
        return self._known.get("copy_is_kept") is True

    @cached_property
    def copy_check(self) -> CopyCheck | None:
        """What the side database's proof said."""
        return read_value(CopyCheck, self._known.get("copy_check"))

    @property
    def staging(self) -> str:
        """Where the diff lies."""
        return self._text("staging")

    @cached_property
    def written(self) -> WrittenSince | None:
        """What was written to the restored database since the swap, when last counted."""
        return read_value(WrittenSince, self._known.get("written"))
