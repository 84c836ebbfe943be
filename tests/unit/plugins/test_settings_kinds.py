"""Every kind of setting that a plugin may have: read, refused in words, and described to editors."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum, StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import attrs
import jsonschema
import pytest
from attrs import frozen

from ktpsync.errors import ConfigError
from ktpsync.plugins import ByteSize, Duration, Secret, read_settings, settings_schema

if TYPE_CHECKING:
    from collections.abc import Sequence


class Shade(StrEnum):
    """An enumeration of texts."""

    LIGHT = "light"
    DARK = "dark"


class Colour(Enum):
    """A colour."""

    RED = "red"
    BLUE = "blue"


@frozen(kw_only=True)
class Retry:
    """Settings within settings.

    Args:
        timeout: Seconds to wait,
            more or less.
        times: How often; ``0`` for never.
    """

    timeout: Duration = Duration(1)
    times: int = attrs.field(default=1, validator=attrs.validators.ge(0))


@frozen(kw_only=True)
class Settings:
    """All kinds.

    Args:
        colour: A colour.
        names: Names.

    It is not one of the arguments: this.
    """

    colour: Colour
    names: tuple[str, ...] = ()
    ports: Mapping[str, int] = attrs.field(factory=dict)
    retry: Retry = attrs.field(factory=Retry)
    ratio: float = 0.5
    mode: Literal["a", "b"] = "a"
    size: ByteSize | None = None
    folder: Path | None = None
    token: Secret | None = None
    loud: bool = False


SCHEMA = settings_schema(Settings, secret_sources=("env", "vault"))

RIGHT: Sequence[dict[str, object]] = (
    {"colour": "red"},
    {"colour": "blue", "names": ["x", "y"], "ports": {"http": 80}, "retry": {"timeout": "2 H", "times": 0}},
    {"colour": "red", "ratio": 2, "mode": "b", "size": "1.5 GiB", "folder": "x", "loud": True},
)
WRONG: Sequence[tuple[dict[str, object], str]] = (
    ({}, "[x] colour: this setting is missing"),
    ({"colour": "green"}, "[x] colour: expected one of red, blue"),
    ({"colour": "red", "names": [1]}, "[x] names[0]: expected a text"),
    ({"colour": "red", "ports": {"http": "80"}}, "[x] ports.http: expected a whole number"),
    (
        {"colour": "red", "retry": {"timeuot": 1}},
        "[x] retry.timeuot: there is no such setting; perhaps 'timeout'",
    ),
    ({"colour": "red", "retry": 3}, "[x] retry: expected an object with fields"),
    ({"colour": "red", "ratio": "half"}, "[x] ratio: expected a number"),
    ({"colour": "red", "mode": "c"}, "[x] mode: expected one of a, b"),
    ({"colour": "red", "size": -1}, "[x] size: expected a size such as 500 kB, 64 MiB or 2 GB"),
    ({"colour": "red", "loud": 1}, "[x] loud: expected true or false"),
    ({"colour": "red", "clour": 1}, "[x] clour: there is no such setting; perhaps 'colour'"),
    ({"colour": "red", "x y": 1}, "[x] ?: there is no such setting"),
)


@pytest.mark.parametrize("table", RIGHT)
def test_what_is_right_is_read_and_described(table: dict[str, object]) -> None:
    """The schema takes what the program takes."""
    assert Colour(table["colour"]) == read_settings(Settings, table, where="[x]").colour
    jsonschema.validate(table, SCHEMA)


@pytest.mark.parametrize(("table", "words"), WRONG)
def test_what_is_wrong_is_told_and_underlined(table: dict[str, object], words: str) -> None:
    """By its place, in words, without its value."""
    with pytest.raises(ConfigError) as caught:
        read_settings(Settings, table, where="[x]")

    assert (words,) == caught.value.problems
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(table, SCHEMA)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -1, True])
def test_numbers_that_are_no_quantities_are_refused(value: float) -> None:
    """TOML knows nan and inf; a timeout does not."""
    with pytest.raises(ConfigError, match=r"retry.timeout: expected a time such as"):
        read_settings(Settings, {"colour": "red", "retry": {"timeout": value}}, where="[x]")


def test_a_validator_within_settings_is_told() -> None:
    """With the sentence only, not with the objects that attrs adds."""
    with pytest.raises(ConfigError) as caught:
        read_settings(Settings, {"colour": "red", "retry": {"times": -1}}, where="[x]")

    assert ("[x] retry: 'times' must be >= 0: -1",) == caught.value.problems


def test_the_schema_says_what_the_docstring_says() -> None:
    """Also where a sentence goes on in the next line; and the defaults, but never a secret."""
    properties = SCHEMA["properties"]
    assert isinstance(properties, dict)
    retry = properties["retry"]["properties"]

    assert "Seconds to wait, more or less." == retry["timeout"]["description"]
    assert "How often; `0` for never." == retry["times"]["description"]
    assert ("A colour.", "Names.") == (
        properties["colour"]["description"],
        properties["names"]["description"],
    )
    assert (0.5, "a", False) == tuple(properties[name]["default"] for name in ("ratio", "mode", "loud"))
    assert ["colour"] == SCHEMA["required"]
    assert [{"type": "string"}, {"env"}, {"vault"}] == [
        kind if kind["type"] == "string" else set(kind["properties"]) for kind in properties["token"]["anyOf"]
    ]


def test_a_choice_that_is_a_text_too_is_a_choice() -> None:
    """An enumeration of texts (StrEnum) becomes its member, and what is none of them is told."""

    @frozen(kw_only=True)
    class Painted:
        """Settings."""

        shade: Shade = Shade.DARK

    assert Painted(shade=Shade.LIGHT) == read_settings(Painted, {"shade": "light"}, where="[x]")
    assert read_settings(Painted, {"shade": "light"}, where="[x]").shade is Shade.LIGHT
    with pytest.raises(ConfigError, match="one of light, dark"):
        read_settings(Painted, {"shade": "red"}, where="[x]")
