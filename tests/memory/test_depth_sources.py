"""Where maps have their depth from, in streams of a model; what a model says of it."""

import math
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch
from imagination_testing import REPORT
from room_memory import new, shown
from torch import Tensor
from toy_room import HEIGHT, WIDTH, Move, Walker
from toy_room_data import CAMERA, SPEC, episode

from worldsim.cameras.alignment import nearest_rotation
from worldsim.cameras.poses import pose_matrix
from worldsim.errors import QualityWarning, UsageError
from worldsim.files import read_json
from worldsim.memory.base import FrameReader, MemoryConfig, ShownFrames
from worldsim.memory.depth import (
    Reconstruction,
    register_reconstructor,
)
from worldsim.memory.points import PointMemory
from worldsim.models.denoisers.base import DenoiserConfig
from worldsim.models.dynamics.base import DynamicsConfig
from worldsim.models.heads.depth import DepthHead, depth_loss
from worldsim.models.heads.state import HeadConfig
from worldsim.models.recall import point_colours
from worldsim.models.tokenizers.base import TokenizerConfig
from worldsim.models.world_model import WorldModel, WorldModelConfig
from worldsim.ranking.verdict import foreword
from worldsim.sampling.sampler import Sampler
from worldsim.sampling.stream import Stream
from worldsim.training.stages.world import model_card


def model_with(memory: MemoryConfig, head: bool = False) -> WorldModel:
    """A nano model of the room."""
    torch.manual_seed(0)
    config = WorldModelConfig(
        TokenizerConfig(channels=4, width=8, depth=1),
        DenoiserConfig("stnet", width=16, depth=1, cond_width=16, head_dim=16),
        HeadConfig(width=8, keypoints=8, depth=head),
        DynamicsConfig("pose", width=16, depth=1),
        memory,
        recent=3,
        conditioners=("rays", "action"),
    )
    return WorldModel(config, SPEC).eval().requires_grad_(False)


def walked(model: WorldModel, steps: int = 3) -> Stream:
    """A stream of two envs, some steps after its first frames, whose depth is told."""
    stream = Stream.of(model, Sampler.of(model, 1))
    recorded = [episode(seed, 1) for seed in (3, 4)]
    rigs = [each.meta.rig for each in recorded]
    arrays = {
        name: np.stack([getattr(rig, name) for rig in rigs])
        for name in ("intrinsics", "extrinsics", "mounted")
    }
    stream.reset(
        np.stack([each.pixels[CAMERA][:1] for each in recorded]),
        np.stack([each.agent_pos[0] for each in recorded]),
        arrays,
        extras={"depth": np.stack([each.extras["depth"][0] for each in recorded])},
    )
    for move in (Move.FORWARD, Move.LEFT, Move.FORWARD)[:steps]:
        stream.act(SPEC.action.vector(np.array([move, Move.RIGHT]), "test"))
    return stream


def map_of(stream: Stream) -> PointMemory:
    assert isinstance(stream.memory, PointMemory)
    return stream.memory


def test_a_head_tells_the_depth_of_imagined_frames_too() -> None:
    stream = walked(model_with(MemoryConfig("points"), head=True))
    stats = map_of(stream).stats()
    assert stats["frames_without_depth"] == 0 and stats["points"] > 100
    assert set(map_of(stream).map.number[0].tolist()) >= {0, 3}
    frames = walked(model_with(MemoryConfig("frames"))).memory
    assert frames is not None and frames.stats()["frames_kept"] > 1


def test_the_simulator_tells_the_depth_of_the_first_frame_alone() -> None:
    stats = map_of(walked(model_with(MemoryConfig("points", depth="simulator")))).stats()
    assert stats["frames_without_depth"] == 3 and stats["points"] > 100


