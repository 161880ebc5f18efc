"""Strict, typed configuration: one tree of frozen structs, read from TOML, overridden by keys, identified by a hash.

A part's config stands beside the part; this file has only what all of them share. Unknown keys, wrong types and values
out of range are errors that name the path, the value and what is allowed.
"""

from __future__ import annotations

import hashlib
import json
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from sessionrec.errors import ConfigError

T = TypeVar("T", bound="Config")


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
        raise ConfigError("\n".join(_explain(source, dict(problem)) for problem in error.errors())) from None


def load(kind: type[T], path: Path, overrides: Sequence[str] = ()) -> T:
    """Read a TOML file, apply `a.b.c=value` overrides, validate.

    Args:
        kind: The config class.
        path: The TOML file.
        overrides: Assignments such as `split.kind=global_time`; the value is TOML, or plain text if it is none.
    """
    try:
        tree = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such config file. `sessionrec config` prints one to start from") from None
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read as a config file: {error.strerror or error}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not valid TOML: {error}") from None
    for assignment in overrides:
        _assign(tree, assignment)
    return parse(kind, tree, str(path))


def _assign(tree: dict[str, Any], assignment: str) -> None:
    key, separator, text = assignment.partition("=")
    parts = [part.strip() for part in key.split(".")]
    if not separator or not all(parts):
        raise ConfigError(f"override {assignment!r}: expected key.path=value, for example filter.min_item_events=1")
    node = tree
    for depth, part in enumerate(parts[:-1]):
        child = node.setdefault(part, {})
        if not isinstance(child, dict):
            raise ConfigError(f"override {assignment!r}: {'.'.join(parts[: depth + 1])} is a value, not a table")
        node = child
    try:
        node[parts[-1]] = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        node[parts[-1]] = text


def _explain(source: str, problem: dict[str, Any]) -> str:
    # Tags of a union appear in pydantic's path (`log.table.user`); they are not keys of the file, but they say which
    # variant was checked, so they stay, in brackets.
    path = ".".join(str(part) for part in problem["loc"]) or "(top level)"
    kind, got = problem["type"], problem.get("input")
    if kind == "extra_forbidden":
        return f"{source}: {path}: unknown key (value {got!r}). `sessionrec config` lists the keys there are"
    if kind == "missing":
        return f"{source}: {path}: missing; it has no default"
    if kind == "union_tag_invalid":
        context = problem["ctx"]
        return f"{source}: {path}.kind: expected one of {context['expected_tags']}, got {context['tag']!r}"
    if kind == "union_tag_not_found":
        return f"{source}: {path}.kind: missing; say which kind it is, `sessionrec config` lists them"
    return f"{source}: {path}: {problem['msg']}, got {got!r}"
