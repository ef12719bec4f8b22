"""Recorded episodes as walks: their first frames are shown, and those that follow imagined.

So is Memory Maze's spatial retrieval measured in 2505.20171: the way of an episode's second half
leads along that of its first. Nothing is drawn; where cameras stood, the data set tells.

Legend: T frames of a walk, V views, H W pixels.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from worldsim.config.limits import Count
from worldsim.config.values import Checked
from worldsim.data.dataset import LeRobotDataset
from worldsim.data.episode import Episode
from worldsim.data.split import Split, episodes_of
from worldsim.errors import DataError, UsageError
from worldsim.models.lpips import Lpips
from worldsim.models.world_model import WorldModel
from worldsim.validation.revisit.places import Place, RevisitConfig, place_of
from worldsim.validation.revisit.walk import RecordedScene, Walk

UNNAMED = "episode"
"""Route of an episode whose behaviour was not recorded."""


@dataclass(frozen=True)
class RecordedConfig(Checked):
    """Attributes:
    part: of the data set: the episodes held out from training, the others, or all.
    shown: frames of an episode that are shown; None takes the first half.
    imagined: frames imagined after them; None takes all that follow.
    """

    part: Split = "val"
    shown: Count | None = None
    imagined: Count | None = None


def recorded_places(
    dataset: LeRobotDataset,
    model: WorldModel,
    config: RevisitConfig,
    recorded: RecordedConfig,
    gap: int,
    lpips: Lpips | None = None,
    on_step: Callable[[int], None] | None = None,
) -> list[Place]:
    """Walks of a data set's episodes, each a scene of its own.

    Args:
        dataset: with poses of cameras; with depth, what was seen before is known too.
        model: of the same world.
        config: `scenes` episodes at most, from number `first_scene` of the part on.
        recorded: which part of the data set, and how much of an episode is shown.
        gap: frames in a row that what returned was out of sight.
        lpips: the network, where there are weights.
        on_step: called with 1 when an episode is read.

    Raises:
        UsageError: the data set records no poses of cameras.
        DataError: the part holds no such episode, or one is too short.
        SpecMismatchError: model and data set describe different worlds.
    """
    model.spec.require_compatible(dataset.spec, "the model", "the data set", stateless=True)
    if not dataset.spec.camera_pose:
        raise UsageError(
            f"{dataset.root} records no poses of cameras, without which nobody knows what comes "
            "back; record them: env.pose says where the camera of a foreign env stands"
        )
    every = episodes_of(dataset.folds, recorded.part)
    chosen = every[config.first_scene : config.first_scene + config.scenes]
    if not chosen:
        raise DataError(
            f"{dataset.root} has {len(every)} episodes in part={recorded.part}, and none from "
            f"first_scene={config.first_scene} on; lower it, or take part=all"
        )
    places = []
    for number in chosen:
        walk = recorded_walk(dataset, number, recorded)
        places.append(place_of(walk, gap, config, lpips))
        if on_step is not None:
            on_step(1)
    return places


def recorded_walk(dataset: LeRobotDataset, number: int, config: RecordedConfig) -> Walk:
    """An episode as a walk; its route is the behaviour that made it.

    Raises:
        UsageError: it has no calibration of cameras.
        DataError: it is too short for what is to be shown and imagined.
    """
    episode, spec = dataset.episode(number), dataset.spec
    index = dataset.record(number).index
    back, end = _split(episode, config, f"{dataset.root}, episode {index}")
    if (rig := episode.meta.rig) is None:
        raise UsageError(f"{dataset.root}, episode {index} has no calibration of its cameras")
    pixels = np.stack([episode.pixels[name][:end] for name in spec.camera_names], axis=1)
    poses = np.asarray(episode.extras["camera_pose"][:end], np.float32)
    # Depth of 0 is unknown, so without a recorded one nothing counts as seen.
    depth = np.zeros(pixels.shape[:-1], np.float32)
    if spec.depth is not None:
        depth = np.asarray(episode.extras["depth"][:end], np.float32)
    ahead = poses[:, 0, :2, 2].astype(np.float64)
    return Walk(
        route=episode.meta.behaviour or UNNAMED,
        scene=RecordedScene(index),
        spec=spec,
        rig=rig.arranged(spec.camera_names),
        actions=np.asarray(episode.action[: end - 1], np.float32),
        pixels=pixels,
        depth=depth,
        poses=poses,
        agent_pos=np.asarray(episode.agent_pos[:end], np.float32),
        places=poses[:, 0, :2, 3].astype(np.float64),
        headings=np.arctan2(ahead[:, 1], ahead[:, 0]),
        back=back,
    )


def _split(episode: Episode, config: RecordedConfig, where: str) -> tuple[int, int]:
    """First frame that is imagined, and the one after the last."""
    frames = episode.length + 1
    back = frames // 2 if config.shown is None else config.shown
    end = frames if config.imagined is None else back + config.imagined
    if not 0 < back < frames or end > frames:
        asked = "at least 1" if config.imagined is None else config.imagined
        raise DataError(
            f"{where} has {frames} frames; expected {back} that are shown and {asked} imagined; "
            "lower shown or imagined"
        )
    return back, end
