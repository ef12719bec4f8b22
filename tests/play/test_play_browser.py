"""`worldsim play` from the command line to the pixels of a headless Chromium."""

import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from browser import CHROMIUM, open_page
from play_testing import new_session, serving

from worldsim.data.verify import verify
from worldsim.data.video import VideoFile
from worldsim.play.session import PlaySession


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    words = [sys.executable, "-m", "worldsim", "play", "port=0", f"out={tmp_path / 'out'}"]
    with subprocess.Popen(words, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        line = next(line for line in process.stderr if "open http" in line)
        found = re.search(r"http://\S+", line)
        assert found is not None
        yield found[0]
        process.terminate()


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
def test_driving_from_keys_to_a_recorded_episode(address: str, tmp_path: Path) -> None:
    with open_page(address, tmp_path / "profile") as page:
        page.until("window.play && play.frames > 2", 60)
        assert page.js("play.hello.simulator") and not page.js("play.errors.length")
        page.click("record")
        page.until("play.state.recording")
        before = page.js("play.step")
        page.key("w", down=True)
        time.sleep(1.5)
        page.key("w", down=False)
        page.until("play.latency !== null")
        page.until(f"play.step > {before + 8}")
        assert page.js("document.querySelector('#imagined').width") == 3 * 64
        page.click("record")
        page.until("play.recorded.length")
        film, episode = page.js("[play.recorded[0].film, play.recorded[0].episode]")
        page.click("next")
        page.until("play.state.seed === 1 && play.step < 20")
        page.js("document.getElementById('steps').value = 1")
        page.js("document.getElementById('steps').onchange()")
        page.until("play.state.steps === 1")
        assert page.js("play.errors") == []
    assert verify(Path(episode)) == []
    video = VideoFile(Path(film))
    count = len(video.read(0, 9))
    video.close()
    assert count == 9


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
def test_names_out_of_a_config_are_text_on_the_page(tmp_path: Path) -> None:
    hostile = "<img src=x onerror='window.owned = 1'>"

    def session() -> PlaySession:
        made = new_session()
        action = made.spec.action
        renamed = replace(action, names=(hostile, *action.names[1:]))
        made.spec = replace(made.spec, action=renamed)
        made.start_task = hostile
        return made

    with serving(tmp_path / "out", session, max_sessions=1) as served:
        with open_page(f"http://{served.address}", tmp_path / "profile") as page:
            page.until("window.play && play.frames > 0", 60)
            assert page.js("document.querySelector('#keys td').textContent") == hostile
            assert page.js("document.querySelectorAll('#keys kbd').length") == 9
            assert page.js("document.querySelectorAll('img').length") == 0
            # Should markup get in all the same, it runs nothing.
            page.js(f"document.body.insertAdjacentHTML('beforeend', {json.dumps(hostile)})")
            page.js(
                "document.body.append(Object.assign(document.createElement('script'), "
                "{textContent: 'window.owned = 2'}))"
            )
            page.until("play.step > 2")
            assert page.js("window.owned === undefined")
