"""What every registered memory owes its stream, and where streams and training use it."""

from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest
import torch
from nearest_memory import NearestMemory
from stream_testing import RIG, TWO, begin, frames_of, random_actions, run
from torch import Tensor
from worldsim_testing import nano_model, nano_start

from worldsim.data.cache import CachedDataset
from worldsim.data.clips import ClipDataset
from worldsim.data.memory_sampler import MemorySamplerConfig
from worldsim.diffusion.schedule import autoregressive, rolling
from worldsim.errors import UsageError
from worldsim.memory.base import (
    FrameCameras,
    Memory,
    MemoryConfig,
    MemorySize,
    ShownFrames,
    registered_memories,
)
from worldsim.models.conditioners.steps import FrameSteps
from worldsim.models.denoisers.base import Denoiser
from worldsim.models.recall import new_memory, recall, recall_clip, recorded_memory, remember
from worldsim.models.world_model import WorldModel
from worldsim.sampling.stream import Stream
from worldsim.training.loss import PlanConfig, WorldModelLoss, student_of
from worldsim.training.losses.clip import Clip, DropoutConfig, prepare_clip
from worldsim.training.losses.distillation import DistillationConfig
from worldsim.training.losses.matching import MatchingConfig, critic_of
from worldsim.training.losses.self_rollout import RolloutConfig, self_rollout
from worldsim.validation.revisit.arms import RANDOM

NAMES = sorted(registered_memories())
assert RANDOM in NAMES  # that of a revisit, which files itself when it is imported
LATENT = (3, 4, 8, 8)


def remembering(name: str, model: WorldModel | None = None) -> WorldModel:
    """A nano model that has a memory."""
    model = nano_model() if model is None else model
    # Imagined frames have no depth of the simulator's; tests/memory has models with a head.
    memory = MemoryConfig(name, retrieved=2, depth="simulator")
    config = replace(model.config, memory=memory)
    twin = WorldModel(config, model.spec)
    twin.load_state_dict(model.state_dict())
    return twin.eval().requires_grad_(False)


def cameras(rows: int, frames: int, seed: int = 0) -> FrameCameras:
    pose = torch.eye(4).repeat(rows, frames, 3, 1, 1)
    generator = torch.Generator().manual_seed(seed)
    pose[..., :3, 3] = torch.rand(rows, frames, 1, 3, generator=generator)
    return FrameCameras(pose, torch.eye(3).repeat(rows, 3, 1, 1), torch.ones(rows))


def shown(rows: int, frames: int, first: int, seed: int = 0) -> ShownFrames:
    generator = torch.Generator().manual_seed(seed)
    latents = torch.randn(rows, frames, *LATENT, generator=generator)
    count = torch.full((rows,), frames)
    number = torch.arange(first, first + frames).expand(rows, frames)
    at, mask = cameras(rows, frames, seed), torch.ones(rows, frames, 3)
    return ShownFrames(latents, at, mask, count, number)


def filled(name: str, rows: int) -> Memory:
    size = MemorySize(nano_model().spec, LATENT, rows, torch.device("cpu"))
    memory = registered_memories().get(name).new(MemoryConfig(name, retrieved=2), size)
    memory.update(shown(rows, 3, 0))
    memory.update(shown(rows, 1, 3, seed=1))
    return memory


def same(one: Memory, other: Memory, rows: int) -> None:
    at = cameras(rows, 2, seed=2)
    for field in fields(one.view(at)):
        torch.testing.assert_close(
            getattr(one.view(at), field.name), getattr(other.view(at), field.name)
        )
    assert one.stats() == other.stats()


