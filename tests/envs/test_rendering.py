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
IN_A_PROCESS = """
import threading
from pathlib import Path
from test_rendering import draw

def in_threads(count):
    for _ in range(count):
        thread = threading.Thread(target=draw)
        thread.start()
        thread.join()
    return 4096 * int(Path("/proc/self/statm").read_text().split()[1])

draw()
before = in_threads(2)
print(in_threads(12) - before)
drawn, never = threading.Event(), threading.Event()
threading.Thread(target=lambda: (draw(), drawn.set(), never.wait()), daemon=True).start()
drawn.wait()
"""
"""Memory taken by threads that ended, in bytes; and an end while another is alive. In a process of
its own: what others freed before would count."""


def draw() -> np.ndarray:
    model = mujoco.MjModel.from_xml_string(XML)
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    camera = mujoco.MjvCamera()
    camera.distance = 2.0
    return shared_renderer(model, 64, 64, "a ball").color(model, data, camera)


def test_threads_draw_alike() -> None:
    here, seen = draw(), []
    for _ in range(2):
        thread = Thread(target=lambda: seen.append(draw()))
        thread.start()
        thread.join()
    for image in seen:
        np.testing.assert_array_equal(image, here)


def test_a_thread_that_lives_keeps_its_context() -> None:
    model = mujoco.MjModel.from_xml_string(XML)
    with ThreadPoolExecutor(1) as thread:
        renderers = [thread.submit(shared_renderer, model, 8, 8, "kept").result() for _ in range(2)]
        assert renderers[0] is renderers[1]
        del renderers  # ends in its own thread


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="memory is read off /proc")
def test_threads_that_ended_leave_nothing_behind_and_the_process_ends_quietly() -> None:
    done = subprocess.run(
        [sys.executable, "-c", IN_A_PROCESS],
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert int(done.stdout) < 30e6  # a context takes about 8 MB
