"""The commands by name: one line each, what an interruption keeps, what they need."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Command:
    """One command of the command line; `worldsim.cli.<name>` holds its `run(config)`.

    A module that also has `prepare(config, overrides)` is first asked for the config to run with.

    Attributes:
        summary: one line for `worldsim --help`.
        kept: what an interrupted run keeps, said after Ctrl-C.
        renders: whether it may draw with MuJoCo and so needs a GL backend chosen first.
        actions: words that may follow the command, passed on as `action=WORD`.
        continues: whether it continues what stands in its folder `out`; no two may at once.
    """

    summary: str
    kept: str
    renders: bool = False
    actions: tuple[str, ...] = ()
    continues: bool = False


COMMANDS: dict[str, Command] = {
    "collect": Command(
        "record episodes of an environment as a LeRobot v3 data set",
        "finished episodes are kept; the same command continues",
        renders=True,
    ),
    "train": Command(
        "train tokenizer, world model and judge on a data set",
        "the last checkpoint is kept; the same command continues from it",
        renders=True,
        continues=True,
    ),
    "rollout": Command(
        "run one policy in the simulator, in imagination, or in both",
        "finished rollouts are kept",
        renders=True,
        continues=True,
    ),
    "rank": Command(
        "rank a pool of policies in imagination and check it against the simulator",
        "finished rollouts are kept; the same command continues",
        renders=True,
        continues=True,
    ),
    "drift": Command(
        "imagine long episodes and measure how they drift from the simulator",
        "nothing is kept of an unfinished measurement",
        renders=True,
    ),
    "revisit": Command(
        "measure whether places look the same when an imagined camera comes back",
        "nothing is kept of an unfinished measurement",
        renders=True,
    ),
    "play": Command(
        "drive a world model by hand, on a web page",
        "finished recordings are kept",
        renders=True,
    ),
    "export": Command(
        "write rollouts or episodes as MP4 or GIF",
        "files already written are whole",
    ),
    "data": Command(
        "inspect, verify, merge, preview or import data sets",
        "nothing was changed in the source data; finished episodes of an import are kept",
        actions=("inspect", "verify", "merge", "preview", "import"),
    ),
    "scene": Command(
        "write apartments as .glb for habitat-sim and other programs",
        "scenes already written are whole",
        actions=("export",),
    ),
    "doctor": Command(
        "check this machine: torch, rendering, video codecs, optional packages",
        "nothing was changed",
    ),
}
