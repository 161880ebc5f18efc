"""Strict, typed configuration: one tree of frozen structs, read from TOML, overridden by keys, identified by a hash.

A part's config stands beside the part; this file has only what all of them share. Unknown keys, wrong types and values
out of range are errors that name the path, the value and what is allowed.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import tomllib
import types
import typing
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

from pydantic import BaseModel, ConfigDict, Strict, ValidationError

from sessionrec.errors import ConfigError

T = TypeVar("T", bound="Config")

LAX: Final = Strict(False)
"""On a path or a tuple, `Annotated[Path, LAX]`: Python code may give text or a list. Entries of a tuple stay strict."""


class Config(BaseModel):
    """Base of every config: frozen, no unknown keys, defaults validated; field docstrings feed `sessionrec config`."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        strict=True,
        validate_default=True,
        use_attribute_docstrings=True,
        allow_inf_nan=False,
    )

    def digest(self) -> str:
        """First 16 hex digits of the SHA-256 of the config as canonical JSON: equal configs have equal digests."""
        canonical = json.dumps(self.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()[:16]


def parse(kind: type[T], tree: dict[str, Any], source: str) -> T:
    """Validate a tree of plain values against a config class.

    Args:
        kind: The config class.
        tree: Nested dicts, lists and scalars as TOML gives them.
        source: Where the tree came from; begins every line of the error.

    Raises:
        ConfigError: One line per mistake: path, what was found, what is allowed.
    """
    try:
        # JSON mode: TOML has no tuples and no paths, and JSON's strictness is what users expect of a file.
        return kind.model_validate_json(json.dumps(tree, default=str))
    except ValidationError as error:
        raise ConfigError("\n".join(_explain(kind, source, dict(problem)) for problem in error.errors())) from None


def load(kind: type[T], path: Path | None, overrides: Sequence[str] = ()) -> T:
    """Read a TOML file, apply `a.b.c=value` overrides, validate.

    Args:
        kind: The config class.
        path: The TOML file; None = nothing but defaults.
        overrides: Assignments such as `split.kind=global_time`; the value is TOML, or plain text if it is none. Another
            `kind` than the one that stands there begins its table anew.
    """
    tree = {} if path is None else _read(path)
    for assignment in overrides:
        _assign(kind, tree, assignment)
    return parse(kind, tree, "settings" if path is None else str(path))


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such config file. `sessionrec config` prints one to start from") from None
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read as a config file: {error.strerror or error}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not valid TOML: {error}") from None


def _assign(kind: type[Config], tree: dict[str, Any], assignment: str) -> None:
    key, separator, text = assignment.partition("=")
    parts = [part.strip() for part in key.split(".")]
    if not separator or not all(parts):
        raise ConfigError(f"override {assignment!r}: expected key.path=value, for example filter.min_item_events=1")
    node, table = tree, kind
    for depth, part in enumerate(parts[:-1]):
        child = node.setdefault(part, {})
        if not isinstance(child, dict):
            raise ConfigError(f"override {assignment!r}: {'.'.join(parts[: depth + 1])} is a value, not a table")
        table = _inner(table, part, child)
        node = child
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text
    if parts[-1] == "kind" and node.get("kind", value) != value:
        # The other keys belong to the kind that stood there.
        node.clear()
    node[parts[-1]] = value


def _inner(table: type[Config], name: str, node: dict[str, Any]) -> type[Config]:
    """The class of a table below; where several kinds fit and none is named, the default is, and is put down."""
    field = table.model_fields.get(name)
    choices = tables(field.annotation) if field is not None else {}
    if len(choices) > 1 and field is not None:
        if "kind" not in node and isinstance(field.default, Config):
            node["kind"] = _kind_of(type(field.default))
        return choices.get(str(node.get("kind")), Config)
    return next(iter(choices.values()), Config)


def nearest(word: str, words: Iterable[str]) -> str:
    """Return `; did you mean 'x'?` for the word most like a mistyped one, or nothing."""
    by_lower = {known.lower(): known for known in words}
    close = difflib.get_close_matches(word.lower(), by_lower, n=1)
    return f"; did you mean {by_lower[close[0]]!r}?" if close else ""


def tables(annotation: Any) -> dict[str, type[Config]]:
    """The config classes that a field's annotation allows, by their `kind`; none if it holds plain values."""
    found = [member for member in _members(annotation) if isinstance(member, type) and issubclass(member, Config)]
    return {_kind_of(one): one for one in found}


def _kind_of(table: type[Config]) -> str:
    field = table.model_fields.get("kind")
    return str(field.default) if field is not None else table.__name__


def _members(annotation: Any) -> list[Any]:
    if typing.get_origin(annotation) is typing.Annotated:
        return _members(typing.get_args(annotation)[0])
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        return [one for member in typing.get_args(annotation) for one in _members(member)]
    return [annotation]


def _explain(root: type[Config], source: str, problem: dict[str, Any]) -> str:
    keys, table, annotation = _locate(root, problem["loc"])
    path = ".".join(keys) or "(top level)"
    kind, got = problem["type"], problem.get("input")
    if kind == "extra_forbidden":
        there = list(table.model_fields)
        where = f"[{'.'.join(keys[:-1])}]" if keys[:-1] else "the top level"
        near = nearest(keys[-1], there)
        return f"{source}: {path}: unknown key (value {got!r}){near}; the keys of {where} are {', '.join(there)}"
    if kind == "missing":
        return f"{source}: {path}: missing; it has no default"
    if kind == "union_tag_invalid":
        context = problem["ctx"]
        return f"{source}: {path}.kind: expected one of {context['expected_tags']}, got {context['tag']!r}"
    if kind == "union_tag_not_found":
        return f"{source}: {path}.kind: missing; say which kind it is: {', '.join(sorted(tables(annotation)))}"
    return f"{source}: {path}: {problem['msg']}, got {got!r}"


def _locate(root: type[Config], loc: Sequence[str | int]) -> tuple[list[str], type[Config], Any]:
    """Keys of the file that lead to a place in pydantic's terms, the table of the last key, and what it may hold.

    Pydantic's path also names the branch of each union (`log.table.user`), which is no key of the file.
    """
    keys: list[str] = []
    table: type[Config] = root
    here: Any = root
    for part in loc:
        choices = tables(here)
        if len(choices) > 1:
            here = choices[str(part)]
        elif choices:
            (table,) = choices.values()
            keys.append(str(part))
            field = table.model_fields.get(str(part))
            here = field.annotation if field is not None else Any
        else:
            holders = {typing.get_origin(one): typing.get_args(one) for one in _members(here)}
            inside = holders.get(tuple if isinstance(part, int) else dict)
            if inside is not None:
                keys.append(str(part))
                here = inside[0] if isinstance(part, int) else inside[1]
    return keys, table, here
