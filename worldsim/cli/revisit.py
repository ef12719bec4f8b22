"""`worldsim revisit`: whether a place looks the same when an imagined camera comes back."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig, OmegaConf

from worldsim.cli.console import CONSOLE, finish, progress, say

if TYPE_CHECKING:
    from worldsim.cli.settings.revisit import Settings
    from worldsim.models.lpips import Lpips
    from worldsim.models.world_model import WorldModel
    from worldsim.reporting.revisit_film import FilmMaker
    from worldsim.validation.revisit.report import RevisitReport

DESCRIPTION = """
Walks routes through apartments that come back to where they were, off their first way and otherwise
turned, and streams them by a world model with one memory after the other. Scores the pixels that
were seen before, as true depth decides, against the simulator and against the first visit; those
never seen apart. Beside the memories stand frames at random, corrupted depth, another scene's
memory, and the memory's render copied without a network. With dataset=FOLDER recorded episodes take
the place of routes: the first frames of each are shown, the others imagined along its actions.
"""

EXAMPLES = """
worldsim revisit model=runs/nav env=indoor out=runs/revisit
worldsim revisit model=runs/nav out=runs/quick scenes=2 'routes=[two_rooms,control]' seeds=1
worldsim revisit model=runs/maze dataset=data/maze out=runs/maze_revisit shown=100
worldsim revisit model=runs/nav out=runs/own first_visit=imagined 'arms=[none,points,oracle]'
"""


def run(config: DictConfig) -> None:
    """Measure, write figures, films and a page, and print the table.

    Raises:
        UsageError: the config does not fit together, or model and env do not.
        WorldsimError: the model is broken, or no scene has room for a route.
    """
    from worldsim.cli.settings.revisit import Settings
    from worldsim.config.compose import build
    from worldsim.files import write_figures, write_text
    from worldsim.hardware import inference_device
    from worldsim.models.lpips import Lpips
    from worldsim.models.world_model import WorldModel
    from worldsim.reporting.revisit_film import FilmMaker
    from worldsim.reporting.revisit_page import revisit_table, write_revisit_page
    from worldsim.validation.revisit.measure import total_steps

    settings = build(Settings, config)
    lpips = None if settings.weights is None else Lpips.load(settings.weights)
    model = WorldModel.from_pretrained(settings.model).to(inference_device(settings.device))
    out = settings.out
    out.mkdir(parents=True, exist_ok=True)
    films = FilmMaker(out / "films", settings.film_arms, model.spec.fps)
    with progress("walks", total_steps(settings.revisit, settings.dataset is not None)) as advance:
        report = _measured(settings, model, lpips, advance, films)
    films.write()
    write_text(out / "config.yaml", OmegaConf.to_yaml(config, resolve=True))
    helped = {name: getattr(model, name) for name in ("state_assisted", "depth_assisted")}
    write_figures(
        out / "revisit.json", {"title": settings.title, "model": helped, **report.to_json()}
    )
    write_revisit_page(
        out / "revisit.html", settings.title, report, films.written, model.depth_assisted
    )
    for arm, why in report.left_out.items():
        say(f"arm {arm} was left out: {why}")
    CONSOLE.print(revisit_table(report, model.depth_assisted))
    finish("revisit", out / "revisit.html")


def _measured(
    settings: "Settings",
    model: "WorldModel",
    lpips: "Lpips | None",
    advance: Callable[[int], None],
    films: "FilmMaker",
) -> "RevisitReport":
    """Stream recorded walks, or routes that are walked now."""
    from worldsim.data.dataset import LeRobotDataset
    from worldsim.validation.revisit.measure import measure_places, measure_revisit, revisit_gap
    from worldsim.validation.revisit.recorded import recorded_places

    config, sampler = settings.revisit, settings.sampler.of(model.config)
    how = (settings.films, films.take)
    if settings.dataset is None:
        env = _simulator(settings)
        return measure_revisit(model, env, sampler, config, lpips, advance, *how)
    dataset, gap = LeRobotDataset(settings.dataset), revisit_gap(model, config)
    places = recorded_places(dataset, model, config, settings.recorded, gap, lpips, advance)
    return measure_places(model, places, sampler, config, advance, *how)


def _simulator(settings: "Settings") -> Any:
    """The apartments, in which a walk is as long as it is."""
    from worldsim.cli.settings.env import split_env_node
    from worldsim.envs import make

    env_id, arguments = split_env_node(settings.env)
    assert env_id is not None
    longest = 10 * settings.revisit.max_steps
    return make(env_id, **{**arguments, "max_episode_steps": longest}).unwrapped