@pytest.mark.parametrize("name", NAMES)
def test_views_fit_the_frames_they_are_of(name: str) -> None:
    view = filled(name, 2).view(cameras(2, 5))
    assert view.render.shape == (2, 5, *LATENT) and view.coverage.shape == (2, 5, 3, 1, 8, 8)
    assert view.coverage.min() >= 0 and view.coverage.max() <= 1
    kept = view.mask.shape[2]
    assert kept <= 2 and view.mask.shape == view.age.shape == (2, 5, kept)
    assert view.retrieved.shape == (2, 5, kept, *LATENT)
    assert view.poses.shape == (2, 5, kept, 3, 4, 4)
    assert (view.age[view.mask > 0] > 0).all()


@pytest.mark.parametrize("name", NAMES)
def test_rows_are_taken_joined_exchanged_and_branched(name: str) -> None:
    memory = filled(name, 4)
    kept = memory.select([2, 0])
    apart = [memory.select([2]), memory.select([0])]
    same(apart[0].joined(apart[1]), kept, 2)
    other = memory.fork()
    other.update(shown(4, 2, 4, seed=3))
    changed = memory.fork()
    changed.put([1, 3], other.select([0, 2]))
    same(changed.select([0, 2]), memory.select([0, 2]), 2)
    same(changed.select([1, 3]), other.select([0, 2]), 2)
    assert memory.seen.tolist() == [4] * 4 and other.seen.tolist() == [6] * 4


@pytest.mark.parametrize("name", NAMES)
def test_padding_is_not_remembered(name: str) -> None:
    memory = filled(name, 2)
    frames = shown(2, 2, 4, seed=4)
    short = replace(frames, count=torch.tensor([2, 1]))
    one = memory.fork()
    one.update(short)
    alone = memory.select([1])
    first = ShownFrames(
        frames.latents[1:, :1],
        FrameCameras(
            frames.cameras.pose[1:, :1], frames.cameras.intrinsics[1:], frames.cameras.known[1:]
        ),
        frames.view_mask[1:, :1],
        torch.tensor([1]),
        frames.number[1:, :1],
    )
    alone.update(first)
    same(one.select([1]), alone, 1)


def stream_of(name: str, schedule: Any = None) -> Stream:
    return Stream(remembering(name), schedule or autoregressive(TWO), precision="float32")


def test_a_stream_without_a_memory_is_the_stream_of_before() -> None:
    actions = random_actions(2, 4)
    plain = Stream(nano_model(), autoregressive(TWO), precision="float32")
    assert torch.equal(run(stream_of("none"), actions), run(plain, actions))
    assert not torch.equal(run(stream_of("nearest"), actions), run(plain, actions))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("schedule", [autoregressive(TWO), rolling(TWO, chunk=2)])
