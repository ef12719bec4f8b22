"""Mappings that the configs leave empty take keys without a plus sign."""

import pytest
from omegaconf import OmegaConf

from worldsim.config.compose import compose_config
from worldsim.config.overrides import open_mappings
from worldsim.errors import UsageError


@pytest.mark.parametrize(
    ("command", "override", "key", "value"),
    [
        ("collect", "env.source_kwargs={frame_skip: 4, name: door}", "env.source_kwargs", None),
        ("collect", "env.source_kwargs.inner.seed=3", "env.source_kwargs.inner.seed", 3),
        ("collect", "factors.object_size=[1.0]", "factors.object_size", [1.0]),
        ("rank", "starts.factors={object_size: [1.0]}", "starts.factors.object_size", [1.0]),
        ("rollout", "starts.factors.object_size=[1.0]", "starts.factors.object_size", [1.0]),
        ("collect", "+factors.object_size=[1.0]", "factors.object_size", [1.0]),
    ],
)
def test_empty_mappings_are_filled(command: str, override: str, key: str, value: object) -> None:
    group = ["env=gymnasium", "env.id=Pusher-v5"] if "source" in override else []
    found = OmegaConf.select(compose_config(command, [*group, override]), key)
    assert found == ({"frame_skip": 4, "name": "door"} if value is None else value)


@pytest.mark.parametrize("override", ["codec.crff=3", "env.image=3", "facters.a=1"])
def test_other_keys_still_must_exist(override: str) -> None:
    with pytest.raises(UsageError, match="Did you mean"):
        compose_config("collect", [override])


def test_only_what_is_empty_in_the_config_is_open() -> None:
    base = OmegaConf.create({"open": {}, "closed": {"a": 1}, "null": None, "list": []})
    closed = ["closed.b=1", "null.a=1", "list.0=1", "open=null", "+open.a=1", "~open", "other={}"]
    assert open_mappings(closed, base) == closed
    assert open_mappings(["open.a=1", "open={a: 1}"], base) == ["++open.a=1", "++open={a: 1}"]
