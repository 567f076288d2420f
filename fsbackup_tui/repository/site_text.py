"""The config in force as a point keeps it: every secret a reference, none in plain text."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

from fsbackup_tui.domain.secret import REDACTED, Redactor

_REFERENCE = re.compile(r"\$\{(?P<name>[A-Za-z_][A-Za-z0-9_]*)\}")
_DEFAULTED = re.compile(r"\$\{(?P<name>[A-Za-z_][A-Za-z0-9_]*):-(?P<default>[^}]*)\}")
_AUTHORITY = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*://)(?P<rest>\S.*)", re.DOTALL)
_PARAMETER = re.compile(r"(?i)(?P<head>[?&](?:ssl)?pass(?:word|wd)?=)(?P<value>[^&\s'\"}]+)")
_KEYWORD = re.compile(
    r"(?i)(?P<head>\b(?:pg|ssl)?pass(?:word|wd)\s*=\s*)(?P<value>'(?:[^'\\]|\\.|'')*'?|[^\s'}]+)"
)
_SECRET_SETTING = re.compile(r"(?:[a-z_]*_)?passphrase|identity|password|(?:access|secret)_key")
_ADDRESSES = {"notify"}
_LOOSE_SETTING = re.compile(
    r"(?i)(?P<head>\b(?:(?:[a-z]+_)?passphrase|password|(?:access|secret)_key)\s*:\s*"
    r"(?:\{\s*text\s*:\s*)?)(?P<value>[^\s{$].*)"
)
# Of what apprise sends through, the whole address is the secret: slack://TOKEN/TOKEN/TOKEN.
_LOOSE_ADDRESS = re.compile(
    r"(?i)(?P<head>\b(?!(?:https?|postgres(?:ql)?|s3|sftp|ssh|rsync|git|file)://)"
    r"[a-z][a-z0-9+.-]{0,30}://)(?P<value>[^\s$\"'][^\s\"']*)"
)
_AGE_SECRET = re.compile(r"(?i)AGE-SECRET-KEY-[0-9A-Z-]+")
_COMMENT = re.compile(r"(?m)(?:^|(?<=\s))#.*$")


def mask_config(text: str) -> str:
    """Return a configuration text in which literal passwords are ``***``.

    References (``${NAME}``) stay as they are; a literal default of one, a URL's password, a
    ``password=`` of a URL or keyword string are masked, in comments too; so are keys and
    passphrases, and the addresses of ``notify`` that name no variable: who has one may send to
    it. A value that had to be masked is written as a double-quoted scalar, all other text stays
    as it was.
    """
    import yaml

    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        spans = sorted(set(_masked_spans(root))) if root is not None else []
    except yaml.YAMLError:
        return "\n".join(_mask_loose(line) for line in text.split("\n"))
    pieces: list[str] = []
    place = 0
    for start, end, value in spans:
        pieces += [_mask_comments(text[place:start]), json.dumps(value, ensure_ascii=False)]
        # A block scalar ends behind its last newline, which still has to end the line.
        if text[start:end].endswith("\n"):
            pieces.append("\n")
        place = end
    pieces.append(_mask_comments(text[place:]))
    return "".join(pieces)


def _masked_spans(root: object) -> Iterator[tuple[int, int, str]]:
    import yaml

    queue = [root]
    while queue:
        node = queue.pop()
        if isinstance(node, yaml.MappingNode):
            for key, value in node.value:
                name = key.value if isinstance(key, yaml.ScalarNode) else ""
                if _SECRET_SETTING.fullmatch(name):
                    yield from _masked_secret(value)
                elif name in _ADDRESSES and node is root:
                    yield from _masked_addresses(value)
                else:
                    queue += [key, value]
        elif isinstance(node, yaml.SequenceNode):
            queue += node.value
        elif isinstance(node, yaml.ScalarNode):
            masked = mask_value(node.value)
            if masked != node.value:
                yield node.start_mark.index, node.end_mark.index, masked


def _masked_secret(node: object) -> Iterator[tuple[int, int, str]]:
    """Mask the text of a setting that is a secret whatever it looks like."""
    import yaml

    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value == "text":
                yield from _masked_secret(value)
    elif isinstance(node, yaml.ScalarNode) and node.value:
        masked = _mask_secret(node.value)
        if masked != node.value:
            yield node.start_mark.index, node.end_mark.index, masked


def _masked_addresses(node: object) -> Iterator[tuple[int, int, str]]:
    """Mask what ``to`` and ``ping`` list; where a variable is part of it, that is the secret."""
    import yaml

    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            name = key.value if isinstance(key, yaml.ScalarNode) else ""
            if name not in {"on", "env", "file", "command", "agent"}:
                yield from _masked_addresses(value)
    elif isinstance(node, yaml.SequenceNode):
        for value in node.value:
            yield from _masked_addresses(value)
    elif isinstance(node, yaml.ScalarNode) and node.value:
        named = _REFERENCE.search(node.value) is not None
        masked = mask_value(node.value) if named else _mask_secret(node.value)
        if masked != node.value:
            yield node.start_mark.index, node.end_mark.index, masked


def mask_value(value: str) -> str:
    """Return one value of a config with its literal passwords masked."""
    value = _AGE_SECRET.sub(REDACTED, value)
    value = _PARAMETER.sub(_mask_match, value)
    value = _KEYWORD.sub(_mask_match, value)
    match = _AUTHORITY.search(value)
    if match is None:
        return value
    return value[: match.start()] + match["scheme"] + _mask_authority(match["rest"])


def _mask_authority(rest: str) -> str:
    """Mask the password between the user's colon and the last ``@`` before the query.

    The last one, because people paste passwords with ``@`` and ``/`` unescaped; masking too
    much loses nothing that a restore needs.
    """
    path, question, query = rest.partition("?")
    if "@" not in path:
        path, question, query = rest, "", ""
    credentials, at, host = path.rpartition("@")
    # The colon of ${NAME:-default} in the user's name is not the one before the password.
    plain = re.sub(r"\$\{[^}]*\}", lambda m: "_" * len(m[0]), credentials)
    colon = plain.find(":")
    if not at or colon < 0:
        return rest
    user, password = credentials[:colon], credentials[colon + 1 :]
    return f"{user}:{_mask_secret(password)}{at}{host}{question}{query}"


def _mask_match(match: re.Match[str]) -> str:
    return f"{match['head']}{_mask_secret(match['value'])}"


def _mask_secret(secret: str) -> str:
    bare = secret.strip("'")
    if not bare or _REFERENCE.fullmatch(bare):
        return secret
    defaulted = _DEFAULTED.fullmatch(bare)
    if defaulted is not None:
        kept = REDACTED if defaulted["default"] else ""
        return f"${{{defaulted['name']}:-{kept}}}"
    return REDACTED


def _mask_comments(text: str) -> str:
    """Mask what stands in comments; values are masked by their own place in the YAML."""
    return _COMMENT.sub(lambda match: _mask_loose(match[0]), text)


def _mask_loose(text: str) -> str:
    """Mask text that is no YAML: a comment, or a file that can't be read."""
    text = _LOOSE_SETTING.sub(lambda match: f"{match['head']}{REDACTED}", text)
    text = _LOOSE_ADDRESS.sub(lambda match: f"{match['head']}{REDACTED}", text)
    return Redactor().redact(mask_value(text))