def test_rows_of_streams_with_a_memory_are_independent(name: str, schedule: Any) -> None:
    stream, actions = stream_of(name, schedule), random_actions(3, 4)
    together = run(stream, actions)
    alone = run(stream, actions[1:2], ids=[1])
    torch.testing.assert_close(alone[0], together[1], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_restarted_rows_remember_nothing(name: str) -> None:
    stream, actions = stream_of(name), random_actions(2, 3)
    fresh = run(stream, actions)
    begin(stream, [1], rows=[1])
    stream.push(actions[1:], rows=[1])
    latents = [chunk.latents[1] for chunk in stream.drain()]
    torch.testing.assert_close(torch.cat(latents), fresh[1], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_forks_remember_apart(name: str) -> None:
    stream, actions = stream_of(name), random_actions(2, 6)
    whole = run(stream, actions)
    begin(stream, [0, 1])
    stream.push(actions[:, :3])
    stream.drain()
    twin = stream.fork()
    twin.push(-actions[:, 3:])
    twin.drain()
    stream.push(actions[:, 3:])
    torch.testing.assert_close(frames_of(stream.drain()), whole[:, 3:], atol=1e-5, rtol=1e-5)


def spied(model: WorldModel, found: list[Any]) -> None:
    """Keep what the denoiser is told by a memory, frame by frame."""
    forward = model.denoiser.forward

    def kept(*args: Any, **named: Any) -> Any:
        found.append(args[2].memory)
        return forward(*args, **named)

    model.denoiser.forward = kept  # type: ignore[method-assign]


@pytest.fixture(scope="module")
def clips(square_data: CachedDataset) -> tuple[WorldModel, dict[str, Tensor]]:
    """A model with a memory and four clips that remember."""
    model = remembering("nearest", nano_model(spec=square_data.spec))
    with torch.no_grad():
        raw = model.encode(torch.from_numpy(np.array(square_data.pixels)))
    memory = MemorySamplerConfig("random", 3)
    batch = ClipDataset(square_data, 6, raw, memory=memory).batch([0, 3, 5, 9])
    return model, batch


def prepared(clips: tuple[WorldModel, dict[str, Tensor]]) -> Clip:
    generator = torch.Generator().manual_seed(0)
    clip = prepare_clip(clips[0], clips[1], DropoutConfig(0.0, 0.0, 0.0), generator)
    return clip.whole(clips[0])


def test_a_clip_tells_what_a_stream_would_have_told(
    clips: tuple[WorldModel, dict[str, Tensor]],
) -> None:
    model, batch = clips
    clip = prepared(clips)
    assert clip.memory is not None
    memory = clip.memory.fork()
    assert memory.seen.tolist() == batch["memory_frame_mask"].sum(1).tolist()
    assert clip.cond.memory is not None
    for frame in range(6):
        told = clip.conditions(model, memory, frame, frame + 1).memory
        assert told is not None
        for part in fields(told):
            whole = getattr(clip.cond.memory, part.name)[:, frame : frame + 1]
            torch.testing.assert_close(getattr(told, part.name), whole)
        clip.show(model, memory, frame, clip.x0[:, frame : frame + 1])
    at_once = clip.recalled(model, 6)[1]
    assert isinstance(at_once, NearestMemory) and isinstance(memory, NearestMemory)
    assert torch.equal(at_once.latents, memory.latents)
    assert (
        clip.memory.seen.tolist()
        == recorded_memory(model, batch, clip.view_mask[:, 0]).seen.tolist()
    ), "a clip's own memory is not changed"


def test_ages_count_the_frames_of_the_episode_not_those_remembered(
    clips: tuple[WorldModel, dict[str, Tensor]],
) -> None:
    model, batch = clips
    clip = prepared(clips)
    memory = recorded_memory(model, batch, clip.view_mask[:, 0])
    view = recall(model, memory, clip.steps.frames(0, 2))
    known = model.normalizer.normalize("latent", batch["memory_latents"].float())
    skipped = 0
    for row, frame, place in view.mask.nonzero().tolist():
        errors = (known[row] - view.retrieved[row, frame, place]).flatten(1).abs().amax(1)
        number = int(batch["memory_number"][row, errors.argmin()])
        age = int(batch["start"][row]) + frame - number
        assert errors.min() < 1e-5 and view.age[row, frame, place] == age
        skipped += age > memory.seen[row] + frame
    assert skipped, "some remembered frame is older than all that were taken in"
    later = clip.recalled(model, 2)[1]
    assert later is not None and later.now.tolist() == (batch["start"] + 2).tolist()
    assert later.seen.tolist() == (memory.seen + 2).tolist()


def test_rollouts_remember_their_own_frames(clips: tuple[WorldModel, dict[str, Tensor]]) -> None:
    model, clip = clips[0], prepared(clips)
    config = RolloutConfig(start=0.0, frames=4, frames_end=4, history=1, most_steps=1)
    rolled = self_rollout(model, clip, config, 1.0, torch.Generator().manual_seed(2))
    assert rolled.first == 1 and rolled.cond.memory is not None and clip.cond.memory is not None
    assert rolled.cond.action.shape[1] == 5
    memory = clip.recalled(model, 1)[1]
    assert memory is not None
    for frame in range(4):
        told = clip.conditions(model, memory, 1 + frame, 2 + frame).memory
        assert told is not None
        assert torch.equal(told.render, rolled.cond.memory.render[:, 1 + frame : 2 + frame])
        clip.show(model, memory, 1 + frame, rolled.predicted[:, frame : frame + 1])
    recorded = clip.cond.memory.retrieved[:, 4]
    assert not torch.equal(rolled.cond.memory.retrieved[:, 4], recorded)


def test_cameras_are_remembered_exactly_in_half_precision() -> None:
    model, start = remembering("nearest"), nano_start(2)
    batch = {name: torch.as_tensor(start[name]) for name in ("agent_pos", *RIG)}
    state = model.dynamics.join(batch["agent_pos"].float(), torch.zeros(2, model.spec.state.dim))[
        :, None
    ]
    none = torch.zeros(2, 1, model.spec.action.dim)
    steps = FrameSteps(none, none[..., 0], state, state, torch.ones(2, 1, 3), model.rig(batch))
    assert bool(steps.rig.riding.any())

    def poses() -> Tensor:
        memory = new_memory(model, 2)
        remember(
            model, memory, steps, torch.zeros(2, 1, 3, *model.latent_shape), torch.ones(2).long()
        )
        return memory.pose  # type: ignore[attr-defined,no-any-return]

    exact = poses()
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(poses(), exact)


PLANS = {
    "diffusion_forcing": PlanConfig(length=6),
    "rollout": PlanConfig(length=6, rollout=RolloutConfig(start=0.0, frames=2, frames_end=2)),
    "distillation": PlanConfig(
        length=6, distillation=DistillationConfig("consistency", share=1.0, rungs=4)
    ),
    "matching": PlanConfig(
        length=6,
        rollout=RolloutConfig(start=0.0, frames=2, frames_end=2),
        matching=MatchingConfig(share=1.0, every=1),
    ),
}


@pytest.mark.parametrize("plan", list(PLANS))
def test_every_loss_shows_its_networks_what_is_remembered(
    plan: str, clips: tuple[WorldModel, dict[str, Tensor]]
) -> None:
    model, config = clips[0], PLANS[plan]
    teacher = remembering("nearest", model) if config.has_teacher else None
    student = student_of(model, config) if config.has_teacher else remembering("nearest", model)
    student.denoiser.requires_grad_(True)
    critic: Denoiser | None = critic_of(model) if config.matching.share else None
    seen: dict[str, list[Any]] = {"student": []}
    spied(student, seen["student"])
    if teacher is not None:
        seen["teacher"] = []
        spied(teacher, seen["teacher"])
    loss = WorldModelLoss(student, config, 1.0, teacher, critic)
    batch = {**clips[1], "micro_step": 0}
    total = loss(batch, 1.0, torch.Generator().manual_seed(0)).total
    total.backward()  # type: ignore[no-untyped-call]
    for name, views in seen.items():
        assert views and all(view is not None for view in views), name
        assert max(float(view.coverage.max()) for view in views) == 0.5, name


def test_a_sampler_without_a_memory_is_refused(square_data: CachedDataset) -> None:
    plan = PlanConfig(memory=MemorySamplerConfig("recent", 3))
    with pytest.raises(UsageError, match=r"model.memory.name=none tells nothing"):
        WorldModelLoss(nano_model(spec=square_data.spec), plan, 1.0)


def test_an_unknown_memory_is_refused_by_name() -> None:
    with pytest.raises(UsageError, match="nearest"):
        MemoryConfig("nearset")


def test_a_clip_without_frames_before_it_begins_with_nothing(
    clips: tuple[WorldModel, dict[str, Tensor]],
) -> None:
    model, batch = clips
    bare = {name: value for name, value in batch.items() if not name.startswith("memory_")}
    clip = prepared((model, bare))
    assert clip.memory is not None
    view, _ = recall_clip(model, clip.memory, clip.steps, clip.x0, clip.frame_mask)
    assert float(view.coverage[:, 0].max()) == 0.0 and float(view.coverage[:, 1].min()) == 0.5
