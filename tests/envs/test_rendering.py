"""GL contexts: one for each thread that draws, for as long as the thread lives."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Thread

import mujoco
import numpy as np
import pytest

from worldsim.envs.rendering import shared_renderer

XML = "<mujoco><worldbody><light pos='0 0 3'/><geom size='.3'/></worldbody></mujoco>"
AT_THE_END = """
import threading
from test_rendering import draw

draw()
dead = threading.Thread(target=draw)
dead.start()
dead.join()
drawn, never = threading.Event(), threading.Event()
threading.Thread(target=lambda: (draw(), drawn.set(), never.wait()), daemon=True).start()
drawn.wait()
"""


def draw() -> np.ndarray:
    model = mujoco.MjModel.from_xml_string(XML)
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    camera = mujoco.MjvCamera()
    camera.distance = 2.0
    return shared_renderer(model, 64, 64, "a ball").color(model, data, camera)


def resident_mb() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / 1e6


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="memory is read off /proc")
def test_threads_that_ended_leave_no_context_behind() -> None:
    here, seen = draw(), []
    for count in range(14):
        if count == 2:
            before = resident_mb()
        thread = Thread(target=lambda: seen.append(draw()))
        thread.start()
        thread.join()
    assert resident_mb() - before < 25  # each context takes about 8 MB
    for image in seen:
        np.testing.assert_array_equal(image, here)


def test_a_thread_that_lives_keeps_its_context() -> None:
    model = mujoco.MjModel.from_xml_string(XML)
    with ThreadPoolExecutor(1) as thread:
        renderers = [thread.submit(shared_renderer, model, 8, 8, "kept").result() for _ in range(2)]
        assert renderers[0] is renderers[1]
        del renderers  # ends in its own thread


def test_a_process_ends_quietly_whatever_its_threads_draw_with() -> None:
    done = subprocess.run(
        [sys.executable, "-c", AT_THE_END],
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, "")
