"""`worldsim train`: tokenizer, latents, world model and judge on a data set."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig, OmegaConf

from worldsim.cli.console import CONSOLE, counted, finish, say
from worldsim.cli.train_validation import validators
from worldsim.errors import DataError

if TYPE_CHECKING:
    from worldsim.data.selection import Selection

DESCRIPTION = """
Trains on a LeRobot data set: a tokenizer, the latents of all frames, the dynamics of hand and
scene, the world model (denoiser and state head), its decoder further, and a judge. Finished stages
are skipped; an interrupted one goes on from its last checkpoint, to the same loss curve. The run
folder holds config, metrics, films and, in `model/` and `judge/`, what `worldsim rollout` and
`worldsim rank` take.
"""

EXAMPLES = """
worldsim train dataset=data/push out=runs/push
worldsim train dataset=data/push out=runs/push stage=world trainer.max_steps=2000
worldsim train dataset=data/push out=runs/b reuse=runs/push plan=self_rollout trainer.max_time_s=600
worldsim train dataset=data/push out=runs/dit model=tiny_dit trainer.threads=2
worldsim train dataset=data/push out=runs/policies stage=policies
"""


def prepare(config: DictConfig, overrides: list[str]) -> DictConfig:
    """The config with the sizes of the models that it takes over.

    Raises:
        UsageError: the overrides ask for other sizes than those.
    """
    from worldsim.config.compose import stated_keys
    from worldsim.training.stages.parents import inherited

    if str(config.stage) in ("judge", "policies"):  # which do not read `model`
        return config
    return inherited(config, stated_keys(overrides, "model"))


def run(config: DictConfig) -> None:
    """Run the stages asked for.

    Raises:
        UsageError: the config is wrong, or the run folder belongs to another config.
        DataError: the data set or a checkpoint cannot be read.
    """
    from worldsim.cli.settings.train import Settings
    from worldsim.config.compose import build
    from worldsim.training.config import STAGES
    from worldsim.training.run_folder import RunFolder, describe_environment
    from worldsim.training.stages.decoder import DecoderStage
    from worldsim.training.stages.dynamics import DynamicsStage
    from worldsim.training.stages.latents import LatentsStage
    from worldsim.training.stages.stage import TrainingRun
    from worldsim.training.stages.tokenizer import TokenizerStage
    from worldsim.training.stages.world import WorldStage

    settings = build(Settings, config)
    training, stage = settings.training.config(settings.validation.every), settings.stage
    folder = RunFolder(settings.out)
    cache = _open_data(
        settings.dataset, settings.size, settings.factor, settings.cache, settings.selection
    )
    shared = TrainingRun(training, cache, folder)
    names = _stages(config, cache) if stage == "all" else [stage]
    shared.check([name for name in STAGES if name in names])
    _record(folder.root, config, describe_environment())
    steps: dict[str, Callable[[], bool]] = {
        "tokenizer": TokenizerStage(shared),
        "latents": LatentsStage(shared),
        "dynamics": DynamicsStage(shared),
        "world": lambda: WorldStage(shared, *validators(config, cache, folder))(),
        "decoder": lambda: DecoderStage(shared, *validators(config, cache, folder))(),
        "judge": lambda: _judge(config, cache, folder),
        "policies": lambda: _policies(config, cache, folder.root, training.run),
    }
    for name in names:
        say(f"{name}: {'done' if steps[name]() else 'was finished before'}")
    finish("run", folder.root)


def _stages(config: DictConfig, cache: Any) -> list[str]:
    """All stages, without the judge's where the recordings cannot teach it success."""
    from worldsim.config.compose import build
    from worldsim.judge.sampling import JudgeConfig, taught_rows
    from worldsim.training.config import STAGES

    try:
        taught_rows(cache, build(JudgeConfig, config.judge, "judge"))
    except DataError as error:
        say(
            f"warning: {error}. The world model is trained without a judge: it imagines, but "
            "cannot rank, and is no gymnasium env until stage=judge has run on labelled episodes"
        )
        return [name for name in STAGES if name != "judge"]
    return list(STAGES)


