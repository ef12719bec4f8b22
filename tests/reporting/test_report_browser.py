"""The report in headless Chromium: films play, nothing is fetched, nothing is logged."""

import json
import shutil
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from itertools import cycle
from pathlib import Path
from typing import Any

import pytest
from websockets.sync.client import ClientConnection, connect

from worldsim.ranking.baseline_rows import COMPARED
from worldsim.ranking.bootstrap import Estimate
from worldsim.ranking.report import RankingReport
from worldsim.reporting.film import Film
from worldsim.reporting.html_report import ReportData, Section, write_report
from worldsim.rollout.baselines import BASELINES
from worldsim.rollout.record import RolloutRecord

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run "
    "--disable-background-networking --disable-component-update --disable-sync "
    "--remote-debugging-port=0"
)
PLAY = """
(async () => {
  document.querySelector(".play-all").click();
  await new Promise((done) => setTimeout(done, 600));
  return JSON.stringify([...document.querySelectorAll("video")].map((video) =>
    ({ready: video.readyState, time: video.currentTime, seconds: video.duration,
      paused: video.paused, error: video.error && video.error.message})));
})()
"""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium (apt-get install chromium)"),
]


class Tab:
    """One page over the DevTools protocol; `events` collects what was not asked for."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket, self.count = socket, 0
        self.events: list[dict[str, Any]] = []

    def call(self, method: str, **parameters: Any) -> Any:
        self.count += 1
        message = {"id": self.count, "method": method, "params": parameters}
        self.socket.send(json.dumps(message))
        while True:
            reply = json.loads(self.socket.recv(timeout=30))
            if reply.get("id") == self.count:
                return reply["result"]
            self.events.append(reply)

    def evaluate(self, expression: str) -> Any:
        result = self.call(
            "Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True
        )
        return result["result"].get("value")

    def show(self, path: Path, width: int, height: int, mobile: bool = False) -> None:
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=mobile,
        )
        self.call("Page.navigate", url=path.as_uri())
        self.evaluate("new Promise((done) => setTimeout(done, 1500))")

    def of(self, *methods: str) -> list[dict[str, Any]]:
        return [event["params"] for event in self.events if event["method"] in methods]


@pytest.fixture
def tab(tmp_path: Path) -> Iterator[Tab]:
    assert CHROMIUM is not None
    profile = tmp_path / "profile"
    command = [CHROMIUM, *FLAGS.split(), f"--user-data-dir={profile}", "about:blank"]
    browser = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        port_file = profile / "DevToolsActivePort"
        deadline = time.monotonic() + 60
        while not port_file.exists() or not port_file.read_text().strip():
            assert time.monotonic() < deadline and browser.poll() is None, "Chromium did not start"
            time.sleep(0.2)
        port = port_file.read_text().split()[0]
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/json") as reply:
            pages = [page for page in json.load(reply) if page["type"] == "page"]
        with connect(pages[0]["webSocketDebuggerUrl"], max_size=None) as socket:
            yield Tab(socket)
    finally:
        browser.terminate()
        browser.wait(timeout=30)


def test_films_play_and_nothing_is_fetched(
    tab: Tab, ranking: RankingReport, rollout: RolloutRecord, tmp_path: Path
) -> None:
    film = Film.of(rollout, "caption", "success")
    path = tmp_path / "report.html"
    write_report(path, ReportData("Push", (Section("Model", ranking, films=(film, film)),)))
    for domain in ("Network", "Page", "Log", "Runtime"):
        tab.call(f"{domain}.enable")
    tab.show(path, width=360, height=740, mobile=True)
    assert tab.evaluate("document.documentElement.scrollWidth") <= 360  # no sideways scrolling
    videos = json.loads(tab.evaluate(PLAY))
    assert len(videos) == 2
    for video in videos:
        assert video["error"] is None and video["ready"] >= 3 and not video["paused"]
        assert video["time"] > 0 and video["seconds"] == pytest.approx(0.9, abs=0.05)
    asked = [event["request"]["url"] for event in tab.of("Network.requestWillBeSent")]
    assert {url.split(":")[0] for url in asked} <= {"file", "data"}
    assert tab.of("Log.entryAdded", "Runtime.exceptionThrown", "Runtime.consoleAPICalled") == []


def test_baselines_fit_a_window_of_1280_pixels(
    tab: Tab, compared: RankingReport, tmp_path: Path
) -> None:
    reason = "all reference rates are equal"  # reasons are the longest words of a cell
    nothing = {name: Estimate(None, None, reason) for name in COMPARED}
    wide = {name: Estimate(-0.123, (-1.0, -0.05)) for name in COMPARED}
    names = [(name, BASELINES.get(name).what) for name in BASELINES]
    kinds = [(wide, wide), (nothing, nothing), (nothing, wide), (wide, nothing)]
    rows = [
        replace(compared.baselines[0], name=name, what=what, agreement=found, margins=margins)
        for (name, what), (found, margins) in zip(names, cycle(kinds), strict=False)
    ]
    path = tmp_path / "report.html"
    report = replace(compared, baselines=(*rows, *compared.baselines))
    write_report(path, ReportData("Push", (Section("Model", report),)))
    tab.show(path, width=1280, height=900)
    table = "document.querySelector('.baselines').parentElement"
    seen, whole = (tab.evaluate(f"{table}.{side}Width") for side in ("client", "scroll"))
    assert 0 < whole <= seen <= 1280
