"""Which file a row names: templates over columns, and the path below a tree's root. Pure.

A value may be a path with or without a leading ``/`` or ``./``, or a URL of which the beginning is
cut off (``strip``). It is taken literally first; percent signs are decoded only if no file is
called as it stands there: ``100%25.jpg`` may be a name. What a URL has behind ``?`` or ``#`` is cut
off where something with ``://`` was stripped. So a row may mean one of several names, and the
first that exists counts. A symlink that leads to a file of the tree counts as that file.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import unquote_to_bytes

MOST_NAMES = 4
"""How many names one row can mean at most."""

MOST_HOPS = 4
"""How many symlinks are followed, one to the next, from a name to its file."""

SUPABASE_TABLE = "storage.objects"
SUPABASE_PATHS = ("{bucket_id}/{name}/{version}", "{bucket_id}/{name}")
"""Below a bucket the file backend keeps a directory for each object, with a file per version; a
copy made through the API has the object's name alone (supabase/storage, locator.ts)."""
SUPABASE_SIZE = "metadata.size"

_PIECE = re.compile(r"\{\{|\}\}|\{([^{}]+)\}|\{|\}")


class BadLink(ValueError):
    """A template is none; says what is wrong with it."""


@dataclass(frozen=True, slots=True)
class Template:
    """A path with columns in it, as literal texts (odd places: column names)."""

    pieces: tuple[str, ...]

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that it needs."""
        return tuple(dict.fromkeys(self.pieces[1::2]))

    def fill(self, values: Mapping[str, str | None]) -> str | None:
        """Return the path; None where a column is null or empty, so that no file is named."""
        text = [self.pieces[0]]
        for place in range(1, len(self.pieces), 2):
            value = values.get(self.pieces[place])
            if not value:
                return None
            text += (value, self.pieces[place + 1])
        return "".join(text)


def parse_template(text: str) -> Template:
    """Return the template of ``{column}/{other}.jpg``; ``{{`` and ``}}`` stand for braces.

    Raises:
        BadLink: a brace stands alone, or no column is named.
    """
    pieces, literal, end = [], "", 0
    for match in _PIECE.finditer(text):
        literal += text[end : match.start()]
        end = match.end()
        if match[0] in ("{{", "}}"):
            literal += match[0][0]
        elif match[1] is not None:
            pieces += [literal, match[1]]
            literal = ""
        else:
            raise BadLink(
                f"a lone {match[0]} in {text!r}; write {match[0] * 2} for the sign itself"
            )
    if not pieces:
        raise BadLink(f"no column in {text!r}; write it as {{column}}")
    return Template((*pieces, literal + text[end:]))


@dataclass(frozen=True, slots=True)
class LinkRule:
    """How the rows of one column name files: what the configuration says, made ready.

    ``size`` may be ``column.key`` for a column of JSON. ``where`` is SQL of the site's own.
    """

    table: str
    column: str
    templates: tuple[Template, ...]
    strip: tuple[str, ...] = ()
    size: str | None = None
    sha256: str | None = None
    where: str | None = None

    @property
    def columns(self) -> tuple[str, ...]:
        """Every column that its templates need."""
        return tuple(dict.fromkeys(name for one in self.templates for name in one.columns))


def rule_of(
    table: str,
    column: str,
    *,
    path: str | None = None,
    strip: Sequence[str] = (),
    size: str | None = None,
    sha256: str | None = None,
    where: str | None = None,
) -> LinkRule:
    """Return the rule of a link; Supabase's ``storage.objects`` has one of its own.

    Raises:
        BadLink: the path is no template.
    """
    if path is not None:
        templates: tuple[Template, ...] = (parse_template(path),)
    elif table == SUPABASE_TABLE and column == "name":
        templates = tuple(parse_template(each) for each in SUPABASE_PATHS)
        size = size or SUPABASE_SIZE
    else:
        templates = (Template(("", column, "")),)
    return LinkRule(table, column, templates, tuple(strip), size, sha256, where)


def names_of(rule: LinkRule, values: Mapping[str, str | None]) -> tuple[str, tuple[bytes, ...]]:
    """Return what a row says, and the names below the root that it may mean, the likeliest first.

    An empty text: it names nothing. No names: it leads out of the root.
    """
    said = ""
    names: dict[bytes, None] = {}
    for template in rule.templates:
        text = template.fill(values)
        if text is None:
            continue
        said = said or text
        names.update(dict.fromkeys(_meanings(text, rule.strip)))
    return said, tuple(names)[:MOST_NAMES]


def _meanings(text: str, strip: Iterable[str]) -> Iterable[bytes]:
    text, is_url = _stripped(text, strip)
    texts = [text]
    if is_url:
        texts.append(re.split(r"[?#]", text, maxsplit=1)[0])
    for each in dict.fromkeys(texts):
        raw = each.encode("utf-8", "surrogateescape")
        for name in (raw, unquote_to_bytes(raw)) if b"%" in raw else (raw,):
            found = below_root(name)
            if found is not None:
                yield found


def _stripped(text: str, strip: Iterable[str]) -> tuple[str, bool]:
    """Cut each beginning that is there, in their order, and say whether one was a URL's.

    Behind one that was cut, ``/uploads/`` means ``uploads/``, too.
    """
    was_cut = is_url = False
    for beginning in strip:
        if text.startswith(beginning):
            text = text[len(beginning) :]
        elif was_cut and text.startswith(beginning.removeprefix("/")):
            text = text[len(beginning.removeprefix("/")) :]
        else:
            continue
        was_cut, is_url = True, is_url or "://" in beginning
    return text, is_url


def below_root(name: bytes) -> bytes | None:
    """Return a name without ``.``, ``..`` and doubled slashes; None where it leaves the root.

    A leading ``/`` is the root's own.
    """
    # By far the most names are plain already.
    odd = name.startswith((b"/", b".")) or name.endswith(b"/") or b"//" in name or b"/." in name
    if name and not odd and b"\0" not in name:
        return name
    kept: list[bytes] = []
    for component in name.split(b"/"):
        if component in (b"", b"."):
            continue
        if component != b"..":
            kept.append(component)
        elif kept:
            kept.pop()
        else:
            return None
    return b"/".join(kept) if kept and b"\0" not in name else None


def led_to(path: bytes, target: bytes) -> bytes | None:
    """Return what below the root a symlink at ``path`` leads to; None where it leaves the tree.

    ``..`` counts at the target's beginning alone: behind a name, that name might be a link, too.
    """
    place = path.split(b"/")[:-1]
    named = False
    if target.startswith(b"/") or target.endswith(b"/") or b"\0" in target:
        return None
    for component in target.split(b"/"):
        if component in (b"", b"."):
            continue
        if component != b"..":
            place.append(component)
            named = True
        elif place and not named:
            place.pop()
        else:
            return None
    return b"/".join(place) if named else None


def size_of(text: str | None) -> int | None:
    """Return a size in bytes as a column tells it; None where it is none."""
    if text is None or not (text.isascii() and text.isdecimal()):
        return None
    return int(text)


def sha256_of(text: str | None) -> bytes | None:
    """Return a hash as a column tells it, in hexadecimal, perhaps as ``\\x…``; None: it is none."""
    if text is None:
        return None
    plain = text.strip().removeprefix("\\x").removeprefix("sha256:")
    try:
        digest = bytes.fromhex(plain)
    except ValueError:
        return None
    return digest if len(digest) == 32 else None
