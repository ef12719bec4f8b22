"""`worldsim data`: inspect, verify, merge, preview or import data sets."""

from contextlib import closing

from omegaconf import DictConfig

from worldsim.cli.console import counted, finish, progress, say
from worldsim.cli.settings.data import Settings
from worldsim.config.compose import build
from worldsim.data.dataset import LeRobotDataset
from worldsim.data.extrinsics import extrinsics_faults
from worldsim.data.faults import errors_of, raise_faults
from worldsim.data.importing.request import already_imported
from worldsim.data.importing.run import open_import
from worldsim.data.merge import merge
from worldsim.data.summary import behaviour_lines, describe, preview
from worldsim.data.verify import verify
from worldsim.errors import DataError

DESCRIPTION = """\
Look at data sets in LeRobot format (v3.0 and v2.1, recorded by worldsim or by others).
inspect describes one, verify lists what training would refuse (truncated videos, broken images,
missing rows, NaN actions, wrong frame rates) or only warn of, merge joins several into one, preview
shows an episode. import makes one of other recordings (films with tables of actions, robomimic,
LIBERO, Minari, RLDS, LeRobot) and says what their actions mean, and why.
"""

EXAMPLES = """\
worldsim data inspect root=data/push
worldsim data verify root=data/push
worldsim data merge 'roots=[data/a,data/b]' out=data/both
worldsim data preview root=data/push episode=3 out=episode3.png
worldsim data import source=recordings out=data/mine
worldsim data import source=bridge fps=5 out=data/bridge episodes=500
"""


def run(config: DictConfig) -> None:
    """Do what `config.action` says."""
    actions = {"inspect": _inspect, "verify": _verify, "merge": _merge, "preview": _preview}
    actions["import"] = _import
    settings = build(Settings, config)
    actions[settings.action](settings)


def _inspect(settings: Settings) -> None:
    print("\n".join(describe(LeRobotDataset(settings.one_root, settings.selection))))


def _verify(settings: Settings) -> None:
    root = settings.one_root
    with counted("rows and videos checked") as show:
        faults = verify(root, settings.decode, show, settings.selection)
    for fault in faults:
        print(fault if fault.severity == "error" else f"warning: {fault}")
    if (count := len(errors_of(faults))) > 1:
        raise DataError(f"{root} has {count} faults, told above, and cannot be used")
    raise_faults(root, faults)
    finish(f"no error found; warnings: {len(faults)}" if faults else "no fault found", root)


def _merge(settings: Settings) -> None:
    assert settings.out is not None
    roots, chosen = settings.roots, settings.selection
    total = sum(LeRobotDataset(root, chosen).num_episodes for root in roots)
    with progress("episodes", total) as advance:
        merged = merge(roots, settings.out, progress=lambda *_: advance(1), selection=chosen)
    for line in behaviour_lines(merged):
        say(line)
    finish(f"data set of {merged.num_episodes} episodes", merged.root)


def _preview(settings: Settings) -> None:
    dataset = LeRobotDataset(settings.one_root, settings.selection)
    path = preview(
        dataset,
        dataset.place(settings.episode),
        settings.preview_file,
        settings.frames,
        settings.scale,
    )
    finish("preview", path)


def _import(settings: Settings) -> None:
    config, out = settings.importing, settings.out
    assert out is not None
    if (finished := already_imported(config, out)) is not None:
        finish(f"data set of {finished.num_episodes} episodes, imported before", out)
        return
    with counted("episodes looked at") as show:
        job = open_import(config, show)
    with closing(job.source):
        for note in job.notes:
            say(note)
        with counted("episodes written") as show:
            dataset = job.write(out, show)
    for line in [*map(str, extrinsics_faults(dataset)), *behaviour_lines(dataset)]:
        say(line)
    finish(f"data set of {dataset.num_episodes} episodes", out)
