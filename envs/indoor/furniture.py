"""The catalogue: every kind of thing, and what furniture is put together from. Metres."""

from collections.abc import Callable

import numpy as np

from worldsim.envs.indoor.solids import Part
from worldsim.envs.indoor.things import (
    Thing,
    ball,
    basket,
    bowl,
    box,
    chest,
    floor_lamp,
    legs,
    plant,
    pole,
    table_lamp,
    vase,
)

Rng = np.random.Generator


def sofa(rng: Rng, colour: str, wide: tuple[float, float] = (1.5, 2.1)) -> Thing:
    w, d, arm = rng.uniform(*wide), rng.uniform(0.8, 0.95), 0.16
    seat, back = 0.42, rng.uniform(0.75, 0.9)
    seats = 2 if w > 1.3 else 1
    each = (w - 2 * arm) / seats
    parts = [
        box(0, 0, 0.08, w, d, 0.28, colour),
        box(0, d / 2 - 0.11, 0.28, w, 0.22, back, colour),
        *(box(s * (w - arm) / 2, -0.02, 0.28, arm, d - 0.04, 0.58, colour) for s in (-1, 1)),
    ]
    for k in range(seats):
        x = -w / 2 + arm + (k + 0.5) * each
        parts.append(box(x, -0.1, 0.28, each - 0.03, d - 0.28, seat, colour))
    pillow = "cream" if colour != "white" else "grey"
    parts.append(box(-w / 4, d / 2 - 0.28, seat, 0.36, 0.12, seat + 0.32, pillow))
    return Thing(tuple(parts), w, d, back)


def armchair(rng: Rng, colour: str) -> Thing:
    return sofa(rng, colour, (0.85, 0.98))


def table(rng: Rng, colour: str, size: tuple[float, float] = (1.1, 1.6)) -> Thing:
    w, d = rng.uniform(*size), rng.uniform(0.75, 0.9)
    top = box(0, 0, 0.70, w, d, 0.75, colour)
    return Thing((top, *legs(w, d, 0.70, "wood a", 0.07)), w, d, 0.75, 0.75)


def round_table(rng: Rng, colour: str) -> Thing:
    r = rng.uniform(0.45, 0.6)
    parts = (
        pole(0, 0, 0.70, r, 0.75, colour),
        pole(0, 0, 0.04, 0.06, 0.70, "dark steel"),
        pole(0, 0, 0.0, 0.28, 0.04, "dark steel"),
    )
    return Thing(parts, 2 * r, 2 * r, 0.75, 0.75)


def coffee_table(rng: Rng, colour: str) -> Thing:
    w, d = rng.uniform(0.8, 1.1), rng.uniform(0.5, 0.6)
    shelf = box(0, 0, 0.14, w - 0.1, d - 0.1, 0.17, colour)
    return Thing(
        (box(0, 0, 0.38, w, d, 0.43, colour), shelf, *legs(w, d, 0.38, colour)), w, d, 0.43, 0.43
    )


def chair(rng: Rng, colour: str) -> Thing:
    parts = [box(0, 0, 0.43, 0.42, 0.42, 0.48, colour), *legs(0.42, 0.42, 0.43, "wood a", 0.04)]
    parts.append(box(0, 0.19, 0.48, 0.42, 0.04, rng.uniform(0.82, 0.98), colour))
    return Thing(tuple(parts), 0.44, 0.44, 0.9)


def office_chair(rng: Rng, colour: str) -> Thing:
    parts = (
        box(0, 0, 0.42, 0.48, 0.46, 0.52, colour),
        box(0, 0.22, 0.56, 0.44, 0.07, 1.05, colour),
        pole(0, 0, 0.06, 0.03, 0.42, "dark steel"),
        box(0, 0, 0.03, 0.56, 0.06, 0.07, "black"),
        box(0, 0, 0.03, 0.06, 0.56, 0.07, "black"),
    )
    return Thing(parts, 0.56, 0.56, 1.05)


def bed(rng: Rng, colour: str, wide: tuple[float, float] = (1.4, 1.8)) -> Thing:
    w, d = rng.uniform(*wide), rng.uniform(1.95, 2.1)
    parts = [
        box(0, 0, 0.06, w, d, 0.28, "wood a"),
        box(0, 0, 0.28, w - 0.06, d - 0.06, 0.46, "linen"),
        box(0, -0.22, 0.40, w, d - 0.52, 0.52, colour),
        box(0, d / 2 - 0.03, 0.0, w + 0.06, 0.06, rng.uniform(0.85, 1.15), "wood a"),
    ]
    pillows = 2 if w > 1.2 else 1
    for k in range(pillows):
        x = (k - (pillows - 1) / 2) * w * 0.48
        parts.append(box(x, d / 2 - 0.28, 0.46, 0.55, 0.36, 0.60, "linen"))
    return Thing(tuple(parts), w + 0.06, d, 0.6)


