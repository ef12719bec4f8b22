"""Requests that are refused before any work starts: one line, exit code, nothing written."""

from pathlib import Path

import pytest

from worldsim.cli.main import main

USAGE, FAILURE = 2, 1


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ("train out={out}", USAGE, "dataset=VALUE"),
        ("train dataset={tmp}/none out={out}", USAGE, "dataset is"),
        ("train dataset={tmp} out={out} modle=tiny", USAGE, "Options of 'model': base"),
        ("train dataset={tmp} out={out} model=tinny", USAGE, "Did you mean 'tiny'"),
        ("train dataset={tmp} out={out} trainer.max_step=1", USAGE, "'trainer.max_steps'"),
        ("train dataset={tmp} out={out} stage=wrld", USAGE, "Did you mean 'world'"),
        ("train dataset={tmp} out={out} trainer.max_steps=many", USAGE, "max_steps"),
        ("train dataset={tmp} out={out}", FAILURE, "info.json"),
        (
            "train dataset={tmp} out={out} overwrite=no",
            USAGE,
            "overwrite is 'no'; expected true or",
        ),
        ("train dataset={tmp} out={out} seed=abc", USAGE, "seed is 'abc'; expected a whole number"),
        ("collect out={out} workers=abc", USAGE, "workers is 'abc'; expected a whole number"),
        ("collect out={out} factors=3", USAGE, "factors is 3; expected a mapping"),
        ("rank out={out} only=expert", USAGE, "expected a list, as in 'only=[expert]'"),
        ("rank out={out} experiment=push_demo", USAGE, "push_demo is not one of `worldsim rank`"),
        ("train dataset={tmp} out={out} experiment=push_pretrained", USAGE, "push_tiny"),
        ("train dataset={tmp} out={out} trainer.threads=-4", USAGE, "trainer.threads is -4"),
        ("train dataset={tmp} out={out} trainer.accelerator=tpu", USAGE, "Known: auto, cpu"),
        ("collect out={out} codec.preset=foo", USAGE, "unknown codec.preset"),
        (
            "collect out={out} codec.crf=99",
            USAGE,
            "codec.crf is 99; expected a whole",
        ),
        ("play port=99999", USAGE, "port is 99999"),
        ("rank out={out} starts=5", USAGE, "as in 'starts.NAME=VALUE'"),
        (
            "rank policy=baselines out={out} level=2",
            USAGE,
            "level is 2.0; expected a number",
        ),
        ("drift dataset={tmp} out={out} films=[1]", USAGE, "films is [1]; expected a whole number"),
        ("rank policy=baselines model={tmp}/none out={out}", USAGE, "none"),
        ("rank policy=baselines model=shipped/nothing out={out}", USAGE, "shipped"),
        ("rank policy=pool_pushh out={out}", USAGE, "Did you mean 'pool_push'"),
        ("rank policy=baselines only=[radnom] out={out}", USAGE, "Did you mean 'random'"),
        (
            "rank policy=baselines reference.csv={tmp}/none.csv out={out}",
            USAGE,
            "reference.csv is",
        ),
        ("rollout policy=baselines name=zero world=dream out={out}", USAGE, "unknown world"),
        (
            "rank policy=baselines gate_kind=resamplng out={out}",
            USAGE,
            "Did you mean 'resampling'",
        ),
        (
            "rank policy=baselines judge_validation=-1 out={out}",
            USAGE,
            "judge_validation is -1; expected a whole number",
        ),
        ("train dataset={tmp} out={out} judge.gate_draws=1", USAGE, "one draw disagrees with"),
        (
            "train dataset={tmp} out={out} model=tiny_pixels judge.gate_draws=4",
            USAGE,
            "judge.gate_draws: this world model is deterministic",
        ),
        ("data verify root={tmp}/none", USAGE, "root is"),
        ("data inspect root={tmp}", FAILURE, "info.json"),
        ("export source={tmp}/none out={out}", USAGE, "source is"),
    ],
)
def test_refused(
    words: str, code: int, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert main(words.format(out=out, tmp=tmp_path).split()) == code
    captured = capsys.readouterr()
    assert said in captured.err.splitlines()[-1]
    assert "Traceback" not in captured.err
    assert not out.exists() or not any(out.rglob("*.safetensors"))


def test_a_collection_that_never_began_may_be_asked_for_otherwise(tmp_path: Path) -> None:
    out = f"out={tmp_path / 'out'}"
    assert main(["collect", out, "workers=-1"]) == USAGE
    assert main(["collect", out, "episodes=1", "max_steps=2", "workers=0"]) == 0
