"""A config as commented TOML: what `sessionrec config` prints, made from the classes so that it cannot lie."""

from __future__ import annotations

import json
import types
import typing
from datetime import date
from pathlib import Path
from typing import Any, Literal

from pydantic_core import PydanticUndefined

from sessionrec.config import Config, nearest, tables
from sessionrec.errors import ConfigError

_WIDTH = 100


def commented(kind: type[Config], chosen: dict[str, str] | None = None) -> str:
    """A TOML file with every key, its default, its meaning and what else it may be.

    Args:
        kind: The config class.
        chosen: For a key that is a union of kinds, the `kind` to print; others are named in a comment.

    Raises:
        ConfigError: If there is no such kind.
    """
    return "\n".join(_table(kind, "", chosen or {})).strip() + "\n"


def _table(kind: type[Config], path: str, chosen: dict[str, str]) -> list[str]:
    plain: list[str] = []
    below: list[str] = []
    for name, field in sorted(kind.model_fields.items(), key=lambda entry: entry[0] != "kind"):
        key = f"{path}.{name}" if path else name
        variants = _variants(field.annotation)
        if not variants:
            plain += _entry(name, field.annotation, field.get_default(call_default_factory=True), field.description)
            continue
        default = None if field.default in (None, PydanticUndefined) else type(field.default)
        if key in chosen and chosen[key] not in variants:
            raise ConfigError(
                f"{key}: there is no kind {chosen[key]!r}{nearest(chosen[key], variants)}; "
                f"the kinds are {', '.join(sorted(variants))}"
            )
        variant = variants[chosen[key]] if key in chosen else default or next(iter(variants.values()))
        below += ["", *_comment(field.description)]
        if len(variants) > 1:
            below += _comment(f"Kinds: {', '.join(sorted(variants))}.")
        below += [f"[{key}]", *_table(variant, key, chosen)]
    return plain + below


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
        # JSON's quotes and escapes are TOML's, but for this one sign.
        return json.dumps(str(value), ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, date):
        return value.isoformat()
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


def _variants(annotation: Any) -> dict[str, type[Config]]:
    """The config classes a key can hold, by kind; none if it holds plain values."""
    # An optional sub-table is a plain key here: it is absent unless asked for.
    return {} if type(None) in typing.get_args(annotation) else tables(annotation)


def _allowed(annotation: Any) -> list[str]:
    if typing.get_origin(annotation) is Literal:
        return [json.dumps(entry) for entry in typing.get_args(annotation)]
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        return [entry for member in typing.get_args(annotation) for entry in _allowed(member)]
    return []