def test_what_the_map_shows_is_imagined_and_forks_part(tmp_path: Path) -> None:
    told = model_with(MemoryConfig("points", depth="simulator"))
    plain = model_with(MemoryConfig())
    one, other = (walked(model, 1).newest for model in (told, plain))
    assert not torch.equal(one, other)
    stream = walked(told)
    twin = stream.fork()
    twin.act(SPEC.action.vector(np.array([Move.LEFT, Move.LEFT]), "test"))
    assert map_of(twin).seen.tolist() == [5, 5] and map_of(stream).seen.tolist() == [4, 4]
    path = tmp_path / "map.ply"
    map_of(stream).save_ply(path, 1, lambda features: point_colours(told, features))
    assert path.stat().st_size > 19 * int(map_of(stream).map.count[1])


def test_a_map_without_a_head_is_refused_before_anything_is_built() -> None:
    with pytest.raises(UsageError, match=r"model.head.depth=true.*simulator"):
        model_with(MemoryConfig("points"))
    with pytest.raises(UsageError, match="Did you mean 'simulator'"):
        MemoryConfig("points", depth="simulater")
    with pytest.raises(UsageError, match="no depth head"):
        memory = new("points", depth="head")
        memory.update(replace(shown([[Walker(0, 0, 0)]]), reader=FrameReader(lambda x: x)))
    with pytest.raises(UsageError, match="model.memory.reconstructor=NAME"):
        new("points", depth="reconstructor")


TURN = nearest_rotation(torch.randn(3, 3, generator=torch.Generator().manual_seed(3)))
SCALE = 0.25


@pytest.fixture(scope="module")
def reconstructor() -> str:
    """One that knows all in a frame and at a scale of its own; it is misled by dark pictures."""

    @register_reconstructor("room")
    def reconstruct(pixels: Tensor, intrinsics: Tensor) -> Reconstruction:
        assert pixels.shape[1:] == (1, HEIGHT, WIDTH, 3) and intrinsics.shape == (1, 3, 3)
        # The pictures' first pixels tell which frame of the walk they are of.
        number = pixels[:, 0, 0, 0, 0].long()
        frames = shown([WALK])
        poses, depth = frames.cameras.pose[0, number], frames.depth
        assert depth is not None
        turns = TURN.mT @ poses[..., :3, :3]
        centres = (poses[..., :3, 3] @ TURN) * SCALE
        if bool((pixels[..., 1] == 0).all()):
            centres = torch.randn(centres.shape, generator=torch.Generator().manual_seed(0))
        return Reconstruction(depth[0, number] * SCALE, "radial", pose_matrix(turns, centres))

    return "room"


WALK = [Walker(0.6 * math.cos(a), 0.5 * math.sin(a), a) for a in np.linspace(0, 3, 9)]


def numbered(frame: ShownFrames, green: float = 0.5) -> ShownFrames:
    """Frames whose pixels tell their numbers, and a reader that shows latents as they are."""
    latents = frame.latents.clone()
    latents[:, :, :, 0] = frame.number[..., None, None, None] / 255
    latents[:, :, :, 1] = green

    def pixels(shown_latents: Tensor) -> Tensor:
        return (255 * shown_latents.movedim(-3, -1)).round().to(torch.uint8)

    return replace(frame, latents=latents, depth=None, reader=FrameReader(pixels))


def test_a_reconstruction_is_brought_to_the_worlds_scale(reconstructor: str) -> None:
    much: dict[str, Any] = {"points": 40000, "voxel": 1e-3}
    memory = new("points", depth="reconstructor", reconstructor=reconstructor, **much)
    assert isinstance(memory, PointMemory)
    for number in range(len(WALK)):
        frame = numbered(shown([WALK[number : number + 1]], number))
        if number == 0:
            with pytest.warns(QualityWarning, match="nothing tells the scale"):
                memory.update(frame)
        else:
            memory.update(frame)
    truth = new("points", **much)
    assert isinstance(truth, PointMemory)
    truth.update(shown([WALK]))
    assert memory.stats()["frames_without_depth"] == 1
    some = memory.map.place[0, memory.map.valid[0]][::97]
    known = truth.map.place[0, truth.map.valid[0]]
    assert torch.cdist(some, known).amin(1).max() < 0.02