def single_bed(rng: Rng, colour: str) -> Thing:
    return bed(rng, colour, (0.9, 1.0))


def nightstand(rng: Rng, colour: str) -> Thing:
    parts = (
        box(0, 0, 0.0, 0.44, 0.38, 0.5, colour),
        box(0, -0.195, 0.28, 0.36, 0.02, 0.44, "cream"),
        box(0, -0.215, 0.35, 0.08, 0.03, 0.37, "steel"),
    )
    return Thing(parts, 0.44, 0.4, 0.5, 0.5)


def wardrobe(rng: Rng, colour: str) -> Thing:
    w, h = rng.uniform(1.1, 1.7), rng.uniform(1.9, 2.15)
    parts = [box(0, 0.01, 0.0, w, 0.56, h, colour)]
    for s in (-1, 1):
        parts.append(box(s * w / 4, -0.28, 0.08, w / 2 - 0.05, 0.02, h - 0.06, "cream"))
        parts.append(box(s * 0.06, -0.30, h / 2 - 0.12, 0.025, 0.03, h / 2 + 0.12, "dark steel"))
    return Thing(tuple(parts), w, 0.6, h)


def drawers(rng: Rng, colour: str) -> Thing:
    w, h = rng.uniform(0.8, 1.2), rng.uniform(0.8, 1.0)
    parts = [box(0, 0.01, 0.0, w, 0.42, h, colour)]
    rows = 3
    for k in range(rows):
        low = 0.06 + k * (h - 0.1) / rows
        parts.append(box(0, -0.21, low, w - 0.08, 0.02, low + (h - 0.1) / rows - 0.04, "cream"))
        parts.append(box(0, -0.23, low + 0.09, 0.16, 0.03, low + 0.12, "dark steel"))
    return Thing(tuple(parts), w, 0.46, h, h)


def bookcase(rng: Rng, colour: str) -> Thing:
    w, h = rng.uniform(0.8, 1.2), rng.uniform(1.6, 2.05)
    parts = (
        box(0, 0.02, 0.0, w, 0.28, h, colour),
        box(0, -0.13, 0.05, w - 0.06, 0.02, h - 0.04, "whole books"),
    )
    return Thing(parts, w, 0.32, h)


def desk(rng: Rng, colour: str) -> Thing:
    w, d = rng.uniform(1.1, 1.5), 0.65
    parts = (
        box(0, 0, 0.70, w, d, 0.74, colour),
        box(w / 2 - 0.2, 0, 0.0, 0.38, d - 0.05, 0.70, colour),
        box(-w / 2 + 0.03, 0, 0.0, 0.05, d - 0.05, 0.70, colour),
        box(0, 0.18, 0.76, 0.22, 0.16, 0.78, "dark steel"),
        box(0, 0.2, 0.84, 0.58, 0.04, 1.2, "screen"),
        pole(0, 0.22, 0.76, 0.025, 0.95, "dark steel"),
        box(0, -0.1, 0.74, 0.42, 0.14, 0.76, "white"),
    )
    return Thing(parts, w, d, 0.76)


def television(rng: Rng, colour: str) -> Thing:
    w = rng.uniform(1.2, 1.6)
    parts = (
        box(0, 0, 0.0, w, 0.42, 0.48, colour),
        box(0, -0.215, 0.06, w - 0.1, 0.02, 0.42, "wood a"),
        box(0, 0.08, 0.58, 0.78 * w, 0.05, 1.2, "black"),
        box(0, 0.05, 0.61, 0.74 * w, 0.02, 1.17, "screen"),
        box(0, 0.08, 0.48, 0.3, 0.18, 0.58, "black"),
    )
    return Thing(parts, w, 0.45, 1.2)


