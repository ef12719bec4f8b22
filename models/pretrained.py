"""Where a model lies: a folder, what the package carries, or the Hugging Face hub.

The hub is asked only for names that say so: a folder that is missing must not become the name of
whatever somebody else put there.
"""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from worldsim.errors import DataError, UnknownNameError, UsageError
from worldsim.files import read_yaml
from worldsim.models.weights import CONFIG

SHIPPED = Path(__file__).resolve().parent / "pretrained"
SHIPPED_PREFIX = "shipped/"
HUB_PREFIX = "hub:"
RUN_CONFIG = "config.yaml"
"""In the folder of a run, whose model lies in a folder below."""
OURS = ("*.json", "*.safetensors", "README.md")
"""Files of a model of ours, by pattern; nothing else of a repository is fetched."""
_PLAIN = re.compile(r"[\w./~-]+")
_HUB_FORM = f"{HUB_PREFIX}owner/name or {HUB_PREFIX}owner/name@revision"


def locate(
    reference: str | Path, revision: str | None = None, patterns: Sequence[str] = OURS
) -> Path:
    """The local folder of what a name stands for.

    Args:
        reference: a folder, `shipped/<name>` for what the package carries, or `hub:owner/name`,
            also with `@revision`, on the Hugging Face hub.
        revision: branch, tag or commit on the hub.
        patterns: files that are fetched from there.

    Raises:
        UsageError: nothing of that name exists.
    """
    text = str(reference)
    if text.startswith(HUB_PREFIX):
        return _from_hub(text, revision, patterns)
    if text.startswith(SHIPPED_PREFIX):
        folder = SHIPPED / text.removeprefix(SHIPPED_PREFIX)
        if (folder / CONFIG).is_file():
            return folder
        names = sorted(p.name for p in SHIPPED.glob("*") if p.is_dir())
        raise UsageError(f"no shipped model {text!r}; this package carries {names}")
    if Path(reference).is_dir():
        return Path(reference)
    raise UsageError(
        f"there is no folder {text!r}; give a folder with {CONFIG} and model.safetensors, a "
        f"training run's folder, {SHIPPED_PREFIX}<name>, or {_HUB_FORM} for the Hugging Face hub"
    )


def resolve_folder(reference: str | Path, revision: str | None = None) -> Path:
    """The local folder of a model: what `locate` finds, or the `model` in it if it is of a run.

    Raises:
        UsageError: nothing of that name exists.
    """
    found = locate(reference, revision)
    of_run = found / "model"
    return of_run if (of_run / CONFIG).is_file() else found


@contextmanager
def own_parts_told(folder: Path) -> Iterator[None]:
    """Say of a part that is not registered how the user's command names the module that does it.

    The modules that the run of a model was given are told, and never imported from there.

    Args:
        folder: of the model or judge that is read meanwhile.

    Raises:
        UsageError: what was raised, with the key `parts`.
    """
    try:
        yield
    except UsageError as error:
        if not _is_of_a_name(error):
            raise
        given = f"parts={_parts_of_run(folder) or '[FILE.py]'}"
        raise UsageError(
            f"{error}. If this is a part of your own, add {given} to the command, or in Python "
            "import the module that registers it first"
        ) from error


def _is_of_a_name(error: BaseException | None) -> bool:
    """Whether an error is about a name, or was raised because of one."""
    return error is not None and (
        isinstance(error, UnknownNameError) or _is_of_a_name(error.__cause__)
    )


def _parts_of_run(folder: Path) -> str:
    """The key `parts` of the run that a model's folder lies in, as it is typed; "" without one."""
    named = None
    with suppress(DataError, AttributeError):
        named = read_yaml(folder.parent / RUN_CONFIG).get("parts")
    # What a stranger's file says is not to be typed as it is.
    plain = isinstance(named, list) and all(_PLAIN.fullmatch(str(name)) for name in named)
    return f"[{','.join(map(str, named))}]" if plain and named else ""


def _from_hub(reference: str, revision: str | None, patterns: Sequence[str]) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    repository, _, named = reference.removeprefix(HUB_PREFIX).partition("@")
    if repository.count("/") != 1 or (named and revision):
        raise UsageError(f"{reference!r} is no name on the hub; expected {_HUB_FORM}")
    try:
        found = snapshot_download(
            repository, revision=named or revision, allow_patterns=list(patterns)
        )
        return Path(found)
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError, ValueError) as error:
        raise UsageError(
            f"{reference!r} cannot be had from the hub ({type(error).__name__}); check the name, "
            "the revision and the network"
        ) from error