def test_a_fit_that_is_refused_adds_nothing_and_says_why(reconstructor: str) -> None:
    memory = new("points", depth="reconstructor", reconstructor=reconstructor)
    with pytest.warns(QualityWarning, match=r"not taken into the map: .*fit .* is refused"):
        memory.update(numbered(shown([WALK]), green=0.0))
    assert memory.stats()["points"] == 0 and memory.seen.tolist() == [len(WALK)]


FITTED = cast(Any, SimpleNamespace(logs={"loss": 1.0}, steps=1, seconds=1.0))
CACHE = cast(Any, SimpleNamespace(num_episodes=1, pixels=[0]))


@pytest.mark.parametrize(
    ("memory", "head", "labels", "words"),
    [
        (MemoryConfig(), False, False, None),
        (MemoryConfig("frames", depth="simulator"), False, False, None),
        (MemoryConfig("points"), True, False, None),
        (MemoryConfig("points"), True, True, "its depth head learnt"),
        (MemoryConfig("points", depth="simulator"), False, False, "its memory reads"),
        (MemoryConfig("frames_points", depth="simulator"), False, False, "its memory reads"),
        (MemoryConfig("oracle"), False, False, "is an oracle"),
    ],
)
def test_a_model_says_what_it_had_of_the_simulators_depth(
    memory: MemoryConfig, head: bool, labels: bool, words: str | None, tmp_path: Path
) -> None:
    model = model_with(memory, head).trained_with(calibration=True, depth_labels=labels)
    card = model_card(model, FITTED, CACHE)
    assert model.depth_assisted is (words is not None) is ("Depth-assisted" in card)
    assert words is None or words in card
    model.save_pretrained(tmp_path)
    assert read_json(tmp_path / "config.json")["depth_assisted"] is model.depth_assisted
    assert WorldModel.from_pretrained(tmp_path).depth_assisted is model.depth_assisted


def test_a_ranking_says_it_first() -> None:
    said = SimpleNamespace(trial=None, assisted=(), depth_assisted=True, release=None, block=None)
    said.development_starts = None
    assert foreword(cast(Any, said))[0].startswith("Depth-assisted: the world model had")
    said.depth_assisted = False
    assert foreword(cast(Any, said))[0].startswith("Not state-assisted")
    assert REPORT.state_assisted


def test_a_depth_head_learns_depth_where_it_is_known() -> None:
    torch.manual_seed(0)
    head = DepthHead(16, 3)
    frames = shown([[Walker(x, y, 3 * x) for x in (-0.8, 0.0, 0.8) for y in (-0.4, 0.4)]])
    small = torch.nn.functional.avg_pool2d(frames.latents.flatten(0, 2), 4).reshape(
        1, 6, 1, 3, 8, 16
    )
    assert frames.depth is not None
    depth, weight = frames.depth.clone(), torch.ones(1, 6, 1)
    depth[..., :4, :] = torch.nan
    optimiser = torch.optim.Adam(head.parameters(), 3e-3)
    losses = []
    for _ in range(150):
        loss = depth_loss(head(small), depth, weight)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.25 * losses[0] and losses[-1] < 0.15
    assert head.metres(small).shape == (1, 6, 1, 16, 32)
    known = depth_loss(head(small).detach(), torch.full_like(depth, torch.nan), weight)
    assert float(known) == 0.0
    # An exact answer costs nothing, and half of it the logarithm of two.
    told = depth[..., 1::2, 1::2].nan_to_num(1.0).log()
    assert float(depth_loss(told, depth, weight)) == pytest.approx(0.0, abs=1e-6)
    assert float(depth_loss(told - math.log(2), depth, weight)) == pytest.approx(math.log(2))
