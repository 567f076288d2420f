"""What the schema says of a place in the file: text, path, secret, section.

Reads the pydantic models instead of repeating them, so that a new setting needs nothing here.
"""

from __future__ import annotations

import types
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel

from fsbackup_tui.config.values import SecretText
from fsbackup_tui.config.yaml_reader import NodePath

Role = Literal["text", "path", "secret", "empty"]


@dataclass(frozen=True, slots=True)
class Leaf:
    """A value in the file that the schema knows: its place, its role, the value as read."""

    path: NodePath
    role: Role
    value: Any


def leaves(model: type[BaseModel], value: object) -> Iterator[Leaf]:
    """Yield every text, path and secret below ``value``, and every empty value that has a default.

    Places that the schema does not know are left to the validation.
    """
    yield from _leaves(model, value, ())


def section_at(model: type[BaseModel], value: object, path: NodePath) -> type[BaseModel] | None:
    """Return the model of the section at that path, or None where there is no section."""
    annotation: Any = model
    for step in path:
        member = _member_for(annotation, value)
        annotation = _below(member, step)
        if annotation is None:
            return None
        value = _item(value, step)
    member = _member_for(annotation, value if isinstance(value, Mapping) else {})
    return member if isinstance(member, type) and issubclass(member, BaseModel) else None


def is_secret(model: type[BaseModel], value: object, path: NodePath) -> bool:
    """Whether the schema holds a secret at that path or above it."""
    return any(
        leaf.role == "secret" and path[: len(leaf.path)] == leaf.path
        for leaf in leaves(model, value)
    )


def _leaves(annotation: Any, value: Any, path: NodePath) -> Iterator[Leaf]:
    members = _members(annotation)
    if SecretText in members:
        yield Leaf(path, "secret", value)
    elif isinstance(value, str):
        yield Leaf(path, "path" if Path in members else "text", value)
    elif isinstance(value, Mapping):
        member = _member_for(annotation, value)
        for key, item in value.items():
            below = _below(member, key)
            if below is None:
                continue
            if item is None and _has_default(member, key):
                yield Leaf((*path, key), "empty", None)
            else:
                yield from _leaves(below, item, (*path, key))
    elif isinstance(value, list):
        member = _member_for(annotation, value)
        for index, item in enumerate(value):
            below = _below(member, index)
            if below is not None:
                yield from _leaves(below, item, (*path, index))


def _members(annotation: Any) -> tuple[Any, ...]:
    """Return the alternatives of a type, unions and annotations opened."""
    origin = get_origin(annotation)
    if origin is Annotated:
        return _members(get_args(annotation)[0])
    if origin is Union or origin is types.UnionType:
        return tuple(member for part in get_args(annotation) for member in _members(part))
    return (annotation,)


def _member_for(annotation: Any, value: object) -> Any:
    """Return the alternative that a mapping or list is meant for, by its ``kind`` if several."""
    members = _members(annotation)
    if isinstance(value, Mapping):
        models = [m for m in members if isinstance(m, type) and issubclass(m, BaseModel)]
        for model in models:
            kind = model.model_fields.get("kind")
            if kind is not None and value.get("kind") in get_args(kind.annotation):
                return model
        return next(iter(models), next((m for m in members if get_origin(m) is dict), None))
    if isinstance(value, list):
        return next((m for m in members if get_origin(m) in (tuple, list)), None)
    return next(iter(members), None)


def _below(member: Any, step: str | int) -> Any:
    if get_origin(member) is dict:
        return get_args(member)[1]
    if get_origin(member) in (tuple, list):
        return get_args(member)[0]
    if isinstance(member, type) and issubclass(member, BaseModel):
        info = member.model_fields.get(str(step))
        return None if info is None else info.annotation
    return None


def _has_default(member: Any, key: str) -> bool:
    is_model = isinstance(member, type) and issubclass(member, BaseModel)
    return is_model and not member.model_fields[key].is_required()


def _item(value: Any, step: str | int) -> Any:
    try:
        return value[step]
    except (KeyError, IndexError, TypeError):
        return None
