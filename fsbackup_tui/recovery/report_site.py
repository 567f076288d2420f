"""What a report tells of files, configuration and code: the damage, what came back, what is lost.

Pure. Figures are those of the journal's own results.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator

from fsbackup_tui.domain.text import count_text, plain_text
from fsbackup_tui.domain.tree import Found
from fsbackup_tui.recovery.actions.site_words import files_look, files_text, size
from fsbackup_tui.recovery.report_text import both_text, code, escaped, table, texts
from fsbackup_tui.recovery.session import Reading

_WAYS = {
    "missing": "what was missing was put back",
    "everything": "all that was missing was put back, named by a row or not",
    "patterns": "some paths were put back",
    "exchange": "the whole tree was exchanged",
}


def site_damage_lines(reading: Reading) -> Iterator[str]:
    """Yield the damage report."""
    damage = reading.facts.site_damage
    if damage is None:
        yield "The damage was not measured."
        return
    yield (
        f"Live at {both_text(damage.at, reading.zone)} against {code(damage.point or '-')},"
        f" {both_text(damage.point_at, reading.zone)}:"
    )
    yield ""
    look = files_look(damage)
    if look is not None:
        rows = [
            ("missing in live", look.missing),
            ("of them named by a row, or all", look.wanted),
            ("of them named by no row", look.unnamed),
            ("only in live", look.only_live),
            ("changed since", look.changed),
            ("of them newer in live", look.newer),
        ]
        yield from table(("files", "count", "size", "like"), (_found(*row) for row in rows))
        yield ""
        for row in look.rows:
            column = code(f"{row.table}.{row.column}")
            yield (
                f"- {column}: {count_text(row.rows)} rows name a file,"
                f" {count_text(row.missing.count)} of which live has not and"
                f" {count_text(row.nowhere.count)} of which nobody has"
            )
    else:
        yield from (f"- {escaped(line.strip())}" for line in texts(damage.found.get("lines")))
    yield from (f"- {escaped(note)}" for note in damage.notes)


def _found(label: str, found: Found) -> tuple[str, ...]:
    names = ", ".join(code(name) for name in found.names[:2])
    return label, count_text(found.count), size(found.bytes), names


def site_check_lines(reading: Reading) -> Iterator[str]:
    """Yield which point was taken, which way it came back, and how that was checked."""
    facts = reading.facts
    candidate = facts.site_candidate
    if candidate is None:
        yield "No point was chosen."
        return
    yield f"- Point: {code(candidate.point)}, {both_text(candidate.at, reading.zone)}"
    yield f"- Trust when it was chosen: {escaped(candidate.trust)}"
    if candidate.doubt:
        why = escaped(str(reading.incident.parameters.get("point_reason") or "no reason given"))
        yield f"- In doubt: {escaped(candidate.doubt)}; taken because: {why}"
    way = facts.files_way
    if way is not None:
        yield f"- Way: {_WAYS[way]}"
    back = facts.put_back
    if back is not None:
        yield f"- Put back into {code(back.root)}: **{files_text(back.put_back)}**"
        for label, found in (
            ("stayed as live has them", back.kept),
            ("came beside", back.beside),
            ("took the place of live's", back.replaced),
            ("appeared meanwhile, and stayed", back.came_meanwhile),
        ):
            if found.count:
                yield f"- {files_text(found)} {label}"
    tree, done = facts.tree_beside, facts.exchanged
    if tree is not None:
        yield (
            f"- Restored beside: {code(tree.tree)}, {count_text(tree.files)} files,"
            f" {size(tree.bytes)}, each file's hash compared with the point's"
        )
    if facts.carried is not None:
        yield f"- Taken over from live: {files_text(facts.carried.carried)}"
    if done is not None:
        how = "in one step" if done.atomic else f"with {done.gap_seconds:.3f} s without a tree"
        yield f"- Exchanged {how}; the former tree is {code(done.kept_as or '-')}"
    for name in ("config_back", "code_beside", "code_exchanged"):
        yield from (f"- {escaped(line)}" for line in texts(facts.document(name).get("told")))


def site_loss_lines(reading: Reading) -> Iterator[str]:
    """Yield what did not come back: still missing, in no point, left in the former tree."""
    facts = reading.facts
    after, back = facts.files_after, facts.put_back
    if facts.kind != "files":
        told = [
            line
            for name in ("config_back", "code_exchanged")
            for line in texts(facts.document(name).get("lost"))
        ]
        yield from (f"- {escaped(line)}" for line in told)
        if not told:
            yield "Nothing was lost by recovering: what was there is kept aside."
        return
    if back is None and facts.exchanged is None:
        yield "Nothing was put back."
    if after is None:
        yield "What is still missing was not looked at afterwards."
    else:
        yield f"- Still missing of what the point has: **{files_text(after.wanted)}**"
        for row in after.rows:
            yield (
                f"- {code(f'{row.table}.{row.column}')}:"
                f" **{count_text(row.nowhere.count)}** files that rows name are nowhere"
            )
        listed = after.lists.get("nowhere") or (back.nowhere_list if back is not None else "")
        if listed:
            yield f"- The rows whose file is nowhere: {code(listed)}"
    if facts.exchanged is not None and facts.carried is None:
        yield "- Nothing of the former tree was taken over: newer files are in there alone"


def site_state(reading: Reading) -> str:
    """Return what is live now, for whoever leads next."""
    facts = reading.facts
    back = facts.put_back
    if facts.exchanged is not None:
        return "EXCHANGED: live is the restored tree"
    if back is not None:
        return f"PUT BACK: {files_text(back.put_back)} came into live"
    if facts.document("code_exchanged"):
        return "EXCHANGED: live is the restored work tree"
    if facts.document("config_back"):
        return "PUT BACK: files of the configuration came from the point"
    return "live is as it was"


def site_way_back(reading: Reading) -> str:
    """Return how what was done is undone."""
    facts = reading.facts
    resume = f"fsbackup recover --resume {reading.incident.id}, then undo"
    if facts.exchanged is not None:
        return f"{resume} the exchange ({plain_text(facts.exchanged.kept_as)} comes back)"
    if facts.put_back is not None:
        return f"{resume} what was put back"
    if facts.document("config_back") or facts.document("code_exchanged"):
        return f"{resume} what was put back; the former is kept aside"
    return "not needed: live was not changed"


def site_risks(reading: Reading) -> Iterator[str]:
    """Yield what may be forgotten about files, configuration and code."""
    facts = reading.facts
    after = facts.files_after
    back = facts.put_back
    if after is not None and after.wanted.count:
        yield f"{files_text(after.wanted)} are still missing that the point has"
    nowhere = sum(row.nowhere.count for row in after.rows) if after is not None else 0
    nowhere = nowhere or (back.nowhere.count if back is not None else 0)
    if nowhere:
        yield f"{count_text(nowhere)} files that rows name are nowhere: tell whose they are"
    left = facts.document("stopped").get("left")
    if isinstance(left, list) and left:
        yield f"{len(left)} of what deletes could not be stopped"


def site_leftovers(reading: Reading) -> Iterator[str]:
    """Yield what stays beside the live tree, and how it is dropped when nobody needs it."""
    facts = reading.facts
    done, tree = facts.exchanged, facts.tree_beside
    back = facts.document("rolled_back_tree")
    kept = (
        (done.kept_as if done is not None else "", "the former tree, whole"),
        (tree.tree if tree is not None and done is None else "", "a restored tree"),
        (str(back.get("kept_as") or ""), "the restored tree that was exchanged back"),
        (facts.put_back.kept_in if facts.put_back is not None else "", "what was overwritten"),
    )
    for path, what in kept:
        if path:
            name = shlex.quote(plain_text(path.rpartition("/")[2]))
            yield (
                f"{plain_text(path)} is {what}; once nobody needs it:"
                f" fsbackup leftovers --drop {name}"
            )
    beside = facts.document("code_beside")
    done_code = facts.document("code_exchanged")
    if beside and not done_code.get("tree"):
        for path in filter(None, (beside.get("target"), beside.get("patches"))):
            yield f"{plain_text(str(path))} is of the restored work tree: delete it when it is over"
    evidence = facts.document("kept_tree").get("directory")
    if evidence:
        yield f"{plain_text(str(evidence))} holds the evidence"
