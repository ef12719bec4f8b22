"""`worldsim data`: inspect, verify, merge or preview data sets."""

from contextlib import ExitStack
from pathlib import Path

from omegaconf import DictConfig

from worldsim.cli.console import Advance, finish, progress, say
from worldsim.data.dataset import LeRobotDataset
from worldsim.data.merge import merge
from worldsim.data.preview import preview
from worldsim.data.selection import Selection, read_selection
from worldsim.data.summary import behaviour_lines, describe
from worldsim.data.verify import raise_faults, verify
from worldsim.errors import UsageError, unknown_name

DESCRIPTION = """\
Look at data sets in LeRobot format (v3.0 and v2.1, recorded by worldsim or by others).
inspect describes one, verify finds truncated videos, missing rows, wrong counts, NaN actions and
wrong frame rates, merge joins several into one, preview shows an episode.
"""

EXAMPLES = """\
worldsim data inspect root=data/push
worldsim data verify root=data/push
worldsim data merge 'roots=[data/a,data/b]' out=data/both
worldsim data preview root=data/push episode=3 out=episode3.png
"""


def run(config: DictConfig) -> None:
    """Do what `config.action` says."""
    actions = {"inspect": _inspect, "verify": _verify, "merge": _merge, "preview": _preview}
    if config.action not in actions:
        raise unknown_name("action of `worldsim data`", str(config.action), actions)
    actions[config.action](config)


def _root(config: DictConfig) -> Path:
    if config.root is None:
        raise UsageError(f"`worldsim data {config.action}` needs root=FOLDER, a data set")
    return Path(config.root)


def _selection(config: DictConfig) -> Selection:
    return read_selection(config.columns, config.episodes)


def _inspect(config: DictConfig) -> None:
    print("\n".join(describe(LeRobotDataset(_root(config), _selection(config)))))


def _verify(config: DictConfig) -> None:
    root = _root(config)
    with ExitStack() as bars:
        advance: Advance | None = None
        shown = 0

        def step(done: int, total: int) -> None:
            nonlocal advance, shown
            if advance is None:  # a folder that is no data set gets a message, not a bar
                advance = bars.enter_context(progress("rows and videos checked", total))
            advance(done - shown)
            shown = done

        faults = verify(root, bool(config.decode), step, _selection(config))
    for fault in faults:
        print(fault)
    raise_faults(root, faults)
    finish("no fault found", root)


def _merge(config: DictConfig) -> None:
    roots = [Path(root) for root in config.roots]
    if config.out is None:
        raise UsageError("`worldsim data merge` needs out=FOLDER, where to write")
    chosen = _selection(config)
    total = sum(LeRobotDataset(root, chosen).num_episodes for root in roots)
    with progress("episodes", total) as advance:
        merged = merge(roots, Path(config.out), progress=lambda *_: advance(1), selection=chosen)
    for line in behaviour_lines(merged):
        say(line)
    finish(f"data set of {merged.num_episodes} episodes", merged.root)


def _preview(config: DictConfig) -> None:
    root = _root(config)
    out = Path(config.out or f"{root.name}_episode{config.episode}.png")
    path = preview(
        LeRobotDataset(root, _selection(config)), config.episode, out, config.frames, config.scale
    )
    finish("preview", path)
