"""Imagined streets beside the simulator's: is the counter right, are houses the same on return.

Numerical and spatial consistency, as Model as a Game (2503.21172, section 5) asks, each record of
the env on and off.

Legend: N games, T steps, C visible cells.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from worldsim.envs.imagination.ledger import Bool, EventReader, Pixels, Whole
from worldsim.envs.street.drawing import AHEAD, read_counter, read_houses
from worldsim.envs.street.env import CAMERA, Street
from worldsim.envs.street.events import NewCellRule, Steps
from worldsim.envs.street.imagined import ImaginedGames, Modules, first_frames
from worldsim.errors import UsageError
from worldsim.models.world_model import WorldModel

HELD = 12.0
"""Steps for which a walker keeps its way, on average."""


@dataclass(frozen=True)
class StreetFigures:
    """Attributes:
    ledger: whether the counter was the ledger's.
    map: whether known cells were the map's.
    counter: share of frames whose counter shows the simulator's score.
    right_for: steps until it first shows another, mean over games; T where it never does.
    off_at_end: mean error of the counter in the last frames.
    precision: of events, against the simulator's.
    recall: of events.
    f1: of events.
    ledger_right: share of steps at which the ledger holds the simulator's score.
    houses: share of cells with a house that are seen again, after they were out of sight, in the
        colour that they first showed; one that first showed no house is right without one.
    standing: share of cells with a house that show one.
    phantoms: share of cells without a house that show one.
    """

    ledger: bool
    map: bool
    counter: float
    right_for: float
    off_at_end: float
    precision: float
    recall: float
    f1: float
    ledger_right: float
    houses: float
    standing: float
    phantoms: float

    def to_json(self) -> dict[str, float | bool]:
        """All figures."""
        return asdict(self)


@dataclass(frozen=True, eq=False)
class StreetTruth:
    """What the simulator does under given actions.

    Attributes:
        choices: `[T, N]` actions.
        frames: uint8 `[T, N, H, W, 3]` after them.
        events: `[T, N]`.
        scores: `[T, N]`.
        places: `[T, N]`.
    """

    choices: Whole
    frames: Pixels
    events: Bool
    scores: Whole
    places: Whole


def wander(steps: int, games: int, seed: int) -> Whole:
    """Actions `[T, N]` of walkers who keep their way for a while, turn, and now and then stay."""
    rng = np.random.default_rng(seed)
    turns = rng.random((steps, games)) < 1.0 / HELD
    turns[0] = rng.random(games) < 0.5
    ways = 1 + np.cumsum(turns, axis=0) % 2
    return np.where(rng.random((steps, games)) < 0.05, 0, ways).astype(np.int64)


def simulate(choices: Whole, seed: int) -> StreetTruth:
    """Streets of seeds from `seed` on, under actions `[T, N]`."""
    parts: dict[str, list[NDArray[np.generic]]] = {}
    for game in range(choices.shape[1]):
        env = Street(max_episode_steps=len(choices) + 1)
        env.reset(seed=seed + game)
        rows = []
        for choice in choices[:, game]:
            observation, reward, _, _, info = env.step(int(choice))
            rows.append((observation["pixels"][CAMERA], reward > 0, info["score"], env.place))
        for name, values in zip(
            ("frames", "events", "scores", "places"), zip(*rows, strict=True), strict=True
        ):
            parts.setdefault(name, []).append(np.stack(values))
    joined = {name: np.stack(values, axis=1) for name, values in parts.items()}
    return StreetTruth(choices, **joined)


def recorded_steps(truth: StreetTruth, seed: int) -> Steps:
    """The simulator's steps, for an event head to learn from; see `simulate`."""
    first = first_frames(range(seed, seed + truth.choices.shape[1]))
    before = np.concatenate([first[None], truth.frames[:-1]])
    size = (-1, *before.shape[2:])
    frames = before.reshape(size), truth.frames.reshape(size)
    return Steps(*frames, truth.choices.reshape(-1), truth.events.reshape(-1))


