"""What ``NOW.txt`` says of files, configuration and code: how it stands, and how to go on by hand.

Pure, as ``incident_now.py`` is, which puts it together.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from shlex import quote
from typing import Any

from fsbackup_tui.domain.incident import Incident, StepState

KINDS = ("files", "config", "code")


def is_about_site(incident: Incident) -> bool:
    """Whether an incident is about files, configuration or code, and about no database."""
    return incident.parameters.get("kind") in KINDS


def site_state_lines(incident: Incident) -> Iterator[str]:
    """Yield what is where by now, each with the stock commands that go on, or back."""
    known = incident.parameters
    root = str(known.get("live_name") or "")
    yield from _point(incident, root)
    yield from _put_back(_document(known, "put_back"), root)
    yield from _beside(incident, root)
    yield from _exchanged(incident, root)
    for name in ("config_back", "code_beside", "code_exchanged"):
        yield from _by_hand(name, _document(known, name))


def _document(known: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = known.get(name)
    return found if isinstance(found, Mapping) else {}


def _chosen(incident: Incident) -> Mapping[str, Any]:
    """Return what is known of the chosen point."""
    damage = _document(incident.parameters, "site_damage")
    candidates = damage.get("candidates")
    for each in candidates if isinstance(candidates, list) else ():
        if isinstance(each, Mapping) and each.get("point") == incident.parameters.get("point"):
            return each
    return {}


def _texts(value: object) -> Sequence[str]:
    return [str(each) for each in value] if isinstance(value, list | tuple) else ()


def _point(incident: Incident, root: str) -> Iterator[str]:
    chosen = _chosen(incident)
    stock = _texts(chosen.get("stock"))
    if not stock:
        return
    yield f"POINT     {chosen.get('point')} lies in {chosen.get('directory')}"
    yield "Its RECOVER.md says how all of it is restored by hand. In short:"
    yield f"  cd {quote(str(chosen.get('directory')))}"
    yield "  sha256sum -c SHA256SUMS"
    kind = incident.parameters.get("kind")
    for command in stock:
        if kind == "files":
            yield f"  {command} | tar -xpf - --skip-old-files -C {quote(root)}"
        else:
            yield f"  {command}"
    if kind == "files":
        yield "  # puts in what is missing, whether a row names it or not; overwrites nothing"
    yield ""


def _put_back(back: Mapping[str, Any], root: str) -> Iterator[str]:
    if not back:
        return
    found = _document(back, "put_back")
    yield f"PUT BACK  {found.get('count')} files into {back.get('root') or root}."
    if back.get("kept_in"):
        yield f"          What they replaced lies in {back['kept_in']}."
    if back.get("list_file"):
        yield f"          Their names are in {back['list_file']}, one a line."
        yield "To take them out again by hand (files that somebody changed since are lost then):"
        yield f"  cd {quote(str(back.get('root') or root))}"
        yield f"  xargs -d '\\n' rm -- < {quote(str(back['list_file']))}"
    if back.get("kept_in"):
        yield f"  cp -a {quote(str(back['kept_in']) + '/.')} ."
    yield ""


def _beside(incident: Incident, root: str) -> Iterator[str]:
    tree = _document(incident.parameters, "tree_beside")
    if not tree or _document(incident.parameters, "exchanged"):
        return
    path = str(tree.get("tree"))
    yield f"RESTORED  {path} is a restored tree, beside the live one. Nobody uses it."
    yield "To let it take the live tree's place by hand:"
    yield from (
        f"  {line}" for line in exchange_by_hand(root, path, f"{root}.before-{incident.id}")
    )
    yield "To drop it:"
    yield f"  rm -r -- {quote(path)}"
    yield ""


def exchange_by_hand(root: str, coming: str, kept: str) -> tuple[str, ...]:
    """Return the stock commands by which a tree takes another's name, and nothing is overwritten.

    ``mv -nT`` neither overwrites nor moves into a directory of that name.
    """
    return (
        f"mv -nT -- {quote(root)} {quote(kept)}",
        f"mv -nT -- {quote(coming)} {quote(root)}",
    )


def _exchanged(incident: Incident, root: str) -> Iterator[str]:
    done = _document(incident.parameters, "exchanged")
    if not done:
        return
    kept = str(done.get("kept_as") or "")
    yield f"EXCHANGED {root} is the restored tree (inode {done.get('inode')})."
    if kept:
        yield f"          The former one is whole, as {kept} (inode {done.get('kept_inode')})."
        yield "To go back by hand (what was written since stays in the tree that is kept then):"
        newer = f"{root}.after-{incident.id}"
        yield from (f"  {line}" for line in exchange_by_hand(root, kept, newer))
    yield ""


_TITLES = {
    "config_back": "CONFIGURED",
    "code_beside": "CLONED",
    "code_exchanged": "EXCHANGED",
}


def _by_hand(name: str, done: Mapping[str, Any]) -> Iterator[str]:
    """Yield what was done to configuration or code, with the commands that its result told."""
    if not done:
        return
    told = _texts(done.get("told"))
    if told:
        yield f"{_TITLES[name]:<10}{told[0]}"
        yield from (f"{'':<10}{line}" for line in told[1:])
    back = _texts(done.get("by_hand"))
    if back:
        yield "To drop it:" if name == "code_beside" else "To go back by hand:"
        yield from (f"  {line}" for line in back)
    yield ""


def how_to_look(incident: Incident, step: StepState) -> Iterator[str]:
    """Yield how to see whether a step happened whose end nobody wrote down."""
    arguments = step.request.get("arguments")
    if not isinstance(arguments, Mapping):
        return
    root = str(incident.parameters.get("live_name") or "")
    operation = step.request.get("operation")
    if operation == "files-put-back":
        yield "Each file comes in whole or not at all, and none is overwritten unsaid: it may be"
        yield "done again, by fsbackup or by the commands above."
    elif operation == "files-beside":
        yield "A tree that is not whole bears a mark that says so; nobody uses it. What is there:"
        yield f"  ls -ldi {quote(root)}.*"
    elif operation in ("files-exchange", "files-rollback"):
        yield from _look_at_trees(root, operation, arguments)
    elif operation in ("stop-touching", "let-touch"):
        yield "A process that is stopped has a T here:"
        yield "  ps -o pid,stat,args -p PID"


def _look_at_trees(root: str, operation: str, arguments: Mapping[str, Any]) -> Iterator[str]:
    coming = arguments.get("inode") if operation == "files-exchange" else arguments["kept_inode"]
    tree = arguments.get("tree") if operation == "files-exchange" else arguments.get("kept_as")
    yield "Two renames, no file is touched. Which directory has which inode:"
    yield f"  ls -ldi {quote(root)} {quote(root)}.*"
    yield f"It is done if {root} has inode {coming}, and no more to do if {tree} is gone."
    yield f"If nothing is at {root}, its tree is the one with inode {arguments.get('live_inode')}:"
    yield f"  mv -nT -- THAT_ONE {quote(root)}"


def site_foot() -> Iterator[str]:
    """Yield how one goes on without fsbackup."""
    yield "To go on without it: let go on what is stopped, put back what is missing (above),"
    yield "take a backup (tar -cpf), and remove no directory whose name has .before- in it."
