"""Arms differ in what their memory tells; the command runs them all on a nano model."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from revisit_testing import GAP, SIZE, apartment, nano_indoor_model, walked
from train_testing import train

from worldsim.cli.main import main
from worldsim.collection.behaviours import Behaviour
from worldsim.collection.collect import collect
from worldsim.collection.recorder import CollectionConfig
from worldsim.errors import UsageError
from worldsim.memory.base import MemoryConfig, registered_memories
from worldsim.memory.points import PointMemory
from worldsim.models.recall import new_memory
from worldsim.models.world_model import WorldModel
from worldsim.sampling.sampler import Sampler
from worldsim.sampling.stream import Stream
from worldsim.validation.revisit.arms import Arm, known_arms, told_depth
from worldsim.validation.revisit.copies import cameras_of, encoded, fill, first_visit
from worldsim.validation.revisit.measure import measure_revisit
from worldsim.validation.revisit.places import RevisitConfig
from worldsim.validation.revisit.streams import stream_walk

SEEDS = (0, 1)


def streaming(arm: Arm, derotate: bool = False) -> Stream:
    own = nano_indoor_model(derotate=derotate)
    model = WorldModel(own.config, own.spec).eval().requires_grad_(False)
    model.load_state_dict(own.state_dict())
    config = arm.config(own.config.memory)
    return Stream.of(
        model.remembering(own.config.recent, own.config.sink, config), Sampler(steps=1)
    )


def test_every_memory_is_an_arm_and_takes_the_models_sizes() -> None:
    arms = known_arms()
    assert set(registered_memories()) <= set(arms)
    own = MemoryConfig("frames", points=7, voxel=0.3, depth="reconstructor")
    assert arms["points"].config(own) == MemoryConfig(
        "points", points=7, voxel=0.3, depth="reconstructor"
    )
    assert arms["points_simulator"].config(own).depth == "told"
    assert arms["wrong_room"].config(own).name == "frames"
    assert arms["wrong_room"].config(MemoryConfig("none")).name == "points"
    assert arms["copy_render"].config(MemoryConfig("oracle")).name == "points"


@pytest.mark.parametrize("shown", [True, False])
def test_a_walk_is_shown_first_and_imagined_then(shown: bool) -> None:
    walk = walked("spin")
    made = stream_walk(
        streaming(known_arms()["points"]), walk, known_arms()["points"], SEEDS, shown
    )
    assert made.frames.shape == (len(walk.pixels), 2, *walk.pixels.shape[1:])
    first = walk.back if shown else 1
    for seed in SEEDS:
        np.testing.assert_array_equal(made.frames[:first, seed], walk.pixels[:first])
    assert not np.array_equal(made.frames[walk.back, 0], walk.pixels[walk.back])
    # Streams differ in their noise alone.
    assert not np.array_equal(made.frames[walk.back, 0], made.frames[walk.back, 1])
    assert made.depth is not None and len(made.depth) == len(walk.pixels)
    assert made.bytes_kept > 0 and made.seconds > 0


@pytest.mark.parametrize("derotate", [False, True])
def test_the_oracle_renders_the_frame_to_come(derotate: bool) -> None:
    walk, arm = walked("spin"), known_arms()["oracle"]
    stream = streaming(arm, derotate)
    made = stream_walk(stream, walk, arm, (0,), True, film=True)
    assert made.renders is not None
    latents = encoded(stream.model, walk, slice(len(walk.pixels) - 1, None))
    agent = torch.from_numpy(walk.agent_pos[-1:])
    expected = stream.model.decode(latents, state=agent)[0].numpy()
    np.testing.assert_allclose(made.renders[-1], expected, atol=1)


@pytest.mark.parametrize("derotate", [False, True])
def test_a_stream_maps_what_it_is_shown_as_a_memory_alone_does(derotate: bool) -> None:
    """Both see the same frames from the same places, whatever way the agent faces."""
    walk, arm = walked("spin"), known_arms()["points_simulator"]
    stream = streaming(arm, derotate)
    shown = replace(
        walk,
        **{name: getattr(walk, name)[: walk.back] for name in ("pixels", "poses", "agent_pos")},
        depth=walk.depth[: walk.back],
    )
    stream_walk(stream, shown, arm, (0,), True)
    alone, ours = first_visit(stream.model, shown, arm, 1), stream.memory
    assert isinstance(alone, PointMemory) and isinstance(ours, PointMemory)
    at = cameras_of(stream.model, walk, slice(walk.back, walk.back + 4), 1)
    for told, expected in zip(ours.render(at), alone.render(at), strict=True):
        # An odd point lands a cell beside: poses come by another way.
        assert (told - expected).abs().mean() < 0.02 * expected.abs().mean()


def test_what_a_head_reads_off_turned_frames_is_told_as_they_are_seen() -> None:
    """A constant turn of depth would score a model against what lies beside."""
    walk, arm = walked("spin"), known_arms()["points"]
    stream = streaming(arm, derotate=True)
    made = stream_walk(stream, walk, arm, (0,), True)
    head, facing = stream.model.depth_head, stream.model.facing
    assert made.depth is not None and head is not None and facing is not None
    at = walk.back - 1
    latents = encoded(stream.model, walk, slice(at, at + 1))
    agent = torch.from_numpy(walk.agent_pos[at : at + 1])
    expected = facing.depth_away(head.metres(latents), agent)
    assert abs(float(facing.yaw(agent)[0, 0])) > 0.5
    torch.testing.assert_close(torch.from_numpy(made.depth[at]), expected)


def test_told_depth_fills_the_map_with_imagined_frames_too() -> None:
    walk = walked("two_rooms")
    found = {}
    for name in ("points_simulator", "points_corrupted"):
        arm = known_arms()[name]
        stream = streaming(arm)
        stream_walk(stream, walk, arm, (0,), True)
        assert stream.memory is not None
        stats = stream.memory.stats()
        assert stats["frames_without_depth"] == 0 and stats["frames_seen"] == len(walk.pixels)
        found[name] = stats["points"]
    assert found["points_corrupted"] > found["points_simulator"]
    table = torch.from_numpy(walk.depth)
    assert torch.equal(told_depth(table, 0.0), table)
    scale = (told_depth(table, 0.1) / table).flatten(1)
    torch.testing.assert_close(scale, scale[:, :1].expand_as(scale))
    assert 0.05 < scale[:, 0].log().std() < 0.15


def test_random_frames_are_kept_ones_and_the_same_in_every_row() -> None:
    arm = known_arms()["random_frames"]
    model = streaming(arm).model
    walk = walked("rectangle")
    memory = first_visit(model, walk, arm, 2)
    view = memory.view(cameras_of(model, walk, slice(walk.back, walk.back + 3), 2))
    assert view.mask.all() and view.mask.shape == (2, 3, 2)
    assert (view.age >= 1).all() and len(set(view.age[0].flatten().tolist())) > 2
    torch.testing.assert_close(view.retrieved[0], view.retrieved[1])
    empty = new_memory(model, 1).view(cameras_of(model, walk, slice(0, 1), 1))
    assert not empty.mask.any()


def test_another_rooms_memory_is_what_the_other_room_left() -> None:
    arm = known_arms()["wrong_room"]
    own, other = walked("spin"), walked("spin", 1_000_002)
    stream = streaming(arm)
    kept = stream_walk(stream, own, arm, (0,), True, wrong=other, film=True)
    plain = stream_walk(stream, own, arm, (0,), True, film=True)
    assert kept.renders is not None and plain.renders is not None
    np.testing.assert_array_equal(kept.renders[: own.back], plain.renders[: own.back])
    assert not np.array_equal(kept.renders[own.back], plain.renders[own.back])
    assert stream.memory is not None and stream.memory.now.tolist() == [len(own.pixels)]


def test_depth_is_shown_only_to_a_memory_that_reads_the_simulators() -> None:
    model, walk = nano_indoor_model("points"), walked("spin")
    latents = encoded(model, walk, slice(0, 2))
    cameras = cameras_of(model, walk, slice(0, 2), 1)
    counts = []
    for source in ("head", "simulator"):
        twin = WorldModel(model.config, model.spec).eval()
        twin.load_state_dict(model.state_dict())
        twin.remembering(3, 1, MemoryConfig("points", depth=source))
        memory = new_memory(twin, 1)
        depth = torch.full(walk.depth[:2].shape, 1.5)
        fill(memory, latents, cameras, depth, twin.config.memory, None)
        counts.append(memory.stats()["points"])
    assert counts[0] == 0 and counts[1] > 0


def test_an_arm_that_the_model_cannot_have_is_left_out_with_its_reason() -> None:
    config = RevisitConfig(
        scenes=1,
        first_scene=3,
        routes=("spin",),
        arms=("none", "points", "wrong_room", "points_simulator", "copy_pixels"),
        seeds=1,
    )
    model, env = nano_indoor_model(depth=False), apartment(split="validation")
    report = measure_revisit(model, env, Sampler(steps=1), config)
    assert set(report.left_out) == {"points", "wrong_room"}
    assert "depth head" in report.left_out["points"]
    assert report.arms == ("none", "points_simulator", "copy_pixels")
    assert report.context == 4 and report.gap == 8
    copied, none = (report.figure(a, "returned", "truth").value for a in ("copy_pixels", "none"))
    assert copied is not None and none is not None and copied > none + 5
    with pytest.raises(UsageError, match="frame by frame"):
        measure_revisit(model, env, Sampler("rolling", steps=2), config)


def test_a_model_that_learnt_without_depth_is_told_that_of_the_walks() -> None:
    told = nano_indoor_model()
    plain = WorldModel(told.config, replace(told.spec, depth=None)).eval().requires_grad_(False)
    plain.load_state_dict(told.state_dict())
    arms = ("none", "points_simulator")
    config = RevisitConfig(scenes=1, first_scene=3, routes=("spin",), arms=arms, seeds=1)
    env = apartment(split="validation")
    one, other = (measure_revisit(m, env, Sampler(steps=1), config) for m in (told, plain))
    assert other.arms == arms and plain.spec.depth is None
    for arm in arms:
        pair = [report.figure(arm, "returned", "truth").value for report in (one, other)]
        assert pair[0] == pytest.approx(pair[1])


@pytest.mark.slow
def test_the_command_measures_a_model_trained_for_a_few_steps(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, out = tmp_path / "data", tmp_path / "out"
    config = CollectionConfig(
        env_id="worldsim/IndoorNav-v0",
        env_kwargs={"image_size": SIZE, "scenes": 2, "max_episode_steps": GAP},
        behaviours={"random": Behaviour(weight=1.0, policy="random")},
        episodes=6,
    )
    collect(config, data, workers=0)
    quick = ("stage=all", "model.dynamics.name=pose", "model.head.depth=true")
    sizes = ("tokenizer.max_steps=4", "trainer.max_steps=4", "decoder.max_steps=2")
    less = ("validation.films=0", "validation.swap=false", "validation.step_counts=[]")
    assert train(data, tmp_path / "run", *quick, *sizes, *less, "model.memory.name=points") == 0
    words = [f"model={tmp_path / 'run'}", f"out={out}", f"env.image_size={SIZE}", "scenes=2"]
    words += ["routes=[spin,control]", "seeds=1", "arms=[none,points,oracle,copy_pixels]"]
    assert main(["revisit", *words, "gap=6", "film_arms=[points]"]) == 0
    said = capsys.readouterr().err
    table = said[said.index("arm ") :].splitlines()[:-1]
    assert max(map(len, table)) <= 80
    for arm in ("none", "points", "oracle", "copy_pixels"):
        assert f"\n{arm} " in said
    told = json.loads((out / "revisit.json").read_text())
    assert told["arms"]["copy_pixels"]["gain_db"]["value"] > 0
    assert told["model"]["depth_assisted"] is True and len(told["walks"]) == 4
    page = (out / "revisit.html").read_text()
    assert page.count("<video") == 2 and "depth-assisted" in page
    assert len(list((out / "films").glob("*.mp4"))) == 2
