"""`worldsim revisit`: whether a place looks the same when an imagined camera comes back."""

from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig, OmegaConf

from worldsim.cli.console import CONSOLE, finish, progress, say

if TYPE_CHECKING:
    from worldsim.cli.settings.revisit import Settings

DESCRIPTION = """
Walks routes through apartments that come back to where they were, off their first way and otherwise
turned, and streams them by a world model with one memory after the other. Scores the pixels that
were seen before, as true depth decides, against the simulator and against the first visit; those
never seen apart. Beside the memories stand frames at random, corrupted depth, another scene's
memory, and the memory's render copied without a network.
"""

EXAMPLES = """
worldsim revisit model=runs/nav env=indoor out=runs/revisit
worldsim revisit model=runs/nav out=runs/quick scenes=2 'routes=[two_rooms,control]' seeds=1
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
    from worldsim.models.world_model import WorldModel
    from worldsim.reporting.revisit_film import FilmMaker
    from worldsim.reporting.revisit_page import revisit_table, write_revisit_page
    from worldsim.validation.lpips import Lpips
    from worldsim.validation.revisit.measure import measure_revisit, total_steps

    settings = build(Settings, config)
    lpips = None if settings.weights is None else Lpips.load(settings.weights)
    model = WorldModel.from_pretrained(settings.model).to(inference_device(settings.device))
    sampler = settings.sampler.of(model.config)
    out = settings.out
    out.mkdir(parents=True, exist_ok=True)
    films = FilmMaker(out / "films", settings.film_arms, model.spec.fps)
    with progress("walks", total_steps(settings.revisit)) as advance:
        report = measure_revisit(
            model,
            _simulator(settings),
            sampler,
            settings.revisit,
            lpips,
            advance,
            settings.films,
            films.take,
        )
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


def _simulator(settings: "Settings") -> Any:
    """The apartments, in which a walk is as long as it is."""
    from worldsim.cli.settings.env import split_env_node
    from worldsim.envs import make

    env_id, arguments = split_env_node(settings.env)
    assert env_id is not None
    longest = 10 * settings.revisit.max_steps
    return make(env_id, **{**arguments, "max_episode_steps": longest}).unwrapped
