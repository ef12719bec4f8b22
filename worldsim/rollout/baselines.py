"""Baselines of a ranking: worlds that know less than the world model does.

A ranking in imagination is worth something if it tells more than these do. Every policy acts in
them from the same starts with the same noise as in imagination. `BASELINES` has one row for each;
its name is the name of its world and its key in `BaselineOptions`. What is made of the outcomes
stands in `worldsim.ranking.baselines`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from worldsim.config.limits import Text
from worldsim.config.values import Checked
from worldsim.envs.imagination.engine import ImaginationEngine
from worldsim.envs.imagination.start import Start
from worldsim.errors import UsageError, WorldsimError
from worldsim.hardware import inference_device
from worldsim.models.world_model import WorldModel
from worldsim.registry import Registry
from worldsim.rollout.dependencies import digest_dataset, digest_network
from worldsim.rollout.episodes import World
from worldsim.rollout.held_world import HeldWorld
from worldsim.rollout.recorded_world import RecordedWorld
from worldsim.rollout.worlds import BatchWorld, ImaginedWorld, SimulatorWorld

if TYPE_CHECKING:
    from worldsim.rollout.evaluator import Evaluator

FIRST_FRAME, KINEMATIC, ACTION_ERROR = "first_frame", "kinematic", "action_error"
DEAD_RECKONING = "dead_reckoning"
DEMONSTRATIONS, CHANGED = "demonstrations", "changed"

Scores = Literal["outcomes", "errors", "reference"]
"""What a baseline gives: outcomes in place of imagination's, action errors as scores of the
policies, or outcomes in place of the reference's."""


@dataclass(frozen=True)
class BaselineOptions(Checked):
    """Which baselines there are, one key each; what is false, null or empty is left out.

    Attributes:
        first_frame: the world model that shows the first frame for ever.
        kinematic: the same, while the robot's proprioception follows its commands.
        dead_reckoning: the same, and sub-tasks are met by distance on the map of an episode: a
            world without walls or pictures, for agents that walk.
        action_error: a data set whose held-out successes tell each policy's action error.
        demonstrations: another world model, such as one trained on demonstrations alone.
        changed: {factor of variation: value} of a simulator that is changed unseen.
    """

    first_frame: bool = False
    kinematic: bool = False
    dead_reckoning: bool = False
    action_error: Text | None = None
    demonstrations: Text | None = None
    changed: dict[str, Any] = field(default_factory=dict)

    @property
    def chosen(self) -> tuple[World, ...]:
        """Names of those that are to be run."""
        return tuple(each.name for each in fields(self) if getattr(self, each.name))


class Stage(NamedTuple):
    """Where a baseline's rollouts happen.

    Attributes:
        world: the policies act in it.
        starts: gives the starts, which may be drawn only then.
        max_steps: gives the horizon.
    """

    world: BatchWorld
    starts: Callable[[], Sequence[Start]]
    max_steps: Callable[[], int]


@dataclass(frozen=True)
class Baseline:
    """A row of the registry.

    Attributes:
        what: it in words, for reports.
        scores: what it gives.
        reads: which of `model`, `judge` and `sampling_steps` its results depend on.
        make: its stage; refuses early what cannot be run.
        content: from its setting to what its results depend on beside all that.
    """

    what: str
    scores: Scores
    reads: tuple[str, ...]
    make: Callable[["Evaluator"], Stage]
    content: Callable[[Any], Any] = lambda setting: setting


BASELINES: Registry[Baseline] = Registry("baseline")


def _file(
    name: World,
    what: str,
    scores: Scores,
    reads: tuple[str, ...],
    content: Callable[[Any], Any] = lambda setting: setting,
) -> Callable[[Callable[["Evaluator"], Stage]], Callable[["Evaluator"], Stage]]:
    """Decorator that files a function as `Baseline.make`."""

    def file(make: Callable[["Evaluator"], Stage]) -> Callable[["Evaluator"], Stage]:
        BASELINES.register(name)(Baseline(what, scores, reads, make, content))
        return make

    return file


def _held(evaluator: "Evaluator", name: World, moves: bool, tells_stages: bool = True) -> Stage:
    world = HeldWorld(name, evaluator.model, evaluator.imagining_judge, moves, tells_stages)
    return Stage(world, lambda: evaluator.starts, lambda: evaluator.max_steps)


@_file(FIRST_FRAME, "the first frame for ever", "outcomes", ("model", "judge"))
def _first_frame(evaluator: "Evaluator") -> Stage:
    return _held(evaluator, FIRST_FRAME, moves=False)


@_file(KINEMATIC, "only the robot moves, the scene is held", "outcomes", ("model", "judge"))
def _kinematic(evaluator: "Evaluator") -> Stage:
    return _held(evaluator, KINEMATIC, moves=True)


@_file(
    DEAD_RECKONING, "commands added up, without walls or pictures", "outcomes", ("model", "judge")
)
def _dead_reckoning(evaluator: "Evaluator") -> Stage:
    return _held(evaluator, DEAD_RECKONING, moves=True, tells_stages=False)


@_file(
    ACTION_ERROR,
    "action error on held-out recorded successes",
    "errors",
    ("model",),
    lambda root: digest_dataset(Path(root)),
)
def _action_error(evaluator: "Evaluator") -> Stage:
    config, spec = evaluator.eval_config, evaluator.model.spec
    root = Path(str(config.baselines.action_error))
    columns = replace(config.starts, episodes=None).selection
    camera = spec.cameras[0]
    world = RecordedWorld(ACTION_ERROR, root, (camera.height, camera.width), columns)
    spec.require_compatible(
        world.spec, f"model {config.model}", f"baselines.action_error={root}", stateless=True
    )
    return Stage(world, lambda: world.starts, lambda: world.max_steps)


@_file(
    DEMONSTRATIONS,
    "another world model, of demonstrations",
    "outcomes",
    ("judge", "sampling_steps"),
    lambda folder: digest_network(Path(folder)),
)
def _demonstrations(evaluator: "Evaluator") -> Stage:
    config = evaluator.eval_config
    name = f"baselines.demonstrations={config.baselines.demonstrations}"
    model = WorldModel.from_pretrained(str(config.baselines.demonstrations))
    model.spec.require_compatible(
        evaluator.model.spec, name, f"model {config.model}", stateless=True
    )
    model = model.to(inference_device(config.device))
    engine = ImaginationEngine(model, evaluator.imagining_judge, config.sampling_steps)
    world = ImaginedWorld(engine)
    world.kind = DEMONSTRATIONS
    return Stage(world, lambda: evaluator.starts, lambda: evaluator.max_steps)


@_file(CHANGED, "the simulator changed, unseen by the world model", "reference", ())
def _changed(evaluator: "Evaluator") -> Stage:
    config, factors = evaluator.eval_config, evaluator.eval_config.baselines.changed
    if config.env_id is None:
        raise UsageError(f"baselines.changed={factors} needs a simulator, and there is none")
    world = SimulatorWorld(config.env_id, evaluator.env_kwargs())
    world.kind = CHANGED

    def changed(starts: Sequence[Start]) -> list[Start]:
        return [replace(start, factors={**start.factors, **factors}) for start in starts]

    try:  # the first frames are those of the simulator as it is: the change must not show
        world.start(changed(evaluator.starts[:1]), [0], config.seed)
        world.close()
    except WorldsimError as error:
        raise UsageError(
            f"baselines.changed={factors}: expected factors of variation that {config.env_id} has "
            f"and first frames do not show, such as friction: {error}"
        ) from error
    return Stage(world, lambda: changed(evaluator.starts), lambda: evaluator.max_steps)
