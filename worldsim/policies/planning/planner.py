"""A planner as a policy: at each decision it imagines many plans and acts on the cheapest.

It carries a world model, a search and a cost. What is real it sees only as every policy does. It
acts in the simulator and in imagination alike, so it is ranked like any other.

Legend: N envs, H steps, A action, M given plans, K elites, V view, P proprioception, S state.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np

import worldsim.policies.planning.cross_entropy
import worldsim.policies.planning.goal_image  # noqa: F401  (they file what they name)
from worldsim.config.limits import Count, FewSteps, Limit, OneOf, Text
from worldsim.config.values import check_arguments, read_dataclass
from worldsim.conventions import Observation, stack_views
from worldsim.errors import UsageError
from worldsim.hardware import inference_device
from worldsim.judge.finding import find_judge
from worldsim.judge.judge import Judge, ObservedFrame
from worldsim.models.world_model import WorldModel
from worldsim.policies.base import POLICIES, EpisodePolicy, FloatArray, require_same_interface
from worldsim.policies.planning.costs import PLAN_COSTS, CostParts, PlanCost
from worldsim.policies.planning.distributions import Float, Plans
from worldsim.policies.planning.futures import Look, begin, follow, imagine, planner_seed
from worldsim.policies.planning.proposal import Proposal
from worldsim.policies.planning.search import SEARCHES, Found, Search
from worldsim.policies.pool import check_entry
from worldsim.sampling.sampler import Sampler
from worldsim.sampling.stream import Stream
from worldsim.spec import ActionKind, WorldSpec


def _named(entry: Mapping[str, Any], names: Callable[[], Any]) -> dict[str, Any]:
    """Options beside the `name` of an entry, which is one of `names`."""
    OneOf(names).check(entry.get("name"), "name")
    return {str(key): value for key, value in entry.items() if key != "name"}


def read_search(entry: Mapping[str, Any]) -> Search:
    """A search of a config: `name`, and its fields.

    Raises:
        UsageError: there is no such search or field, or a value does not fit.
    """
    options = _named(entry, lambda: SEARCHES)
    found: Search = read_dataclass(SEARCHES.get(entry["name"]), options, "")
    return found


def check_cost(entry: Mapping[str, Any]) -> None:
    """Refuse an entry of a config that names no cost or options that it does not take."""
    options = _named(entry, lambda: PLAN_COSTS)
    check_arguments(PLAN_COSTS.get(entry["name"]), options, "", reserved=("parts",))


def _holds(check: Callable[[Any], Any]) -> Callable[[Any], bool]:
    """Whether a value passes a check that raises what is wrong."""

    def holds(value: Any) -> bool:
        check(value)
        return True

    return holds


SearchEntry = Annotated[Mapping[str, Any], Limit("name and options", _holds(read_search))]
CostEntry = Annotated[Mapping[str, Any], Limit("name and options", _holds(check_cost))]
PolicyEntry = Annotated[
    Mapping[str, Any],
    Limit("kind and options", _holds(lambda entry: check_entry(entry, "proposal"))),
]


@dataclass
class _Episode:
    """One episode: where the planner's stream stands, and what was decided last."""

    stream: Stream | None = None
    plan: Plans | None = None
    given: Plans | None = None


@dataclass(frozen=True, eq=False)
class Decision:
    """One decision, for whoever looks into a planner.

    Attributes:
        env_id: whose.
        found: by the search.
        proposed: cost of the proposal; None without one.
    """

    env_id: int
    found: Found
    proposed: float | None


