"""`worldsim drift`: long imagined streams beside the simulator, step by step."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig, OmegaConf

from worldsim.cli.console import finish, progress, say

if TYPE_CHECKING:
    import torch

    from worldsim.cli.settings.drift import Settings
    from worldsim.judge.judge import Judge
    from worldsim.validation.film_distance import FilmTally

DESCRIPTION = """
Imagines recorded episodes from their first frames under their own actions, for as long as they
last, and says how long the model stays better than repeating the first frame, how brightness,
colour, sharpness and motion drift from the simulator's, and how far hand and things are off, also
in multiples of how far the simulator diverges from itself.
"""

EXAMPLES = """
worldsim drift dataset=data/push_long model=shipped/push out=runs/drift
worldsim drift dataset=data/push_long model=runs/push sampler.kind=rolling out=runs/rolling
worldsim drift dataset=data/push_long title=rolling out=runs/d 'also=[runs/drift]'
"""


def run(config: DictConfig) -> None:
    """Measure, write figures and films, and print the summary.

    Raises:
        UsageError: the config does not fit together.
        WorldsimError: the data set or the model is broken.
    """
    from worldsim.cli.settings.drift import Settings
    from worldsim.config.compose import build
    from worldsim.data.cache import build_cache
    from worldsim.data.cache_writer import resizing
    from worldsim.data.dataset import LeRobotDataset
    from worldsim.files import write_figures, write_text
    from worldsim.hardware import inference_device
    from worldsim.models.world_model import WorldModel
    from worldsim.reporting.drift_page import read_column, write_drift_page
    from worldsim.sampling.stream import Stream
    from worldsim.validation.drift import measure_drift

    settings = build(Settings, config)
    drift = settings.drift
    earlier = [read_column(folder) for folder in settings.also]
    recorded = LeRobotDataset(settings.dataset, settings.selection)
    model = WorldModel.from_pretrained(settings.model)
    sampler = settings.sampler.of(model.config)
    Stream.of(model, sampler)  # refuses what the model was not trained for
    device = inference_device(settings.device)
    model.to(device)
    judge = _judge(settings.judge, settings.model, device)
    camera = model.spec.cameras[0]
    size = resizing(recorded, (camera.height, camera.width))
    cache = build_cache(recorded.root, size, settings.cache, selection=settings.selection)
    episodes = list(range(cache.num_episodes))
    longest = max(cache.rows(e).stop - cache.rows(e).start - 1 for e in episodes)
    steps = min(longest, drift.max_steps) if drift.max_steps else longest
    films = _film_tally(settings, model, cache, episodes, sampler.steps)
    with progress("steps", steps) as advance:
        report = measure_drift(
            model, cache, episodes, sampler, drift, lambda _: advance(1), judge, films.add
        )
    out = settings.out
    out.mkdir(parents=True, exist_ok=True)
    write_text(out / "config.yaml", OmegaConf.to_yaml(config, resolve=True))
    figures = {**report.to_json(), "film_distance": films.to_json()}
    write_figures(out / "drift.json", {"title": settings.title, **figures})
    _write_films(out / "films", model, cache, episodes[: settings.films], sampler, drift.max_steps)
    write_drift_page(out / "drift.html", [read_column(out), *earlier])
    for line in summary_lines(report.summary(), report.intervals()) + films.lines():
        say(line)
    finish("drift", out / "drift.html")


def _write_films(
    folder: Path, model: Any, cache: Any, episodes: list[int], sampler: Any, longest: int
) -> None:
    """Truth and imagination of episodes, numbered."""
    from worldsim.validation.open_loop import open_loop_records

    records = open_loop_records(model, cache, episodes, sampler, longest)
    for number, record in enumerate(records):
        record.save(folder / f"{number:04d}.npz")


def _film_tally(
    settings: "Settings", model: Any, cache: Any, episodes: list[int], steps: int
) -> "FilmTally":
    """What compares clips as they are imagined, with `steps` denoising steps a frame."""
    from worldsim.validation.film_distance import FilmTally, load_extractors

    config, longest = settings.film_distance, settings.drift.max_steps
    extractors = load_extractors(config)
    return FilmTally(model, cache, episodes, longest, steps, config, extractors)


def _judge(name: str | None, model: str, device: "torch.device") -> "Judge | None":
    """Who reads places off the frames: the judge asked for, or the one that lies with the model."""
    from worldsim.judge.finding import find_judge

    judge = find_judge(name, model)
    if judge is None:
        say("no judge lies with this model: places are not read off its frames; give judge=FOLDER")
        return None
    return judge.to(device)


def summary_lines(
    summary: dict[str, float], intervals: dict[str, tuple[float, float]]
) -> list[str]:
    """What matters of the summary, for a terminal."""

    def ends(key: str, shape: str) -> str:
        """The interval of a figure, with a blank before it, or nothing."""
        found = intervals.get(key)
        return "" if found is None else f" [{', '.join(shape.format(end) for end in found)}]"

    valid, under_others = (
        summary["valid_horizon_first_frame"],
        summary.get("valid_horizon_shuffled_actions"),  # a single episode has none
    )
    shuffled = "" if under_others is None else f", than shuffled actions for {under_others:.0f}"
    lines = [
        f"better than the first frame held for {valid:.0f} steps{shuffled}",
        f"PSNR {summary['psnr_model']:.1f} dB, where something moved "
        f"{summary['psnr_moving_model']:.1f}{ends('psnr_moving_model', '{:.1f}')}",
    ]
    for measure in ("luminance", "saturation", "sharpness", "motion"):
        lines.append(
            f"{measure:>10} at the end {summary[f'drift_{measure}']:+.1%} of the simulator's"
            + ends(f"drift_{measure}", "{:+.1%}")
        )
    return lines + [line for name in _places(summary) for line in _place_lines(name, summary)]


def _places(summary: dict[str, float]) -> list[str]:
    """Positions of which the summary tells."""
    ends = ("_probe_error_m_end", "_error_over_divergence_end")
    found = (key.removesuffix(end) for end in ends for key in summary if key.endswith(end))
    return list(dict.fromkeys(found))


def _place_lines(name: str, summary: dict[str, float]) -> list[str]:
    """What is known of one position."""
    lines = []
    if (seen := summary.get(f"{name}_probe_error_m_end")) is not None:
        floor = summary[f"{name}_probe_floor_m_end"]
        lines.append(
            f"{name:>10} as the judge sees it at the end {100 * seen:.1f} cm off, in "
            f"simulated frames {100 * floor:.1f} cm"
        )
    if (share := summary.get(f"{name}_probe_share_end")) is not None:
        floor = summary[f"{name}_probe_share_floor_end"]
        lines.append(
            f"{name:>10} as the judge sees it at the end went {share:.0%} of its way, in "
            f"simulated frames {floor:.0%}"
        )
    if (times := summary.get(f"{name}_error_over_divergence_end")) is not None:
        lines.append(
            f"{name:>10} at the end {100 * summary[f'{name}_error_m_end']:.1f} cm off, "
            f"{times:.1f} times the simulator's own divergence"
        )
    return lines
