"""Instructions of any kind lie in the observation spaces, and gymnasium's tools take them."""

import copy
import multiprocessing
from dataclasses import replace
from multiprocessing.reduction import ForkingPickler
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.vector.utils import (
    batch_space,
    create_empty_array,
    create_shared_memory,
    read_from_shared_memory,
    write_to_shared_memory,
)
from imagination_testing import nano_env, nano_judge, nano_starts, nano_vector_env
from worldsim_testing import nano_model, nano_spec

from worldsim.envs import ENTRY_POINTS, make
from worldsim.envs.imagination import FrameStarts, ImaginationEnv
from worldsim.envs.spaces import MOST_CHARACTERS, TaskText
from worldsim.errors import UsageError

INSTRUCTIONS = (
    "Don't drop it (left)",
    "",
    "Pick up the #2 cup: “gently”, then wait; is it 50% full?",
    "把红色的方块推到左边 🟥→⬅️",
    "Ü" * 700,
    "two\nlines",
)
CAMERA = {"name": "front", "position": [1.7, -0.3, 0.9], "target": [0.25, -0.25, -0.2]}


@pytest.mark.parametrize("text", INSTRUCTIONS)
def test_any_instruction_is_in_the_space_and_survives_gymnasiums_tools(text: str) -> None:
    space = TaskText()
    assert space.contains(text)
    flat: Any = spaces.flatten(space, text)
    box: Any = spaces.flatten_space(space)
    assert box.contains(flat)
    assert spaces.unflatten(space, flat) == text
    memory: Any = create_shared_memory(space, n=2, ctx=multiprocessing)
    value: Any = text
    write_to_shared_memory(space, 1, value, memory)
    read: Any = read_from_shared_memory(space, memory, n=2)
    assert read[1] == text
    assert batch_space(space, 2).contains((text, ""))


def test_it_is_a_space_like_any_other() -> None:
    space = TaskText()
    space.seed(0)
    drawn = [space.sample() for _ in range(5)]
    space.seed(0)
    assert drawn == [space.sample() for _ in range(5)] and len(set(drawn)) == 5
    assert all(space.contains(text) for text in drawn)
    assert len(space.sample(mask=(3, None))) == 3
    with pytest.raises(UsageError, match="masked"):
        space.sample(mask=(3, np.ones(4, np.int8)))
    assert not space.contains("a" * (MOST_CHARACTERS + 1)) and not space.contains(3)
    sent = ForkingPickler.dumps(space)
    for twin in (copy.deepcopy(space), ForkingPickler.loads(sent), TaskText()):
        assert twin == space
    assert space != spaces.Text(MOST_CHARACTERS, min_length=0)
    assert create_empty_array(space, 2) == ("", "")
    assert len(repr(space)) < 40 and len(sent) < 10_000


@pytest.mark.parametrize("env_id", [name for name in ENTRY_POINTS if "Tabletop" in name])
def test_simulators_and_their_imagination_have_it(env_id: str) -> None:
    env = make(env_id, image_size=16)
    assert isinstance(env.observation_space, spaces.Dict)
    assert env.observation_space["task"] == TaskText()
    assert env.observation_space.contains(env.reset(seed=0)[0])


@pytest.mark.parametrize("text", INSTRUCTIONS)
def test_observations_stay_in_their_space(text: str) -> None:
    starts = [replace(start, task=text) for start in nano_starts()]
    source = FrameStarts(starts, nano_spec())
    single = ImaginationEnv(nano_model(), nano_judge(), source, sampling_steps=1)
    vector = nano_vector_env(2, starts=source)
    for env in (single, vector):
        assert env.observation_space.contains(env.reset(seed=0)[0])
        assert env.observation_space.contains(env.step(env.action_space.sample())[0])
    if text:
        foreign = gymnasium.make(
            "worldsim/Foreign-v0", source="Pusher-v5", cameras=[CAMERA], task=text, image_size=16
        )
        observation = foreign.reset(seed=0)[0]
        assert observation["task"] == text and foreign.observation_space.contains(observation)
        foreign.close()


def test_an_observation_without_an_instruction_is_in_the_space() -> None:
    env = nano_env()
    start = nano_starts(1)[0]
    seen, _ = env.reset(
        options={"initial_state": {"pixels": start.pixels, "agent_pos": start.agent_pos}}
    )
    assert seen["task"] == "" and env.observation_space.contains(seen)
