"""Names of models, judges and policies: folders, what ships, and the hub when it is asked for."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
from imagination_testing import nano_judge
from omegaconf import OmegaConf
from worldsim_testing import nano_model, nano_spec

from worldsim.config.compose import compose_config
from worldsim.envs.imagination import ImaginationEnv
from worldsim.errors import UsageError
from worldsim.judge.finding import find_judge, judge_folder
from worldsim.models.pretrained import SHIPPED, locate, resolve_folder
from worldsim.models.world_model import WorldModel
from worldsim.policies.checkpoints import find_checkpoint
from worldsim.rollout.dependencies import digest_network
from worldsim.training.stages.parents import Parents
from worldsim.training.train_config import train_config

Asked = list[tuple[str, str | None]]


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Asked]:
    """The snapshot of owner/name, in links as the hub keeps it, and what the hub was asked."""
    blobs, snapshot, asked = tmp_path / "blobs", tmp_path / "snapshots" / "0a1b", Asked()
    nano_model().save_pretrained(blobs)
    nano_judge().save_pretrained(blobs / "judge")
    for blob in [path for path in blobs.rglob("*") if path.is_file()]:
        link = snapshot / blob.relative_to(blobs)
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(blob)

    def download(repository: str, revision: str | None = None, **options: Any) -> str:
        asked.append((repository, revision))
        if repository != "owner/name":
            raise OSError("nothing there")
        return str(snapshot)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    return snapshot, asked


def test_the_hub_is_asked_by_its_prefix(hub: tuple[Path, Asked]) -> None:
    snapshot, asked = hub
    assert resolve_folder("hub:owner/name") == snapshot
    assert resolve_folder("hub:owner/name@v1") == snapshot
    assert resolve_folder("hub:owner/name", "v2") == snapshot
    assert asked == [("owner/name", None), ("owner/name", "v1"), ("owner/name", "v2")]
    assert WorldModel.from_pretrained("hub:owner/name").spec == nano_spec()
    for judge in (None, "hub:owner/name"):
        assert judge_folder(judge, "hub:owner/name") == snapshot / "judge"
    assert find_checkpoint("hub:owner/name") == snapshot


@pytest.mark.parametrize(
    "find",
    [
        locate,
        resolve_folder,
        WorldModel.from_pretrained,
        find_checkpoint,
        lambda name: judge_folder(name, "shipped/push"),
        lambda name: judge_folder(None, name),
        lambda name: find_judge(name, "shipped/push"),
        lambda name: ImaginationEnv(model=name),
    ],
)
def test_a_missing_folder_is_no_name_on_the_hub(
    find: Callable[[str], Any], hub: tuple[Path, Asked]
) -> None:
    with pytest.raises(UsageError, match=r"folder.*'?owner/name"):
        find("owner/name")
    assert hub[1] == []


@pytest.mark.parametrize("parent", ["start_from", "transfer_from", "reuse"])
def test_training_begins_with_no_stranger(parent: str, hub: tuple[Path, Asked]) -> None:
    def tokenizer(name: str) -> Any:
        config = compose_config("train", ["dataset=x", "out=y", f"{parent}={name}"])
        return Parents(train_config(config), nano_spec()).tokenizer()

    with pytest.raises(UsageError, match="no folder 'owner/name'"):
        tokenizer("owner/name")
    assert hub[1] == []
    assert tokenizer("hub:owner/name@v1") is not None
    assert hub[1] == [("owner/name", "v1")]


@pytest.mark.parametrize("name", ["hub:name", "hub:a/b/c", "hub:", "hub:@v1", "hub:gone/away"])
def test_names_that_the_hub_does_not_know(name: str, hub: tuple[Path, Asked]) -> None:
    with pytest.raises(UsageError, match="hub"):
        locate(name)


def test_two_revisions_are_refused(hub: tuple[Path, Asked]) -> None:
    with pytest.raises(UsageError, match="expected hub:owner/name"):
        locate("hub:owner/name@v1", "v2")


def test_results_are_kept_by_what_the_hub_held(hub: tuple[Path, Asked], tmp_path: Path) -> None:
    config = compose_config("rank", ["out=y", "model=hub:owner/name@v1", "judge=hub:owner/name"])
    assert OmegaConf.to_container(config)["model"] == "hub:owner/name@v1"  # type: ignore[index,call-overload]
    found = resolve_folder(str(config.model))
    before = digest_network(found)
    assert before == digest_network(tmp_path / "blobs")
    (tmp_path / "blobs" / "config.json").write_text("{}")
    assert digest_network(found) != before


def test_folders_runs_and_what_ships(tmp_path: Path) -> None:
    (tmp_path / "run" / "model").mkdir(parents=True)
    (tmp_path / "run" / "model" / "config.json").write_text("{}")
    assert resolve_folder(tmp_path / "run") == tmp_path / "run" / "model"
    assert locate(tmp_path / "run") == tmp_path / "run"
    assert resolve_folder("shipped/push") == SHIPPED / "push"
    with pytest.raises(UsageError, match="no shipped model"):
        resolve_folder("shipped/nothing")