@POLICIES.register("planner")
class PlannerPolicy(EpisodePolicy[_Episode]):
    """Plans in a world model, by model predictive control.

    Args:
        spec: world it acts in.
        name: shown in rankings.
        model: world model: a folder, `shipped/<name>` or `hub:owner/name`.
        search: `name` of a registered search (icem, cem, mppi, random_shooting) and its options.
        cost: `name` of a registered cost (judge, goal_image, pose) and its options.
        candidates: plans of a population.
        horizon: H, steps of a plan.
        replan: steps that are acted on before it plans again; those between are not looked at.
        proposal: policy whose plan warms the search up, `kind` and options as in a pool.
        judge: folder of the judge; None takes the one that lies with the model.
        sampling_steps: denoising steps a frame; None takes the model's own.
        batch_size: plans imagined at once.
        device: where it imagines: cpu, cuda or auto.

    Raises:
        UsageError: a budget is zero, a judge is refused, or options do not fit together.
        SpecMismatchError: the model or the judge is of another world.
    """

    action_kinds: tuple[ActionKind, ...] = ("box", "discrete")

    def __init__(
        self,
        spec: WorldSpec,
        name: str = "planner",
        model: Text = "shipped/push",
        search: SearchEntry | None = None,
        cost: CostEntry | None = None,
        candidates: Count = 64,
        horizon: Count = 10,
        replan: Count = 1,
        proposal: PolicyEntry | None = None,
        judge: Text | None = None,
        sampling_steps: FewSteps | None = None,
        batch_size: Count = 64,
        device: Text = "cpu",
    ) -> None:
        super().__init__()
        counts: dict[str, Any] = {"candidates": candidates, "horizon": horizon, "replan": replan}
        counts |= {"sampling_steps": sampling_steps, "batch_size": batch_size}
        entries = {"search": search, "cost": cost, "proposal": proposal}
        check_arguments(PlannerPolicy, {**counts, **entries}, name)
        if replan > horizon:
            raise UsageError(f"policy {name!r}: replan is {replan}, its plans have {horizon} steps")
        self.name, self.n_action_steps = name, int(replan)
        self._horizon, self._batch_size = int(horizon), int(batch_size)
        self._search = read_search({"candidates": candidates, **(search or {"name": "icem"})})
        world, self._judge = load_world(spec, name, model, judge)
        place = inference_device(device)
        world = world.to(place)
        if self._judge is not None:
            self._judge.to(place)
        chosen = dict(cost or {"name": "judge"})
        make: Callable[..., PlanCost] = PLAN_COSTS.get(chosen.pop("name"))
        self._cost = make(CostParts(world, self._judge, name), **chosen)
        sampler = Sampler.of(world, sampling_steps) if sampling_steps else Sampler.default(world)
        self._stream = Stream.of(world, sampler)
        self._proposal = None if proposal is None else Proposal(spec, name, proposal)
        self._seeds: dict[int, int] = {}
        self.decisions: list[Decision] = []

    def _begin(self) -> _Episode:
        return _Episode()

    def reset(self, env_ids: Sequence[int], seed: int) -> None:
        """See `Policy.reset`."""
        super().reset(env_ids, planner_seed(seed))
        self._seeds.update((int(i), int(seed)) for i in env_ids)
        if self._proposal is not None:
            self._proposal.reset(env_ids, seed)

    def forget(self, env_ids: Sequence[int]) -> None:
        """Drop what is kept of `env_ids`."""
        super().forget(env_ids)
        for env_id in map(int, env_ids):
            self._seeds.pop(env_id, None)
        if self._proposal is not None:
            self._proposal.forget(env_ids)

    def act(self, observation: Observation, env_ids: Sequence[int]) -> FloatArray:
        """Whole plans `[N, H, A]`; `decisions` tells how they were found."""
        self.decisions = [
            self._decide(_row(observation, row), int(env_id)) for row, env_id in enumerate(env_ids)
        ]
        return np.stack([decision.found.plan for decision in self.decisions])

    def _decide(self, observation: Observation, env_id: int) -> Decision:
        """Look, propose, search."""
        episode, look = self._notes[env_id], self._look(observation)
        if episode.stream is None or episode.plan is None:
            seed = self._seeds[env_id]
            episode.stream = begin(self._stream, look, seed, env_id, self._read_state)
        else:
            acted = list(episode.plan[: self.n_action_steps])
            follow(episode.stream, acted, look, self._read_state)
        given = [] if episode.given is None else [episode.given]
        if self._proposal is not None:
            proposed = self._proposal.plan(observation, env_id, episode.stream, self._horizon)
            given.insert(0, proposed[None])
        plans = np.concatenate(given)[: self._search.candidates] if given else None
        stream, rng = episode.stream, self._streams[env_id]

        def score(plans: Plans) -> Float:
            return self._score(stream, plans, look.task)

        action = self._stream.spec.action
        found = self._search.run(score, action, self._horizon, rng, plans)
        episode.plan = found.plan
        episode.given = shifted(found, self.n_action_steps)
        cost = float(found.given[0]) if self._proposal is not None else None
        return Decision(env_id, found, cost)

    def _score(self, stream: Stream, plans: Plans, task: str) -> Float:
        """Costs `[N]` of plans, some at a time."""
        size = self._batch_size
        parts = [plans[at : at + size] for at in range(0, len(plans), size)]
        return np.concatenate([self._cost(imagine(stream, part), task) for part in parts])

    def _look(self, observation: Observation) -> Look:
        names = self._stream.spec.camera_names
        rigs = observation.get("rig")
        return Look(
            stack_views(observation["pixels"], names)[0],
            np.asarray(observation["agent_pos"], np.float32)[0],
            str(observation["task"][0]),
            None if rigs is None else rigs[0],
        )

    def _read_state(self, look: Look) -> FloatArray | None:
        """The scene's state as the judge reads it; None where it reads none."""
        if self._judge is None or self._judge.reads_instructions:
            return None
        shown = ObservedFrame(look.pixels[None], look.agent_pos[None], None, (look.task,))
        state = self._judge.read(shown, None).state[0]
        fits = state.shape == (self._stream.spec.state.dim,) and np.isfinite(state).all()
        return state if fits else None


