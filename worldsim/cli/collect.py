"""`worldsim collect`: record episodes of an environment as a LeRobot v3 data set."""

from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from worldsim.cli.console import finish, progress, say
from worldsim.config import build
from worldsim.data.behaviours import Behaviour
from worldsim.data.collection import Collection, finished_dataset, has_expert
from worldsim.data.dataset import LeRobotDataset
from worldsim.data.recorder import CollectionConfig
from worldsim.data.summary import behaviour_lines
from worldsim.data.video import VideoCodec
from worldsim.errors import UsageError, unknown_name

DESCRIPTION = """\
Record episodes of an environment: several cameras, actions commanded and achieved, success,
simulator state. Experts, noisy, failing and aimless behaviour are mixed. An interrupted
collection continues when the same command is given again.
"""

EXAMPLES = """\
worldsim collect out=data/push episodes=200
worldsim collect env=pick_place out=data/pick episodes=400 seed=1 workers=4
worldsim collect env=gymnasium env.id=Pusher-v5 out=data/pusher mixture=unscripted \\
  'env.cameras=[{name: front, position: [1.7,-0.3,0.9], target: [0.25,-0.25,-0.2]}]'
"""


def run(config: DictConfig) -> None:
    """Collect what `configs/collect.yaml` and the overrides describe."""
    plain = OmegaConf.to_container(config, resolve=True)
    assert isinstance(plain, dict)
    settings: dict[str, Any] = {str(key): value for key, value in plain.items()}
    collection = _collection(settings)
    root = Path(settings["out"])
    dataset = _collect(collection, root, int(settings["workers"]))
    for line in behaviour_lines(dataset):
        say(line)
    finish(f"data set of {dataset.num_episodes} episodes", root)


def _collection(settings: dict[str, Any]) -> CollectionConfig:
    env = dict(settings["env"] or {})
    if not env.get("id"):
        raise UsageError("collect needs env.id; choose one of the env group, such as env=push")
    env_id = str(env.pop("id"))
    kwargs = {**(env.pop("kwargs", None) or {}), **env}
    names = ("episodes", "seed", "max_steps", "steps_after_success")
    return CollectionConfig(
        env_id=env_id,
        env_kwargs=kwargs,
        behaviours=_mixture(settings, env_id, kwargs),
        factors=settings["factors"] or {},
        codec=build(VideoCodec, settings["codec"], "codec"),
        **{name: settings[name] for name in names},
    )


def _mixture(settings: dict[str, Any], env_id: str, kwargs: dict[str, Any]) -> dict[str, Behaviour]:
    name, mixtures = settings["mixture"], settings["mixtures"]
    if name == "auto":
        name = "scripted" if has_expert(env_id, kwargs) else "unscripted"
    if name not in mixtures:
        raise unknown_name("mixture", name, ["auto", *mixtures])
    return {
        part: build(Behaviour, node, f"mixtures.{name}.{part}")
        for part, node in mixtures[name].items()
        if node is not None
    }


def _collect(config: CollectionConfig, root: Path, workers: int) -> LeRobotDataset:
    """Run the collection with one bar for the episodes and one for the final files."""
    if (finished := finished_dataset(config, root)) is not None:
        return finished
    with Collection(config, root) as collection:
        done = config.episodes - len(collection.todo)
        with progress("episodes", config.episodes, done) as advance:
            for _ in collection.record(workers):
                advance(1)
        with progress("writing files", config.episodes) as advance:
            return collection.finalize(lambda *_: advance(1))
