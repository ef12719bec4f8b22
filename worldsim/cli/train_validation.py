"""What `worldsim train` measures of a world model."""

import math
from typing import Any

from omegaconf import DictConfig

from worldsim.cli.console import counted, say


def validators(config: DictConfig, cache: Any, folder: Any) -> tuple[Any, Any]:
    """What measures a model while it trains, and what measures the finished one."""
    from worldsim.config.compose import build
    from worldsim.data.pieces import in_pieces
    from worldsim.data.split import episodes_of
    from worldsim.training.config import ValidationConfig
    from worldsim.validation.open_loop import acting

    settings = build(ValidationConfig, config.validation, "validation")
    held_out = acting(cache, episodes_of(cache.folds, "val"))[: settings.episodes]
    if settings.piece:
        cache, held_out = in_pieces(cache, held_out, settings.piece)
    return (
        _validator(settings, held_out, cache, folder),
        lambda model: _step_quality(model, cache, held_out, settings),
    )


def _validator(settings: Any, held_out: list[int], cache: Any, folder: Any) -> Any:
    """Open-loop validation: figures to validation.json and the log, films to films/."""
    from worldsim.files import write_figures
    from worldsim.reporting.film import write_film
    from worldsim.sampling.sampler import Sampler
    from worldsim.validation.film_distance import FilmTally, load_extractors
    from worldsim.validation.open_loop import open_loop_records
    from worldsim.validation.open_loop_report import evaluate_open_loop

    extractors = load_extractors(settings.film_distance)

    def validate(model: Any, step: int) -> dict[str, float]:
        steps = _steps(model, settings)
        if not held_out:
            say("validation is skipped: no episode is held out that shows an action; record more")
            return {}
        longest, clips = settings.max_steps, settings.film_distance
        films = FilmTally(model, cache, held_out, longest, steps, clips, extractors)
        with counted("validation steps") as show:
            report = evaluate_open_loop(model, cache, held_out, steps, longest, show, films.add)
        found = {"step": step, **report.to_json(), "film_distance": films.to_json()}
        if settings.swap and (swapped := _swap(model, cache, held_out, settings)):
            found["swap"] = swapped
        write_figures(folder.root / "validation.json", found)
        shown = held_out[: settings.films]
        for record in open_loop_records(
            model, cache, shown, Sampler.of(model, steps), settings.max_steps, _called(settings)
        ):
            name = record.title.split(",")[0].replace(" ", "_")
            write_film(folder.films / f"step_{step:07d}_{name}.mp4", record)
        for line in (_in_words(report, settings), *films.lines()):
            say(line)
        return report.summary() | films.summary()

    return validate


def _steps(model: Any, settings: Any) -> int:
    """Denoising steps a frame: as asked for, as far as the model's levels allow, or its own."""
    from worldsim.sampling.sampler import default_steps

    asked = settings.sampling_steps
    return default_steps(model.config) if asked is None else int(model.config.ladder.nearest(asked))


def _called(settings: Any) -> str:
    """What is imagined from its first frame."""
    return "piece" if settings.piece else "episode"


def _in_words(report: Any, settings: Any) -> str:
    """The headline of an open-loop report, with intervals."""
    from worldsim.ranking.bootstrap import Estimate, finite

    summary, intervals = report.summary(), report.intervals

    def figure(key: str, scale: float) -> str:
        ends = intervals.get(key)
        scaled = None if ends is None else (scale * ends[0], scale * ends[1])
        return Estimate(finite(scale * summary[key]), scaled).text(1)

    places = "".join(f"; {name} {figure(f'{name}_error_m', 100)} cm off" for name in report.error_m)
    moved = math.isfinite(summary["psnr_moving_model"])
    where, of = ("where something moved", "psnr_moving") if moved else ("nothing moved;", "psnr")
    count = f"{_called(settings)}{'' if report.episodes[0] == 1 else 's'}"
    return (
        f"open loop, {report.episodes[0]} held-out {count}: {where} "
        f"{figure(f'{of}_model', 1)} dB, the first frame held "
        f"{figure(f'{of}_first_frame', 1)}{places}"
    )


def _swap(model: Any, cache: Any, held_out: list[int], settings: Any) -> dict[str, Any] | None:
    """Figures of the swap test, None where the simulator cannot replay."""
    from worldsim.errors import WorldsimError
    from worldsim.validation.action_swap import swap_test

    try:
        report = swap_test(model, cache, held_out, None, _steps(model, settings))
    except (WorldsimError, ImportError) as error:
        say(f"swap test is skipped: {error}")
        return None
    say(
        f"swapped actions move the simulator's end effector by {report.effect_m:.3f} m; "
        f"the imagined one follows within {report.followed_m:.3f} m, in the frames within "
        f"{report.seen_m:.3f} m "
        f"({report.drives} episodes, {report.steps} steps)"
    )
    return report.to_json()


def _step_quality(model: Any, cache: Any, held_out: list[int], settings: Any) -> Any:
    """Quality by number of denoising steps, None where it is not asked for or cannot be told."""
    from worldsim.models.quality import StepQuality
    from worldsim.validation.open_loop_report import evaluate_open_loop

    if not held_out or not settings.step_counts:
        return None
    found = {
        steps: evaluate_open_loop(model, cache, held_out, steps, settings.step_horizon).summary()[
            "psnr_moving_model"
        ]
        for steps in settings.step_counts
        if model.config.ladder.fits(steps)
    }
    known = {steps: db for steps, db in found.items() if math.isfinite(db)}
    return StepQuality(known) if known else None
