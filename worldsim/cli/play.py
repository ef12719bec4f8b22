"""`worldsim play`: a web page on which a person drives a world model."""

from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig

from worldsim.browser_guard import address
from worldsim.cli.console import say
from worldsim.errors import UsageError

if TYPE_CHECKING:
    from worldsim.cli.settings.play import Settings

DESCRIPTION = """
Serves a web page that shows what the world model imagines while a person drives it with keyboard
or gamepad, beside the simulator under the same keys where there is one. Recordings become an MP4
and a LeRobot data set of one episode each. From another machine: `ssh -L 8400:localhost:8400 HOST`,
then open http://localhost:8400.
"""

EXAMPLES = """
worldsim play
worldsim play model=shipped/pick_place sampler.steps=4 port=8500
worldsim play model=runs/mine starts.dataset=path/to/dataset simulator=false
"""


def run(config: DictConfig) -> None:
    """Serve until Ctrl-C.

    Raises:
        UsageError: the port is taken, or model and starts do not fit together.
    """
    import torch

    from worldsim.cli.settings.play import Settings
    from worldsim.config.compose import build
    from worldsim.envs.imagination.loading import load_model
    from worldsim.hardware import inference_device
    from worldsim.judge.finding import find_judge
    from worldsim.play.recording import TapeLimits
    from worldsim.play.server import build_app, listen, serve
    from worldsim.play.session import PlaySession

    settings = build(Settings, config)
    limits = TapeLimits(seconds=settings.recording_s)
    listener = listen(settings.host, settings.port)
    with listener:
        if settings.threads:
            torch.set_num_threads(settings.threads)
        device = inference_device(settings.device)
        model = load_model(settings.model).to(device)
        sampler = settings.sampler.of(model.config)
        judge = find_judge(settings.judge, settings.model)
        if judge is None:
            say("no judge lies with this model: progress and success are not shown")
        else:
            judge.to(device)
            if not judge.report.reads_progress:
                say("the judge learnt no progress from its recordings: only success is shown")

        def make_session() -> PlaySession:
            starts, simulator = _worlds(settings, model, judge)
            return PlaySession(model, judge, starts, simulator, sampler)

        names = [settings.host, *settings.names]
        app = build_app(make_session, settings.out, settings.max_sessions, names, limits)
        make_session().close()  # what does not fit together is told now
        host, port = listener.getsockname()[:2]
        say(f"open {address('http', host, port)} ; Ctrl-C stops")
        serve(app, listener)


def _worlds(settings: "Settings", model: Any, judge: Any) -> tuple[Any, Any]:
    """Where episodes begin, and the simulator that is driven along or None.

    Raises:
        UsageError: there is neither a simulator nor a data set.
    """
    from worldsim.envs import make
    from worldsim.envs.imagination import DatasetStarts
    from worldsim.envs.imagination.loading import load_starts

    given = settings.starts
    if given.dataset is not None:
        camera = model.spec.cameras[0]
        size = (camera.height, camera.width)
        recorded = DatasetStarts(given.dataset, given.split, size, given.selection)
        return load_starts(recorded, judge, model), None
    if judge is None or judge.env is None:
        raise UsageError(
            "no simulator is known for this model; give starts.dataset=FOLDER of recorded episodes"
        )
    starts = load_starts(None, judge, model)
    return starts, make(judge.env.id, **judge.env.kwargs) if settings.simulator else None
