"""A config as commented TOML: what `sessionrec config` prints, made from the classes so that it cannot lie."""

from __future__ import annotations

import json
import types
import typing
from pathlib import Path
from typing import Any, Literal

from pydantic_core import PydanticUndefined

from sessionrec.config import Config

_WIDTH = 100


def commented(kind: type[Config], chosen: dict[str, str] | None = None) -> str:
    """A TOML file with every key, its default, its meaning and what else it may be.

    Args:
        kind: The config class.
        chosen: For a key that is a union of kinds, the `kind` to print; others are named in a comment.
    """
    return "\n".join(_table(kind, "", chosen or {})).strip() + "\n"


def _table(kind: type[Config], path: str, chosen: dict[str, str]) -> list[str]:
    plain: list[str] = []
    tables: list[str] = []
    for name, field in kind.model_fields.items():
        key = f"{path}.{name}" if path else name
        variants = _variants(field.annotation)
        if not variants:
            plain += _entry(name, field.annotation, field.get_default(call_default_factory=True), field.description)
            continue
        default = None if field.default in (None, PydanticUndefined) else type(field.default)
        wanted = {_kind_of(variant): variant for variant in variants}
        variant = wanted[chosen[key]] if key in chosen else default or variants[0]
        tables += ["", *_comment(field.description)]
        if len(wanted) > 1:
            tables += _comment(f"Kinds: {', '.join(sorted(wanted))}.")
        tables += [f"[{key}]", *_table(variant, key, chosen)]
    return plain + tables


def _entry(name: str, annotation: Any, default: Any, description: str | None) -> list[str]:
    lines = _comment(description)
    allowed = _allowed(annotation)
    if allowed and name != "kind":
        lines += _comment(f"One of: {', '.join(allowed)}.")
    if default is PydanticUndefined:
        return [*lines, f'{name} = ""  # required']
    if default is None:
        return [*lines, f"# {name} =   (not set)"]
    return [*lines, f"{name} = {to_toml(default)}"]


def to_toml(value: Any) -> str:
    """One value as TOML."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, str | Path):
        return json.dumps(str(value), ensure_ascii=False)
    if isinstance(value, list | tuple):
        return f"[{', '.join(to_toml(entry) for entry in value)}]"
    if isinstance(value, dict):
        entries = [f"{json.dumps(str(key), ensure_ascii=False)} = {to_toml(entry)}" for key, entry in value.items()]
        return f"{{ {', '.join(entries)} }}" if entries else "{}"
    raise TypeError(f"no TOML for {type(value).__name__}")


def _comment(text: str | None) -> list[str]:
    if not text:
        return []
    lines, line = [], "#"
    for word in text.split():
        if len(line) + len(word) >= _WIDTH:
            lines.append(line)
            line = "#"
        line += f" {word}"
    return [*lines, line]


def _variants(annotation: Any) -> list[type[Config]]:
    """The config classes a key can hold; none if it holds plain values."""
    if isinstance(annotation, type) and issubclass(annotation, Config):
        return [annotation]
    if typing.get_origin(annotation) is typing.Annotated:
        return _variants(typing.get_args(annotation)[0])
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        members = [variant for entry in typing.get_args(annotation) for variant in _variants(entry)]
        # An optional sub-table is a plain key here: it is absent unless asked for.
        return [] if type(None) in typing.get_args(annotation) else members
    return []


def _kind_of(variant: type[Config]) -> str:
    field = variant.model_fields.get("kind")
    return str(field.default) if field is not None else variant.__name__


def _allowed(annotation: Any) -> list[str]:
    if typing.get_origin(annotation) is Literal:
        return [json.dumps(entry) for entry in typing.get_args(annotation)]
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        return [entry for member in typing.get_args(annotation) for entry in _allowed(member)]
    return []