KEPT = 0.3
"""Share of a decision's elites that the next one is given (iCEM's "shift elites")."""


def shifted(found: Found, steps: int) -> Plans | None:
    """The plan and the first elites after `steps` were acted on, `[M, H, A]`; the last action is
    held. None where nothing is left of them."""
    horizon = found.plan.shape[0]
    if steps >= horizon:
        return None
    kept = found.elites[: int(np.ceil(KEPT * len(found.elites)))]
    plans = np.concatenate([found.plan[None], kept])[:, steps:]
    _, first = np.unique(plans, axis=0, return_index=True)
    plans = plans[np.sort(first)]
    return np.concatenate([plans, np.repeat(plans[:, -1:], steps, axis=1)], axis=1)


def _row(observation: Observation, row: int) -> dict[str, Any]:
    """One row of an observation, as a batch of one."""
    told = {"pixels": {n: view[row : row + 1] for n, view in observation["pixels"].items()}}
    for key, values in observation.items():
        if key != "pixels":
            told[key] = values[row : row + 1]
    return told


def load_world(
    spec: WorldSpec, name: str, model: str, judge: str | None
) -> tuple[WorldModel, Judge | None]:
    """A planner's world model and judge.

    Args:
        spec: world that it acts in.
        name: of the planner, for messages.
        model: see `PlannerPolicy`.
        judge: see `PlannerPolicy`.

    Raises:
        UsageError: there is no such model, or no judge where one is named.
        SpecMismatchError: one of them is of another world.
    """
    world = WorldModel.from_pretrained(model)
    require_same_interface(world.spec, spec, f"policy {name!r}: world model {model}")
    found = find_judge(judge, model)
    if found is not None:
        what = f"policy {name!r}: world model {model}", f"its judge {judge or ''}".strip()
        world.spec.require_compatible(found.spec, *what, stateless=True)
    return world, found