def imagined_steps(model: WorldModel, truth: StreetTruth, seed: int) -> Steps:
    """The model's own steps under the simulator's actions, for an event head to learn from.

    The game's rule keeps the records meanwhile, so frames are those of a head that never errs.

    Args:
        model: a world model of streets.
        truth: of streets that are not played later, see `simulate`.
        seed: of its first street.
    """
    games = ImaginedGames(model, NewCellRule(), Modules())
    games.reset(first_frames(range(seed, seed + truth.choices.shape[1])), seed)
    before, after = [], []
    for choices in truth.choices:
        before.append(games.frames)
        games.step(choices)
        after.append(games.imagined)
    shown = np.concatenate(before), np.concatenate(after)
    return Steps(*shown, truth.choices.reshape(-1), truth.events.reshape(-1))


def measure_street(
    model: WorldModel,
    reader: EventReader | None,
    modules: Modules,
    steps: int = 500,
    games: int = 8,
    seed: int = 0,
    on_frame: Callable[[Pixels], None] | None = None,
) -> StreetFigures:
    """Play N streets in imagination and in the simulator, under the same actions.

    Args:
        model: a world model of streets.
        reader: says when a house was built; None asks the model's own event head.
        modules: which of the env's records are shown.
        steps: T.
        games: N.
        seed: of streets, actions and noise.
        on_frame: called with the frames `[N, H, W, 3]` of every step.

    Raises:
        UsageError: there is nothing to play.
    """
    if steps < 1 or games < 1:
        raise UsageError(f"steps is {steps} and games {games}; expected 1 or more of both")
    truth = simulate(wander(steps, games, seed), seed)
    imagined = ImaginedGames(model, reader, modules)
    imagined.reset(first_frames(range(seed, seed + games)), seed)
    frames, events, scores = [], [], []
    for choices in truth.choices:
        played = imagined.step(choices)
        frames.append(played.frames)
        events.append(played.events)
        scores.append(played.scores)
        if on_frame is not None:
            on_frame(played.frames)
    return street_figures(truth, modules, np.stack(frames), np.stack(events), np.stack(scores))


def street_figures(
    truth: StreetTruth, modules: Modules, frames: Pixels, events: Bool, scores: Whole
) -> StreetFigures:
    """Figures of frames `[T, N, H, W, 3]`, events `[T, N]` and scores `[T, N]` of the ledger."""
    shown = read_counter(frames)
    right = shown == truth.scores
    wrong = np.where(right.all(0), len(right), right.argmin(0))
    hits = float((events & truth.events).sum())
    said, there = max(float(events.sum()), 1.0), max(float(truth.events.sum()), 1.0)
    return StreetFigures(
        ledger=modules.ledger,
        map=modules.map,
        counter=float(right.mean()),
        right_for=float(wrong.mean()),
        off_at_end=float(np.abs(shown[-1] - truth.scores[-1]).mean()),
        precision=hits / said,
        recall=hits / there,
        f1=2 * hits / (said + there),
        ledger_right=float((scores == truth.scores).mean()),
        **_houses(truth, read_houses(frames)),
    )


def _houses(truth: StreetTruth, cells: Whole) -> dict[str, float]:
    """What becomes of houses, by the colours `[T, N, C]` that cells show."""
    again, standing, phantoms = ([0, 0] for _ in range(3))
    for game in range(cells.shape[1]):
        entered, away = {0}, set[int]()
        first, last = dict[int, int](), dict[int, int]()
        places = truth.places[:, game].tolist()
        for step, (place, row) in enumerate(zip(places, cells[:, game].tolist(), strict=True)):
            entered.add(place)
            for column, colour in enumerate(row):
                cell = place - AHEAD + column
                if cell not in entered:
                    _count(phantoms, colour >= 0)
                elif column != AHEAD:
                    # The walker hides its own cell, which is in sight nevertheless.
                    away |= {cell} if step > last.get(cell, step) + 1 else set()
                    _count(standing, colour >= 0)
                    if cell in away:
                        _count(again, colour == first[cell])
                    first.setdefault(cell, colour)
                if cell in entered:
                    last[cell] = step
    pairs = (("houses", again), ("standing", standing), ("phantoms", phantoms))
    return {name: each[0] / each[1] if each[1] else float("nan") for name, each in pairs}


def _count(pair: list[int], hit: bool) -> None:
    pair[0] += hit
    pair[1] += 1
