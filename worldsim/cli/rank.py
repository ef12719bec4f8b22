"""`worldsim rank`: a pool of policies from the same starts in both worlds, and the verdict."""

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from worldsim.cli.console import finish, progress, say
from worldsim.errors import UsageError

DESCRIPTION = """
Rolls every policy of a pool out from the same starts in imagination and in the simulator, ranks
them in both, and says how far the imagined ranking can be trusted: rates with intervals,
correlations, MMRV, calibration. Real success rates in a CSV file can stand for the simulator.
Results are kept policy by policy; an interrupted ranking continues.
"""

EXAMPLES = """
worldsim rank experiment=push_pretrained out=runs/rank
worldsim rank model=runs/push out=runs/rank starts.count=32 sampling_steps=4
worldsim rank experiment=release model=runs/push release.shipping=true out=runs/release_push
worldsim rank model=runs/bot out=runs/r reference.csv=real.csv starts.dataset=data/bot max_steps=9
"""


RANKING_KEYS = (
    "null_policy",
    "bootstrap_samples",
    "level",
    "seed",
    "metric",
    "judge_validation",
)
EVAL_KEYS = (
    "max_steps",
    "seed",
    "batch_size",
    "watch_simulator",
    "gate",
    "gate_kind",
    "device",
)
"""Keys of the config that `RankingOptions` and `EvalConfig` take as they are."""


def run(config: DictConfig) -> None:
    """Roll out what is missing, then rank and report.

    Raises:
        UsageError: the config does not fit together.
        WorldsimError: something other than a policy failed; finished results stay.
    """
    from worldsim.cli.rank_report import earlier_sections, write_ranking
    from worldsim.cli.rank_validation import JudgeValidationRun
    from worldsim.config.compose import build
    from worldsim.ranking.releases import Release, ReleaseOptions
    from worldsim.reporting.terminal import print_ranking
    from worldsim.rollout.circumstances import Circumstances
    from worldsim.rollout.evaluator import Evaluator
    from worldsim.rollout.jobs import wanted_results
    from worldsim.rollout.results import write_eval_config

    plain = OmegaConf.to_container(config, resolve=True)
    assert isinstance(plain, dict)
    settings: dict[str, Any] = {str(key): value for key, value in plain.items()}
    out, films = Path(settings["out"]), int(settings["films"]["each"])
    eval_config, options = read_settings(settings)
    earlier = earlier_sections(settings["report"]["also"], films)
    worlds = (*options.worlds, *eval_config.baselines.chosen)
    evaluator = Evaluator(eval_config)
    evaluator.check(worlds)
    wanted, release = wanted_results(eval_config, worlds), None
    measured = JudgeValidationRun.asked(settings, evaluator, options)
    if eval_config.is_release:
        said = build(ReleaseOptions, settings["release"], "release")
        release = Release.begin(eval_config, out, options.metric, wanted, said)
    blocks, sentence = read_blocks(settings), release.sentence if release else None
    circumstances = Circumstances.of(eval_config, options, blocks, sentence)
    write_eval_config(out, eval_config, options, circumstances, wanted)
    roll_out_missing(config, out, eval_config, wanted)
    if measured is not None:
        measured.finish(config, out, circumstances)
    report = write_ranking(out, settings["report"], films, earlier)
    print_ranking(report)
    if release is not None:
        finish("release log", release.finish(report))
    finish("report", out / "report.html")
    finish("ranking", out / "ranking.json")


def roll_out_missing(config: DictConfig, out: Path, eval_config: Any, wanted: Any) -> None:
    """Say what is kept in a folder, and do the other jobs of `wanted_results`."""
    from worldsim.files import write_text
    from worldsim.rollout.jobs import run_missing, standing

    write_text(out / "config.yaml", OmegaConf.to_yaml(config, resolve=True))
    found, count = standing(out, wanted), eval_config.starts.count
    for line in found.in_words(eval_config):
        say(line)
    with progress("rollouts", len(wanted) * count, len(found.kept) * count) as advance:
        for _ in run_missing(eval_config, out, wanted, worker_count(config.workers)):
            advance(count)