def counter(rng: Rng, colour: str) -> Thing:
    w = rng.uniform(1.7, 2.3)
    stove, sink = -w / 2 + 0.4, w / 2 - 0.45
    parts = [
        box(0, 0.02, 0.0, w, 0.56, 0.86, colour),
        box(0, 0, 0.86, w, 0.62, 0.90, "wood a"),
        box(stove, 0, 0.90, 0.56, 0.48, 0.91, "black"),
        box(stove, -0.27, 0.25, 0.52, 0.02, 0.75, "dark steel"),
        box(sink, -0.02, 0.90, 0.5, 0.38, 0.91, "steel"),
        pole(sink, 0.2, 0.90, 0.02, 1.15, "steel"),
        box(0, 0.17, 1.5, w, 0.26, 2.15, colour),
        box(stove, 0.12, 1.42, 0.5, 0.36, 1.5, "steel"),
    ]
    for x in np.arange(-w / 2 + 0.85, w / 2 - 0.1, 0.42):
        parts.append(box(float(x), -0.27, 0.12, 0.38, 0.02, 0.8, "cream"))
        parts.append(box(float(x), 0.035, 1.54, 0.38, 0.02, 2.1, "cream"))
    for a, b in ((-1, -1), (1, -1), (-1, 1), (1, 1)):
        parts.append(pole(stove + 0.13 * a, 0.11 * b, 0.91, 0.08, 0.915, "grey"))
    return Thing(tuple(parts), w, 0.62, 2.15)


def fridge(rng: Rng, colour: str) -> Thing:
    h = rng.uniform(1.65, 1.9)
    parts = (
        box(0, 0.01, 0.0, 0.62, 0.62, h, colour),
        box(0, -0.31, 0.62 * h, 0.58, 0.02, 0.63 * h, "black"),
        box(-0.24, -0.33, 0.3 * h, 0.03, 0.04, 0.58 * h, "steel"),
        box(-0.24, -0.33, 0.67 * h, 0.03, 0.04, 0.85 * h, "steel"),
    )
    return Thing(parts, 0.62, 0.66, h)


def toilet(rng: Rng, colour: str) -> Thing:
    parts = (
        pole(0, -0.1, 0.0, 0.15, 0.36, colour),
        Part("ball", (0, -0.12, 0.36), (0.2, 0.26, 0.1), colour),
        box(0, 0.22, 0.0, 0.4, 0.18, 0.82, colour),
        pole(0, -0.12, 0.44, 0.15, 0.46, "grey"),
    )
    return Thing(parts, 0.42, 0.7, 0.82)


def bathtub(rng: Rng, colour: str) -> Thing:
    w, d = rng.uniform(1.5, 1.7), 0.75
    sides = ((0, d / 2 - 0.04, w, 0.08), (0, -d / 2 + 0.04, w, 0.08))
    ends = ((w / 2 - 0.05, 0, 0.1, d), (-w / 2 + 0.05, 0, 0.1, d))
    parts = [box(x, y, 0.0, a, b, 0.58, colour) for x, y, a, b in (*sides, *ends)]
    parts += [box(0, 0, 0.1, w - 0.1, d - 0.1, 0.4, "glass")]
    parts += [pole(-w / 2 + 0.2, d / 2 - 0.05, 0.58, 0.02, 0.8, "steel")]
    return Thing(tuple(parts), w, d, 0.58)


def washbasin(rng: Rng, colour: str) -> Thing:
    w = rng.uniform(0.6, 0.9)
    parts = (
        box(0, 0.03, 0.0, w - 0.06, 0.4, 0.72, colour),
        box(0, 0, 0.72, w, 0.48, 0.86, "white"),
        Part("ball", (0, -0.02, 0.86), (0.2, 0.15, 0.02), "glass"),
        pole(0, 0.17, 0.86, 0.02, 1.0, "steel"),
        box(0, 0.23, 1.15, w - 0.1, 0.02, 1.9, "glass"),
    )
    return Thing(parts, w, 0.5, 1.9)


Maker = Callable[[Rng, str], Thing]
KINDS: dict[str, Maker] = {
    **{"sofa": sofa, "armchair": armchair, "table": table, "round table": round_table},
    **{"coffee table": coffee_table, "chair": chair, "office chair": office_chair, "bed": bed},
    **{"single bed": single_bed, "nightstand": nightstand, "wardrobe": wardrobe},
    **{"chest of drawers": drawers, "bookcase": bookcase, "desk": desk, "television": television},
    **{"floor lamp": floor_lamp, "plant": plant, "kitchen counter": counter, "fridge": fridge},
    **{"toilet": toilet, "bathtub": bathtub, "washbasin": washbasin, "basket": basket},
    **{"toy chest": chest, "ball": ball, "vase": vase, "table lamp": table_lamp},
    "fruit bowl": bowl,
}
"""What instructions call them, and what makes them."""
