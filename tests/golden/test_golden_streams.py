"""Golden streams: the first latents and frames of every shipped model, in single precision."""

from pathlib import Path

import numpy as np
import pytest
import torch
from golden_store import FOLDER, WRITES, check, sketch

from worldsim.conventions import stack_views
from worldsim.models.world_model import WorldModel
from worldsim.sampling.sampler import Sampler
from worldsim.sampling.stream import Stream

FRAMES = 30
SHIPPED = {"push": "Push", "pick_place": "PickPlace", "shuttle": "Shuttle"}


def start_of(name: str) -> dict[str, np.ndarray]:
    """A recorded first observation; it is stored, since renderers differ between machines."""
    path = FOLDER / f"start_{name}.npz"
    if WRITES:
        _record(path, f"worldsim/Tabletop{SHIPPED[name]}-v0")
    with np.load(path, allow_pickle=False) as stored:
        return dict(stored)


def _record(path: Path, env_id: str) -> None:
    from worldsim.envs import make

    env = make(env_id)
    observation, info = env.reset(seed=123)
    simulator = env.unwrapped
    rig = simulator.camera_rig  # type: ignore[attr-defined]
    np.savez_compressed(
        path,
        pixels=stack_views(observation["pixels"], rig.names),
        agent_pos=observation["agent_pos"],
        state=info["state"],
        intrinsics=rig.intrinsics,
        extrinsics=rig.extrinsics,
        mounted=rig.mounted,
    )
    env.close()


@pytest.mark.parametrize("name", list(SHIPPED))
def test_first_frames_of_a_shipped_model(name: str) -> None:
    model, start = WorldModel.from_pretrained(f"shipped/{name}"), start_of(name)
    stream = Stream(model, Sampler(steps=2).schedule(), precision="float32")
    rig = {key: start[key][None] for key in ("intrinsics", "extrinsics", "mounted")}
    stream.reset(start["pixels"][None], start["agent_pos"][None], rig, state=start["state"][None])
    actions = np.random.default_rng(0).uniform(-1, 1, (FRAMES, 1, 5)).astype(np.float32)
    latents, places, frames = [], [], []
    with torch.inference_mode():
        for action in actions:
            chunk = stream.act(action)
            latents.append(chunk.latents[0, 0].numpy())
            places.append(torch.cat([chunk.agent_pos, chunk.state], -1)[0, 0].numpy())
            frames.append(stream.pixels()[0])
    found = {
        "latents": [sketch(np.stack(part)) for part in (latents[:10], latents[10:])],
        "places": sketch(np.stack(places)),
        "frames": sketch(np.stack(frames)),
    }
    # Elsewhere rounding differs by a millionth a frame, and thirty frames of contact magnify it.
    check(f"stream_{name}", found, rel=1e-2, abs=2e-2 if name != "frames" else 2)