def worker_count(workers: int | None) -> int:
    """Processes to use; None is one for each core this process may use."""
    if workers is None:
        return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1
    if workers < 0:
        raise UsageError(f"workers is {workers}; expected 0 or more, or null")
    return int(workers)


def read_settings(settings: dict[str, Any]) -> tuple[Any, Any]:
    """The `EvalConfig` and `RankingOptions` of a config.

    Raises:
        UsageError: a value is wrong, or a policy is not in the pool.
    """
    from worldsim.rollout.eval_config import RankingOptions
    from worldsim.rollout.logged import read_logged_rates

    csv = settings["reference"]["csv"]
    pool = settings["policy"] or {}
    if settings["pool"] == "release":
        pool = pool.get("release") or {}
    policies = chosen_policies(pool, settings["only"])
    if csv is not None:
        if not Path(csv).is_file():
            raise UsageError(f"reference.csv={csv}: no such file")
        read_logged_rates(Path(csv)).of(tuple(policies))  # before rolling out what it lacks
    groups = {
        name: str(group)
        for group, names in (pool.get("groups") or {}).items()
        for name in names
        if name in policies
    }
    options = RankingOptions(
        reference_csv=csv,
        groups=groups | (settings["groups"] or {}),
        **{key: settings[key] for key in RANKING_KEYS},
    )
    return read_eval_config(settings, policies), options


def read_blocks(settings: dict[str, Any]) -> Any:
    """The `StartBlocks` of a config."""
    from worldsim.config.compose import build
    from worldsim.rollout.start_blocks import SeedBlock, StartBlocks

    named = settings["start_blocks"].items()
    return StartBlocks({n: build(SeedBlock, b, f"start_blocks.{n}") for n, b in named})


def read_eval_config(settings: dict[str, Any], policies: dict[str, Any]) -> Any:
    """The `EvalConfig` that `rank` and `rollout` configs describe."""
    from worldsim.cli.settings.env import split_env_node
    from worldsim.config.compose import build
    from worldsim.judge.finding import judge_folder
    from worldsim.models.pretrained import resolve_folder
    from worldsim.models.world_model import trained_config
    from worldsim.rollout.baselines import BaselineOptions
    from worldsim.rollout.eval_config import EvalConfig, StartPlan
    from worldsim.sampling.sampler import default_steps

    starts = read_blocks(settings).place(build(StartPlan, settings["starts"], "starts"))
    env_id, kwargs = split_env_node(settings["env"] or {})
    model = resolve_folder(settings["model"])
    baselines = build(BaselineOptions, settings.get("baselines") or {}, "baselines")
    if (other := baselines.demonstrations) is not None:
        baselines = replace(baselines, demonstrations=str(resolve_folder(other)))
    return EvalConfig(
        policies=policies,
        env_id=None if starts.dataset and settings.get("reference", {}).get("csv") else env_id,
        env_kwargs={key: value for key, value in kwargs.items() if value is not None},
        model=str(model),
        judge=str(judge_folder(settings["judge"], settings["model"])),
        starts=starts,
        sampling_steps=settings["sampling_steps"] or default_steps(trained_config(model)),
        films=settings["films"]["starts"],
        pool=settings.get("pool", "development"),
        baselines=baselines,
        hold=settings.get("hold"),
        **{key: settings[key] for key in EVAL_KEYS},
    )


def chosen_policies(pool: dict[str, Any], only: list[str]) -> dict[str, Any]:
    """{name: entry} of the pool, or of the policies named in `only`.

    Raises:
        UsageError: the pool is empty, or a name is not in it.
    """
    from worldsim.errors import unknown_name
    from worldsim.policies.pool import pool_entries

    entries = pool_entries(pool)
    if not entries:
        raise UsageError("no policies; choose a pool, such as policy=pool_push")
    for name in only:
        if name not in entries:
            raise unknown_name("policy of this pool", name, map(str, entries))
    return {str(name): dict(entries[name]) for name in (only or entries)}
