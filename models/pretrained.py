"""Where a model lies: a folder, what the package carries, or the Hugging Face hub."""

from pathlib import Path

from worldsim.errors import UsageError
from worldsim.models.weights import CONFIG

SHIPPED = Path(__file__).resolve().parent / "pretrained"
SHIPPED_PREFIX = "shipped/"


def resolve_folder(reference: str | Path, revision: str | None = None) -> Path:
    """The local folder of a model.

    Args:
        reference: a folder, a training run's folder with a `model` in it, `shipped/<name>` for
            what the package carries, or a Hugging Face hub id `owner/name`.
        revision: branch, tag or commit on the hub.

    Raises:
        UsageError: nothing of that name exists.
    """
    text = str(reference)
    if text.startswith(SHIPPED_PREFIX):
        folder = SHIPPED / text.removeprefix(SHIPPED_PREFIX)
        if (folder / CONFIG).is_file():
            return folder
        names = sorted(p.name for p in SHIPPED.glob("*") if p.is_dir())
        raise UsageError(f"no shipped model {text!r}; this package carries {names}")
    if Path(reference).is_dir():
        of_run = Path(reference) / "model"
        return of_run if (of_run / CONFIG).is_file() else Path(reference)
    if text.count("/") == 1 and not text.startswith((".", "/", "~")):
        return _from_hub(text, revision)
    raise UsageError(
        f"no model folder at {text!r}; expected a folder with config.json and model.safetensors, "
        "a training run's folder, "
        f"'{SHIPPED_PREFIX}<name>', or a hub id 'owner/name'"
    )


def _from_hub(repository: str, revision: str | None) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        return Path(
            snapshot_download(
                repository,
                revision=revision,
                allow_patterns=["*.json", "*.safetensors", "README.md"],
            )
        )
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError, ValueError) as error:
        raise UsageError(
            f"{repository!r} is neither a local folder nor reachable on the hub "
            f"({type(error).__name__}); check the path or the network"
        ) from error
