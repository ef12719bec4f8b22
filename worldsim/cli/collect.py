"""`worldsim collect`: record episodes of an environment as a LeRobot v3 data set."""

from pathlib import Path

from omegaconf import DictConfig

from worldsim.cli.console import finish, progress, say
from worldsim.cli.settings.collect import AUTO, OWN, Settings
from worldsim.cli.settings.env import split_env_node
from worldsim.collection.collect import Collection, finished_dataset, usual_mixture
from worldsim.collection.recorder import CollectionConfig
from worldsim.config.compose import build
from worldsim.data.dataset import LeRobotDataset
from worldsim.data.summary import behaviour_lines

DESCRIPTION = """\
Record episodes of an environment: several cameras, actions commanded and achieved, success,
simulator state. Experts, noisy, failing and aimless behaviour are mixed. An interrupted
collection continues when the same command is given again.
"""

EXAMPLES = """\
worldsim collect out=data/push episodes=200
worldsim collect env=pick_place out=data/pick episodes=400 seed=1 workers=4
worldsim collect env=metaworld own=metaworld out=data/metaworld episodes=300
worldsim collect env=gymnasium env.id=Pusher-v5 out=data/pusher mixture=unscripted \\
  'env.cameras=[{name: front, position: [1.7,-0.3,0.9], target: [0.25,-0.25,-0.2]}]'
"""


def run(config: DictConfig) -> None:
    """Collect what `configs/collect.yaml` and the overrides describe."""
    settings = build(Settings, config)
    dataset = _collect(_collection(settings), settings.out, settings.workers)
    for line in behaviour_lines(dataset):
        say(line)
    finish(f"data set of {dataset.num_episodes} episodes", settings.out)


def _collection(settings: Settings) -> CollectionConfig:
    named, kwargs = split_env_node(settings.env or {})
    env_id = str(named)
    mixture = settings.mixture
    if mixture == AUTO and settings.own.policy != "random":
        mixture = OWN
    elif mixture == AUTO:
        mixture = usual_mixture(env_id, kwargs)
    behaviours = settings.mixtures[mixture]
    return CollectionConfig(
        env_id=env_id,
        env_kwargs=kwargs,
        behaviours={name: each for name, each in behaviours.items() if each is not None},
        episodes=settings.episodes,
        seed=settings.seed,
        max_steps=settings.max_steps,
        steps_after_success=settings.steps_after_success,
        factors=dict(settings.factors),
        codec=settings.codec,
    )


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
