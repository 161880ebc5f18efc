from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from pydantic import Field, ValidationError

from sessionrec.config import LAX, Config, load, parse
from sessionrec.errors import ConfigError


class Circle(Config):
    kind: Literal["circle"] = "circle"
    radius: float = Field(default=1.0, gt=0)


class Square(Config):
    kind: Literal["square"] = "square"
    side: int = Field(ge=1)


class Layer(Config):
    name: str = ""


class Drawing(Config):
    name: str = "untitled"
    shape: Annotated[Circle | Square, Field(discriminator="kind")] = Circle()
    sizes: Annotated[tuple[int, ...], LAX] = ()
    is_bold: bool = False
    mode: Literal["draft", "final"] = "draft"
    file: Annotated[Path, LAX] | None = None
    layers: Annotated[tuple[Layer, ...], LAX] = ()
    place: str | Annotated[tuple[str, ...], LAX] | None = None
    notes: dict[str, str] = {}


def write(folder: Path, text: str) -> Path:
    path = folder / "drawing.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_file_becomes_a_typed_tree(tmp_path: Path) -> None:
    path = write(tmp_path, 'name = "n\u00f8"\nsizes = [1, 2]\nfile = "a/b"\n[shape]\nkind = "square"\nside = 3\n')
    assert load(Drawing, path) == Drawing(name="n\u00f8", sizes=(1, 2), shape=Square(side=3), file=Path("a/b"))


def test_an_empty_file_gives_the_defaults(tmp_path: Path) -> None:
    assert load(Drawing, write(tmp_path, "")) == Drawing()


@pytest.mark.parametrize(
    ("tree", "words"),
    [
        ({"colour": 1}, ["colour: unknown key (value 1); the keys of the top level are name, shape, sizes"]),
        (
            {"shape": {"kind": "circle", "side": 1}},
            ["shape.side: unknown key (value 1); the keys of [shape] are kind, radius"],
        ),
        ({"is_bald": True}, ["is_bald", "did you mean 'is_bold'?"]),
        ({"name": 3}, ["name", "string", "3"]),
        ({"is_bold": 1}, ["is_bold", "boolean", "1"]),
        ({"is_bold": "true"}, ["is_bold", "boolean", "'true'"]),
        ({"sizes": ["4"]}, ["sizes.0", "integer", "'4'"]),
        ({"sizes": 4}, ["sizes", "array", "4"]),
        ({"shape": {"kind": "circle", "radius": 0.0}}, ["shape.radius", "greater than 0", "0.0"]),
        ({"shape": {"kind": "circle", "radius": float("nan")}}, ["shape.radius", "finite"]),
        ({"shape": {"kind": "circle", "radius": float("inf")}}, ["shape.radius", "finite"]),
        ({"shape": {"kind": "square"}}, ["shape.side", "missing"]),
        ({"shape": {"kind": "square", "side": 1.5}}, ["shape.side", "1.5"]),
        ({"shape": {"kind": "star"}}, ["shape", "'star'", "'circle'", "'square'"]),
        ({"shape": {"side": 1}}, ["shape.kind: missing; say which kind it is: circle, square"]),
        ({"shape": "circle"}, ["shape", "circle"]),
        ({"layers": [{"name": "a"}, {"nam": "b"}]}, ["layers.1.nam: unknown key (value 'b'); did you mean 'name'?"]),
        ({"place": 3}, ["place: Input should be a valid string", "place: Input should be a valid array"]),
        ({"place": ["a", 3]}, ["place.1: Input should be a valid string, got 3"]),
        ({"notes": {"a.b": 3}}, ["notes.a.b: Input should be a valid string, got 3"]),
        ({"mode": "fast"}, ["mode", "'draft'", "'final'", "'fast'"]),
    ],
)
def test_a_mistake_names_the_source_the_path_the_value_and_what_is_allowed(
    tree: dict[str, Any], words: list[str]
) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(Drawing, tree, "drawing.toml")
    message = str(caught.value)
    assert message.startswith("drawing.toml: ")
    for word in words:
        assert word in message, message


def test_every_mistake_has_a_line() -> None:
    with pytest.raises(ConfigError) as caught:
        parse(Drawing, {"colour": 1, "name": 2, "mode": 3}, "here")
    assert len(str(caught.value).splitlines()) == 3


