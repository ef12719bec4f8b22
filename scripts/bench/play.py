"""`worldsim play` driven in a headless Chromium: frames a second beside the world's own rate.

Starts the server, holds keys as a person would, records all the while, and checks what was
recorded: the film decodes whole, and `worldsim data verify` finds nothing in the episode.

    python scripts/bench/play.py [--seconds 60] [words of `worldsim play`, such as sampler.steps=4]
"""

import argparse
import json
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from browser import CHROMIUM, Page, open_page

from worldsim.data.verify import verify
from worldsim.data.video import read_video

KEYS = "wdsarfweqa"
"""Held one after the other."""
HELD_S = 0.7
SETTLE_S = 3.0


@contextmanager
def served(out: Path, words: list[str]) -> Iterator[str]:
    """Address of a running `worldsim play` that records into `out`."""
    command = [sys.executable, "-m", "worldsim", "play", "port=0", f"out={out}", *words]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        said: list[str] = []
        for line in process.stderr:
            said.append(line)
            if match := re.search(r"open (http://\S+)", line):
                break
        else:
            sys.exit("the server did not start:\n" + "".join(said))
        try:
            yield match[1]
        finally:
            process.terminate()


def drive(page: Page, seconds: float) -> tuple[list[float], list[float]]:
    """Hold keys for so long; frames a second and latencies in ms, as the page shows them."""
    rates, latencies = [], []
    end, turn = time.monotonic() + seconds, 0
    while time.monotonic() < end:
        key = KEYS[turn % len(KEYS)]
        turn += 1
        page.key(key, down=True)
        time.sleep(HELD_S)
        page.key(key, down=False)
        rates.append(float(page.js("play.fps")))
        latencies.append(float(page.js("play.latency")))
    return rates, latencies


def recorded(film: Path, episode: Path) -> int:
    """Frames of the film, all decoded.

    Raises:
        AssertionError: the episode has faults, or its length and the film's differ.
    """
    assert verify(episode) == [], verify(episode)
    rows = json.loads((episode / "meta" / "info.json").read_text())["total_frames"]
    frames = len(read_video(film))
    assert frames == rows, f"{frames} frames in {film}, {rows} rows in {episode}"
    return frames


def main() -> None:
    """Drive and print; the last line is JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--screenshot", type=Path, help="where to put a picture of the page")
    options, words = parser.parse_known_args()
    if CHROMIUM is None:
        sys.exit("this needs Chromium; on Debian: apt-get install chromium")
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "out"
        with served(out, words) as address, open_page(address, Path(folder) / "profile") as page:
            page.until("window.play && play.frames > 2", 180)
            fps = float(page.js("play.hello.fps"))
            page.click("record")
            page.until("play.state.recording")
            drive(page, SETTLE_S)
            first, began = page.js("play.step"), time.monotonic()
            rates, latencies = drive(page, options.seconds)
            mean = (page.js("play.step") - first) / (time.monotonic() - began)
            if options.screenshot:
                page.screenshot(options.screenshot)
            page.click("record")
            page.until("play.recorded.length", 120)
            made = page.js("[play.recorded[0].film, play.recorded[0].episode]")
            errors = page.js("play.errors")
        frames = recorded(Path(made[0]), Path(made[1]))
    assert errors == [], errors
    print(
        json.dumps(
            {
                "name": "play",
                "value": round(mean, 2),
                "unit": f"frames/s over {options.seconds:.0f} s in headless Chromium",
                "ratio": round(mean / fps, 3),
                "against": "the world's own rate",
                "slowest_2_s": round(min(rates), 2),
                "latency_ms_median": round(float(np.median(latencies)), 1),
                "latency_ms_worst": round(max(latencies), 1),
                "recorded_frames": frames,
            }
        )
    )


if __name__ == "__main__":
    main()
