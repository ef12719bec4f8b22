"""Factors of variation: typed, seeded, each switchable alone.

A factor is a short vector of named numbers with a nominal value, a narrow range (what training
sees) and a wide range (what shifted evaluation draws from, outside the narrow one). Each factor
has its own random stream, so switching one on changes nothing else of an episode.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from zlib import crc32

import numpy as np

from worldsim.errors import UsageError, unknown_name

FactorValue = tuple[float, ...]
FactorValues = dict[str, FactorValue]
NAMED_SETS = ("none", "in_distribution", "shifted")
_MAX_DRAWS = 1000


@dataclass(frozen=True)
class Factor:
    """One factor of variation.

    Attributes:
        name: what it varies.
        fields: a name with unit for each number of its value.
        nominal: value when the factor is switched off.
        narrow: (low, high) of each field for "in_distribution".
        wide: (low, high) of each field; "shifted" values lie in it and outside `narrow`.
        integer: the numbers are whole.
    """

    name: str
    fields: tuple[str, ...]
    nominal: FactorValue
    narrow: tuple[tuple[float, float], ...]
    wide: tuple[tuple[float, float], ...]
    integer: bool = False

    def __post_init__(self) -> None:
        sizes = {len(self.fields), len(self.nominal), len(self.narrow), len(self.wide)}
        if len(sizes) != 1:
            raise UsageError(f"factor {self.name!r}: fields, values and ranges differ in length")

    def sample(self, rng: np.random.Generator, shifted: bool) -> FactorValue:
        """Draw from the narrow range, or from the wide range outside the narrow one."""
        if not shifted:
            return self._draw(rng, self.narrow)
        for _ in range(_MAX_DRAWS):
            value = self._draw(rng, self.wide)
            if not _inside(value, self.narrow):
                return value
        raise UsageError(f"factor {self.name!r}: its wide range does not exceed its narrow range")

    def check(self, value: Any) -> FactorValue:
        """`value` as a tuple of floats.

        Raises:
            UsageError: it has the wrong length, is no number or lies outside the wide range.
        """
        try:
            numbers = tuple(float(v) for v in np.atleast_1d(value))
        except (TypeError, ValueError) as error:
            raise UsageError(f"factor {self.name!r}: {value!r} is not numeric") from error
        expected = f"expected [{', '.join(self.fields)}] within {self.wide}"
        if len(numbers) != len(self.fields):
            raise UsageError(f"factor {self.name!r}: got {len(numbers)} numbers; {expected}")
        if not _inside(numbers, self.wide) or (
            self.integer and any(number != round(number) for number in numbers)
        ):
            kind = "whole numbers, " if self.integer else ""
            raise UsageError(f"factor {self.name!r}: {numbers} is out of range; {kind}{expected}")
        return numbers

    def _draw(
        self, rng: np.random.Generator, ranges: tuple[tuple[float, float], ...]
    ) -> FactorValue:
        if self.integer:
            return tuple(float(rng.integers(int(low), int(high) + 1)) for low, high in ranges)
        return tuple(float(rng.uniform(low, high)) for low, high in ranges)


class FactorSpace:
    """The factors an env has, and how the words of a config choose among them."""

    def __init__(self, factors: Sequence[Factor]) -> None:
        self.factors = {factor.name: factor for factor in factors}

    @property
    def nominal(self) -> FactorValues:
        """Every factor switched off."""
        return {name: factor.nominal for name, factor in self.factors.items()}

    def parse(self, active: str | Sequence[str]) -> dict[str, bool]:
        """Read a choice of factors.

        Args:
            active: "none", "in_distribution" or "shifted"; or factor names, as a list or separated
                by commas, each from its narrow range, or from its wide one as "name:shifted".

        Returns:
            {active factor: whether shifted}.

        Raises:
            UsageError: an unknown name.
        """
        words = active.split(",") if isinstance(active, str) else list(active)
        chosen: dict[str, bool] = {}
        for word in (word.strip() for word in words):
            name, _, mode = word.partition(":")
            if name in NAMED_SETS and not mode:
                if name != "none":
                    chosen.update(dict.fromkeys(self.factors, name == "shifted"))
            elif name not in self.factors:
                raise unknown_name("factor", name, [*self.factors, *NAMED_SETS])
            elif mode not in ("", "shifted", "in_distribution"):
                raise unknown_name(f"mode of factor {name!r}", mode, NAMED_SETS[1:])
            else:
                chosen[name] = mode == "shifted"
        return chosen

    def sample(self, seed: int, active: str | Sequence[str]) -> FactorValues:
        """Values of every factor for the episode `seed`; inactive ones are nominal."""
        values = self.nominal
        for name, shifted in self.parse(active).items():
            rng = np.random.default_rng([seed, crc32(name.encode())])
            values[name] = self.factors[name].sample(rng, shifted)
        return values

    def check(self, values: Mapping[str, Any]) -> FactorValues:
        """Validated `values`, which may name only some of the factors.

        Raises:
            UsageError: an unknown factor or a bad value.
        """
        for name in values:
            if name not in self.factors:
                raise unknown_name("factor", name, self.factors)
        return {name: self.factors[name].check(value) for name, value in values.items()}


def _inside(value: FactorValue, ranges: tuple[tuple[float, float], ...]) -> bool:
    return all(low <= v <= high for v, (low, high) in zip(value, ranges, strict=True))