def test_a_wrong_kind_of_tree_is_an_error_at_the_top() -> None:
    class Empty(Config):
        needed: int

    with pytest.raises(ConfigError, match="here: needed: missing"):
        parse(Empty, {}, "here")


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("name=plain text", {"name": "plain text"}),
        ('name="quoted"', {"name": "quoted"}),
        ("name='5'", {"name": "5"}),
        ("name=", {"name": ""}),
        ("name=a=b", {"name": "a=b"}),
        ("is_bold=true", {"is_bold": True}),
        ("sizes=[1, 2]", {"sizes": (1, 2)}),
        ("mode=final", {"mode": "final"}),
        (" shape . radius = 2.5", {"shape": Circle(radius=2.5)}),
        ("shape={kind='square', side=2}", {"shape": Square(side=2)}),
        ("file=/tmp/x y.csv", {"file": Path("/tmp/x y.csv")}),
    ],
)
def test_an_override_is_toml_or_else_plain_text(tmp_path: Path, override: str, expected: dict[str, Any]) -> None:
    path = write(tmp_path, '[shape]\nkind = "circle"\n')
    assert load(Drawing, path, [override]) == Drawing(**expected)


def test_overrides_make_tables_and_the_last_one_wins(tmp_path: Path) -> None:
    path = write(tmp_path, "")
    overrides = ["shape.kind=square", "shape.side=2", "shape.side=5"]
    assert load(Drawing, path, overrides).shape == Square(side=5)


@pytest.mark.parametrize("override", ["name", "=3", ".name=3", "shape..side=3", ""])
def test_an_override_without_key_or_value_is_refused(tmp_path: Path, override: str) -> None:
    with pytest.raises(ConfigError, match=r"expected key\.path=value"):
        load(Drawing, write(tmp_path, ""), [override])


def test_an_override_below_a_value_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"'name\.first=x': name is a value, not a table"):
        load(Drawing, write(tmp_path, 'name = "n"'), ["name.first=x"])


def test_an_override_of_an_unknown_key_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="colour: unknown key"):
        load(Drawing, write(tmp_path, ""), ["colour=red"])


def test_bad_toml_is_named_with_its_place(tmp_path: Path) -> None:
    path = write(tmp_path, "name = 'a'\nname =\n")
    with pytest.raises(ConfigError, match=r"drawing\.toml: not valid TOML: .*line 2"):
        load(Drawing, path)
    path.write_bytes(b"name = '\xff'\n")
    with pytest.raises(ConfigError, match=r"drawing\.toml: not valid TOML"):
        load(Drawing, path)


def test_a_missing_file_or_a_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nothing\.toml: no such config file"):
        load(Drawing, tmp_path / "nothing.toml")
    with pytest.raises(ConfigError, match=str(tmp_path)):
        load(Drawing, tmp_path)


def test_a_config_cannot_be_changed() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Drawing().name = "other"  # type: ignore[misc]


def test_equal_configs_have_equal_digests_and_others_do_not(tmp_path: Path) -> None:
    read = load(Drawing, write(tmp_path, '[shape]\nradius = 2\nkind = "circle"\n'))
    made = Drawing(shape=Circle(radius=2.0))
    assert read.digest() == made.digest()
    assert len(made.digest()) == 16
    others = [
        Drawing(),
        Drawing(shape=Circle(radius=2.5)),
        Drawing(shape=Square(side=2)),
        Drawing(name="2"),
        Drawing(is_bold=True),
        Drawing(sizes=(1, 2)),
        Drawing(sizes=(2, 1)),
        Drawing(sizes=(12,)),
    ]
    assert len({made.digest(), *(other.digest() for other in others)}) == len(others) + 1


def test_a_digest_is_that_of_the_canonical_json() -> None:
    # sha256 of {"kind":"circle","radius":1.0}
    assert Circle().digest() == "042dbb017bf891aa"


def test_from_python_text_is_a_path_and_a_list_a_tuple_and_no_more() -> None:
    loose: dict[str, Any] = {"file": "a/b", "sizes": [1, 2], "layers": [{"name": "x"}], "place": ["a", "b"]}
    assert Drawing(**loose) == Drawing(file=Path("a/b"), sizes=(1, 2), layers=(Layer(name="x"),), place=("a", "b"))
    wrong: list[dict[str, Any]] = [{"file": 3}, {"sizes": ["4"]}, {"sizes": "4"}, {"name": 3}, {"is_bold": 1}]
    for keys in wrong:
        with pytest.raises(ValidationError):
            Drawing(**keys)