def _open_data(
    root: Path,
    size: tuple[int, int] | None,
    factor: int,
    place: Path | None = None,
    selection: "Selection | None" = None,
) -> Any:
    from worldsim.data.cache import build_cache
    from worldsim.data.cache_writer import fitting_size, resized_spec
    from worldsim.data.dataset import LeRobotDataset
    from worldsim.data.faults import settle
    from worldsim.data.verify import training_faults
    from worldsim.models.tokenizers.base import require_image_size

    dataset = LeRobotDataset(root, selection)
    settle(root, training_faults(dataset))
    if not dataset.env_info and dataset.meaning:
        say(f"{dataset.meaning[0]}; `worldsim data inspect root={root}` shows the evidence")
    if size is None and (size := fitting_size(dataset, 2 * factor)) is not None:
        say(
            f"frames are resized to {size[0]}x{size[1]}, since all cameras need one size of "
            f"multiples of {2 * factor}; image_size=[HEIGHT,WIDTH] says otherwise"
        )
    camera = resized_spec(dataset, size).cameras[0]
    require_image_size(camera.height, camera.width, factor)
    with counted("decoded episodes") as show:
        return build_cache(root, size, place, show, selection)


def _record(root: Path, config: DictConfig, environment: dict[str, Any]) -> None:
    """Write the resolved config and what it runs on."""
    from worldsim.files import write_json, write_text

    root.mkdir(parents=True, exist_ok=True)
    write_text(root / "config.yaml", OmegaConf.to_yaml(config, resolve=True))
    write_json(root / "environment.json", environment)


def _without_later_keys(judge: DictConfig) -> Any:
    """The node `judge` as judges of before had it, so that these count as finished."""
    asked = OmegaConf.to_container(judge)
    assert isinstance(asked, dict)
    usual = {"gate_draws": 0, "kind": "learned"}
    return {name: value for name, value in asked.items() if usual.get(str(name), None) != value}


def _judge(config: DictConfig, cache: Any, folder: Any) -> bool:
    """Train the judge; False if that was done already."""
    from worldsim.config.compose import build
    from worldsim.judge.sampling import JudgeConfig, tells_progress
    from worldsim.judge.training import env_of, train_judge
    from worldsim.models.world_model import WorldModel
    from worldsim.reporting.terminal import judge_table
    from worldsim.training.run_folder import file_fingerprint, fingerprint

    settings = build(JudgeConfig, config.judge, "judge")
    model_path = folder.model / "model.safetensors"
    model = WorldModel.from_pretrained(folder.model) if model_path.exists() else None
    if model is None:
        print(
            f"warning: no world model in {folder.model}, so the judge learns from recorded frames "
            "alone, and mistakes more in imagination; run stage=judge again once there is one"
        )
    # The judge also sees frames as this very model shows them.
    seen = [cache.fingerprint, file_fingerprint(model_path)]
    key = fingerprint([_without_later_keys(config.judge), *seen])
    if folder.is_finished("judge", key, bool(config.overwrite)):
        return False
    if not tells_progress(cache):
        say(
            "warning: the recordings tell no progress (a column progress or next.progress), so the "
            "judge learns success alone: an imagined reward will be the success bonus, and nothing "
            "on the way to it"
        )
    judge = train_judge(
        cache,
        cache.spec,
        settings,
        folder.judge,
        model=model,
        weights=seen[-1],
        source=str(config.dataset),
        env=env_of(cache.root),
        show_progress=bool(config.trainer.progress),
    )
    folder.finish("judge", key, report=judge.report.to_json())
    CONSOLE.print(judge_table(judge.report), width=80)
    if judge.report.strayed is not None:
        say(
            f"{judge.report.strayed:.0%} of the imagined training frames no longer showed what was "
            "recorded, and were left out"
        )
    return True


def _policies(config: DictConfig, cache: Any, out: Path, run: Any) -> bool:
    """Train the policies' networks; False if that was done already."""
    from worldsim.imitation.stage import train_policies

    wanted = OmegaConf.to_container(config.policy_training, resolve=True)
    assert isinstance(wanted, dict)
    plain = {str(key): value for key, value in wanted.items()}
    return train_policies(cache, plain, out, run, bool(config.overwrite))
