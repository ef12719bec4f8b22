"""Does the rollouts of a `EvalConfig` in one process, keeping model, envs and starts between."""

import sys
from collections.abc import Sequence
from copy import copy
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

from worldsim.envs.imagination.engine import ImaginationEngine
from worldsim.envs.imagination.start import Start
from worldsim.envs.imagination.starts import DatasetStarts, SimulatorStarts
from worldsim.errors import SpecMismatchError, UsageError
from worldsim.hardware import inference_device
from worldsim.judge.gate import INVERSE_DYNAMICS
from worldsim.judge.gates import GATES, RolloutGate
from worldsim.judge.judge import Judge, load_pretrained_judge
from worldsim.judge.resampling import require_noise
from worldsim.models.world_model import WorldModel
from worldsim.policies.base import Policy
from worldsim.policies.pool import load_pool
from worldsim.rollout.baselines import ACTION_ERROR, BASELINES, Stage
from worldsim.rollout.episodes import RolloutBatch, World
from worldsim.rollout.eval_config import EvalConfig
from worldsim.rollout.guided import GuidedPolicy
from worldsim.rollout.rollouts import roll_out
from worldsim.rollout.worlds import ImaginedWorld, SimulatorWorld
from worldsim.spec import WorldSpec


class Evaluator:
    """Everything a comparison's rollouts need, made on first use.

    Args:
        eval_config: what to do.
    """

    def __init__(self, eval_config: EvalConfig) -> None:
        self.eval_config = eval_config
        self._stages: dict[World, Stage] = {}

    @cached_property
    def judge(self) -> Judge:
        """The judge."""
        judge = load_pretrained_judge(Path(self.eval_config.judge))
        return judge.to(inference_device(self.eval_config.device))

    @cached_property
    def imagining_judge(self) -> Judge:
        """The judge of what is imagined. A longer hold than its own is for there alone: episodes of
        a simulator end with success, and show no second frame of it."""
        if (hold := self.eval_config.hold) is None:
            return self.judge
        twin = copy(self.judge)
        twin.rule = replace(self.judge.rule, hold=hold)
        return twin

    @cached_property
    def model(self) -> WorldModel:
        """The world model."""
        model = WorldModel.from_pretrained(self.eval_config.model)
        return model.to(inference_device(self.eval_config.device))

    @cached_property
    def starts(self) -> list[Start]:
        """The N starts.

        Raises:
            UsageError: the data set has too few episodes, or there is neither simulator nor data.
            SpecMismatchError: the starts are of another world than the model.
        """
        plan, env_id = self.eval_config.starts, self.eval_config.env_id
        spec: WorldSpec
        if (data := self.recorded_starts) is not None:
            spec, starts = data.spec, [data.episode(i) for i in data.episodes[: plan.count]]
        elif env_id is not None:
            source = SimulatorStarts(env_id, self.env_kwargs(), plan.factors)
            spec = source.spec
            starts = [source.seeded(seed) for seed in plan.seeds]
            source.close()
        else:
            raise UsageError(
                "starts come from a simulator (env=...) or a data set (starts.dataset)"
            )
        self.model.spec.require_compatible(
            spec, f"model {self.eval_config.model}", "the starts", stateless=True
        )
        return starts

    @cached_property
    def recorded_starts(self) -> DatasetStarts | None:
        """Where the starts are recorded, if they are.

        Raises:
            UsageError: the data set has too few episodes.
        """
        plan = self.eval_config.starts
        if plan.dataset is None:
            return None
        camera = self.model.spec.cameras[0]
        size = (camera.height, camera.width)
        data = DatasetStarts(plan.dataset, plan.split, size, plan.selection)
        if len(data.episodes) < plan.count:
            raise UsageError(
                f"{plan.dataset} has {len(data.episodes)} episodes in split {plan.split!r}, "
                f"{plan.count} starts were asked for; lower starts.count or widen starts.split"
            )
        return data

    @cached_property
    def simulator(self) -> SimulatorWorld:
        """The simulator as a world.

        Raises:
            UsageError: there is no simulator.
        """
        if self.eval_config.env_id is None:
            raise UsageError("no simulator env was given; choose one, such as env=push")
        judge = self.judge if self.eval_config.watch_simulator else None
        return SimulatorWorld(self.eval_config.env_id, self.env_kwargs(), judge)

    @cached_property
    def imagination(self) -> ImaginedWorld:
        """The imagination as a world."""
        steps, gate = self.eval_config.sampling_steps, self.gate
        engine = ImaginationEngine(self.model, self.imagining_judge, steps, gate=gate)
        return ImaginedWorld(engine)

    @property
    def gate(self) -> RolloutGate | None:
        """What says how far to rely on imagined steps; None where nothing does.

        Raises:
            UsageError: another gate than the usual one was chosen, and there is none.
        """
        config, kind = self.eval_config, GATES.get(self.eval_config.gate_kind)
        if config.gated:
            return kind.load(config.gate_folder, self.imagining_judge, self.model.device)
        if config.gate and config.gate_kind != INVERSE_DYNAMICS:
            asked = f"gate_kind={config.gate_kind}"
            require_noise(self.model.config, config.sampling_steps, asked)
            raise UsageError(
                f"{asked}: judge {config.judge} has no such gate for {config.model} in "
                f"{config.sampling_steps} denoising steps; `worldsim train stage=judge "
                f"{kind.missing}` makes one beside a model, or leave gate_kind out"
            )
        return None

    @property
    def max_steps(self) -> int:
        """The horizon in both worlds."""
        return self.eval_config.max_steps or self.simulator.max_episode_steps

    def check(self, worlds: Sequence[World]) -> None:
        """Refuse early what could not be rolled out in `worlds`, before any worker starts.

        Raises:
            UsageError: a policy cannot be built, the starts are too few, or the model was not
                trained for so many steps.
            SpecMismatchError: model, judge, starts and simulator describe different worlds.
            WorldsimError: the simulator's episodes cannot be repeated.
        """
        self.model.spec.require_compatible(
            self.judge.spec,
            f"model {self.eval_config.model}",
            f"judge {self.eval_config.judge}",
            stateless=True,
        )
        timeless = self.eval_config.max_steps is None  # the simulator's horizon is asked for
        if "simulator" in worlds or self.eval_config.starts.dataset is None or timeless:
            name = f"model {self.eval_config.model}"
            self.model.spec.require_compatible(
                self.simulator.spec, name, str(self.eval_config.env_id), stateless=True
            )
            self.simulator.check()
            self.simulator.close()
        if (data := self.recorded_starts) is not None:
            self.model.spec.require_compatible(
                data.spec, f"model {self.eval_config.model}", "the starts", stateless=True
            )
        if "imagination" in worlds:
            _ = self.imagination
        for name in self.eval_config.policies:
            self.policy(name)
        for world in worlds:
            if world in BASELINES:
                self.stage(world)

    @cached_property
    def policy_spec(self) -> WorldSpec:
        """The world as policies are made for it: with the names of the simulator's state, by which
        scripted ones choose their controllers, where the model does without."""
        spec, env_id = self.model.spec, self.eval_config.env_id
        if spec.state.dim or env_id is None:
            return spec
        try:
            simulated = self.simulator.spec
            spec.require_compatible(simulated, "the model", env_id, stateless=True)
        except SpecMismatchError:  # imagination alone, of another world than the default env's
            return spec
        return replace(spec, state=simulated.state)

    def policy(self, name: str, guided: bool = True) -> Policy:
        """A fresh policy of the pool; one that asks for the scene's map is told of it.

        Args:
            name: of the policy.
            guided: whether it acts from the starts, of whose maps it can be told.

        Raises:
            UsageError: it asks, and the simulator has none.
        """
        pool = {"policies": self.eval_config.policies}
        policy = load_pool(pool, self.policy_spec, only=[name])[0]
        if not (guided and getattr(policy, "privileged", False)):
            return policy
        guide = None if self.eval_config.env_id is None else self.simulator.map_guide
        if guide is None:
            raise UsageError(
                f"policy {name!r} has `map: true`, and env {self.eval_config.env_id} has no map; "
                "take env=indoor, or leave the policy out"
            )
        return GuidedPolicy(policy, guide, self.starts, self.model.spec.action)

    def stage(self, world: World) -> Stage:
        """Where rollouts in a world happen.

        Raises:
            UsageError: there is no such world, or a baseline cannot be run.
        """
        if world not in self._stages:
            if world in ("simulator", "imagination"):
                where = self.simulator if world == "simulator" else self.imagination
                self._stages[world] = Stage(where, lambda: self.starts, lambda: self.max_steps)
            else:
                self._stages[world] = BASELINES.get(world).make(self)
        return self._stages[world]

    def roll_out(self, name: str, world: World) -> RolloutBatch:
        """All starts of one policy in one world; baselines are not filmed."""
        stage = self.stage(world)
        return roll_out(
            self.policy(name, guided=world != ACTION_ERROR),
            stage.world,
            stage.starts(),
            max_steps=stage.max_steps(),
            seed=self.eval_config.seed,
            batch_size=min(
                self.eval_config.batch_size, getattr(stage.world, "most", None) or sys.maxsize
            ),
            film=() if world in BASELINES else self.eval_config.filmed,
        )

    def env_kwargs(self) -> dict[str, Any]:
        """The env's own arguments, with the comparison's horizon where it sets one."""
        kwargs = dict(self.eval_config.env_kwargs)
        if self.eval_config.max_steps is not None:
            kwargs["max_episode_steps"] = self.eval_config.max_steps
        return kwargs
