"""Plain values as typed ones: against a small dataclass with every kind of field."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import pytest

from worldsim.config.compose import build
from worldsim.config.limits import Count, OneOf, Share, Text
from worldsim.config.values import INLINE, Checked, check_arguments, keys_of, takes_text
from worldsim.errors import UsageError


@dataclass(frozen=True)
class Oven(Checked):
    heat: Share = 0.5
    mode: Literal["fan", "grill"] = "fan"


@dataclass(frozen=True)
class Cake(Checked):
    oven: Annotated[Oven, INLINE]
    second: Oven
    eggs: Count | None
    sides: int | tuple[int, int] | None = None
    layers: tuple[Share, ...] = ()
    recipe: Path | None = None
    baker: Annotated[str, OneOf(lambda: ("ada", "bob"))] = "ada"
    extras: Mapping[str, Count] = field(default_factory=dict)


GIVEN: dict[str, Any] = {"heat": 1, "second": {"mode": "grill"}, "eggs": 3.0, "layers": [0, 0.5]}


def test_values_become_what_fields_say() -> None:
    cake = build(Cake, {**GIVEN, "sides": [1, 2], "recipe": "a/b", "extras": {"nuts": 4}})
    expected = Cake(
        Oven(1.0), Oven(mode="grill"), 3, (1, 2), (0.0, 0.5), Path("a/b"), extras={"nuts": 4}
    )
    assert cake == expected
    assert isinstance(cake.oven.heat, float) and isinstance(cake.eggs, int)
    assert build(Cake, {**GIVEN, "eggs": None, "sides": 7}).sides == 7
    assert keys_of(Cake) >= {"heat", "mode", "second"} and "oven" not in keys_of(Cake)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"heat": 2}, "cake.heat is 2.0; expected a number from 0 to 1"),
        ({"second": {"heat": None}}, "cake.second.heat is null; expected a number from 0 to 1"),
        ({"second": {"heet": 1}}, "unknown key in cake.second 'heet'. Did you mean 'heat'"),
        ({"mode": "fam"}, "unknown cake.mode 'fam'. Did you mean 'fan'. Known: fan, grill"),
        ({"eggs": 2.5}, "cake.eggs is 2.5; expected a whole number from 1 to 1000000000 or null"),
        ({"eggs": True}, "cake.eggs is true; expected"),
        ({"eggs": 0}, "cake.eggs is 0; expected a whole number from 1"),
        ({"sides": [1]}, r"cake.sides is \[1\]; expected a list of 2"),
        ({"sides": "1"}, "cake.sides is '1'; expected a whole number or a list of 2 or null"),
        ({"layers": [0, "x"]}, r"cake.layers\[1\] is 'x'; expected a number from 0 to 1"),
        ({"layers": 0.5}, r"cake.layers is 0.5; expected a list, as in 'cake.layers=\[0.5\]'"),
        ({"recipe": ""}, "cake.recipe is ''; expected a path or null"),
        ({"baker": "eve"}, "unknown cake.baker 'eve'. Known: ada, bob"),
        ({"extras": {"nuts": -1}}, "cake.extras.nuts is -1; expected a whole number from 1"),
        ({"second": 3}, "cake.second is 3; expected a mapping, as in 'cake.second.NAME=VALUE'"),
    ],
)
def test_what_does_not_fit_is_named(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=f"^{said}"):
        build(Cake, {**GIVEN, **wrong}, "cake")


def test_what_is_made_in_python_holds_the_same_limits() -> None:
    assert Oven(heat=float(np.float32(0.5))).heat == Oven(heat=np.float64(0.5)).heat == 0.5
    for wrong in ({"heat": 1.5}, {"heat": float("nan")}, {"mode": "steam"}):
        with pytest.raises(UsageError, match=next(iter(wrong))):
            Oven(**wrong)


def test_arguments_are_held_to_a_constructor() -> None:
    def bake(spec: int, name: Text, minutes: Count = 30, *, glaze: bool = False) -> None: ...

    check_arguments(bake, {"name": "pie", "minutes": 5, "glaze": True}, "oven", ("spec",))
    for given, said in (
        ({"minutes": 0.5}, "oven.minutes is 0.5"),
        ({"spec": 1}, "unknown key in oven 'spec'"),
        ({"glaze": 1}, "oven.glaze is 1; expected true or false"),
        ({"minuts": 1}, "Did you mean 'minutes'"),
    ):
        with pytest.raises(UsageError, match=said):
            check_arguments(bake, given, "oven", ("spec",))


@pytest.mark.parametrize(
    ("key", "text"),
    [("recipe", True), ("baker", True), ("eggs", False), ("sides", False), ("second.heat", False)],
)
def test_which_keys_take_text(key: str, text: bool) -> None:
    assert takes_text(Cake, key.split(".")) is text
