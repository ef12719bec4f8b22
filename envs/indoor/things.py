"""Things before they have a place, what they are put together from, and the small ones.

A thing stands at the origin with its back towards +y, and is as wide as x goes. Sizes vary from
one to the next. Metres.
"""

from dataclasses import dataclass

import numpy as np

from worldsim.envs.indoor.solids import Part

Rng = np.random.Generator


@dataclass(frozen=True)
class Thing:
    """A thing before it has a place.

    Attributes:
        parts: what it is made of.
        width: along x.
        depth: along y.
        height: of its upper edge.
        top: height of a surface that small things may stand on, or None.
    """

    parts: tuple[Part, ...]
    width: float
    depth: float
    height: float
    top: float | None = None


def box(x: float, y: float, low: float, w: float, d: float, high: float, paint: str) -> Part:
    """A box over (x, y), `w` by `d`, between two heights."""
    return Part("box", (x, y, (low + high) / 2), (w / 2, d / 2, (high - low) / 2), paint)


def pole(x: float, y: float, low: float, radius: float, high: float, paint: str) -> Part:
    return Part("cylinder", (x, y, (low + high) / 2), (radius, radius, (high - low) / 2), paint)


def sphere(x: float, y: float, z: float, radius: float, paint: str, tall: float = 1.0) -> Part:
    return Part("ball", (x, y, z), (radius, radius, radius * tall), paint)


def legs(w: float, d: float, high: float, paint: str, thick: float = 0.05) -> list[Part]:
    x, y = w / 2 - thick, d / 2 - thick
    spots = ((-x, -y), (x, -y), (x, y), (-x, y))
    return [box(a, b, 0.0, thick, thick, high, paint) for a, b in spots]


def floor_lamp(rng: Rng, colour: str) -> Thing:
    h = rng.uniform(1.4, 1.65)
    parts = (
        pole(0, 0, 0.0, 0.15, 0.04, "dark steel"),
        pole(0, 0, 0.04, 0.018, h, "dark steel"),
        pole(0, 0, h - 0.02, 0.19, h + 0.04, "lamp light"),
        pole(0, 0, h, 0.2, h + 0.26, colour),
    )
    return Thing(parts, 0.4, 0.4, h + 0.26)


def plant(rng: Rng, colour: str) -> Thing:
    h = rng.uniform(0.35, 0.8)
    parts = [pole(0, 0, 0.0, 0.16, 0.32, colour), pole(0, 0, 0.32, 0.14, 0.33, "soil")]
    parts.append(pole(0, 0, 0.33, 0.02, 0.33 + h * 0.5, "soil"))
    for k in range(3):
        x, y = rng.uniform(-0.09, 0.09, 2)
        paint = "leaf" if k % 2 else "bright leaf"
        parts.append(sphere(x, y, 0.4 + h * (k + 1) / 3, rng.uniform(0.15, 0.22), paint, 1.2))
    return Thing(tuple(parts), 0.38, 0.38, 0.33 + h)


def basket(rng: Rng, colour: str) -> Thing:
    r, h = rng.uniform(0.17, 0.22), rng.uniform(0.4, 0.55)
    parts = (pole(0, 0, 0.0, r, h, colour), pole(0, 0, h, r + 0.015, h + 0.03, "cream"))
    return Thing(parts, 2 * r + 0.03, 2 * r + 0.03, h)


def chest(rng: Rng, colour: str) -> Thing:
    w, h = rng.uniform(0.7, 0.95), rng.uniform(0.4, 0.5)
    parts = (
        box(0, 0, 0.0, w, 0.45, h, colour),
        box(0, 0, h, w + 0.03, 0.47, h + 0.06, "wood a"),
        box(0, -0.235, h - 0.1, 0.1, 0.02, h, "steel"),
    )
    return Thing(parts, w + 0.03, 0.48, h + 0.06, h + 0.06)


def ball(rng: Rng, colour: str) -> Thing:
    r = rng.uniform(0.14, 0.2)
    return Thing((sphere(0, 0, r, r, colour),), 2 * r, 2 * r, 2 * r)


def vase(rng: Rng, colour: str) -> Thing:
    parts = (
        sphere(0, 0, 0.14, 0.1, colour, 1.4),
        pole(0, 0, 0.24, 0.045, 0.34, colour),
        sphere(0, 0, 0.42, 0.1, "leaf"),
        sphere(0.06, 0.02, 0.5, 0.06, "pink"),
    )
    return Thing(parts, 0.2, 0.2, 0.55)


def table_lamp(rng: Rng, colour: str) -> Thing:
    parts = (
        pole(0, 0, 0.0, 0.08, 0.03, "dark steel"),
        pole(0, 0, 0.03, 0.02, 0.25, "dark steel"),
        pole(0, 0, 0.25, 0.12, 0.29, "lamp light"),
        pole(0, 0, 0.27, 0.13, 0.43, colour),
    )
    return Thing(parts, 0.26, 0.26, 0.43)


def bowl(rng: Rng, colour: str) -> Thing:
    fruits = ("red", "orange", "yellow")
    parts = [Part("ball", (0, 0, 0.08), (0.16, 0.16, 0.08), colour)]
    for k, paint in enumerate(fruits):
        angle = 2 * np.pi * k / 3
        parts.append(sphere(0.07 * np.cos(angle), 0.07 * np.sin(angle), 0.15, 0.055, paint))
    return Thing(tuple(parts), 0.32, 0.32, 0.2)
