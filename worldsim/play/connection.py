"""One page's connection: its messages in, frames out, at the world's own rate."""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np

from worldsim.errors import UsageError, WorldsimError
from worldsim.play.controls import controls_of, resting
from worldsim.play.protocol import Message, pack_frame, parse
from worldsim.play.recording import Tape, TapeLimits
from worldsim.play.session import PlayObservation, PlaySession

LOG = logging.getLogger(__name__)

T = TypeVar("T")

AHEAD = 3
"""Frames under way to a page that has not said that it saw them; more would be latency."""
SAMPLERS = ("autoregressive", "rolling")
MOST_WAITING = 16
"""Orders that wait to be carried out."""
MESSAGES_A_SECOND = 200
"""Of a page; more have to wait. One that is driven by hand sends its frames' and keys' worth."""


class Socket(Protocol):
    """What is used of a websocket."""

    async def receive_text(self) -> str:
        """The next message of the page."""
        ...

    async def send_json(self, data: Any) -> None:
        """Send an object as text."""
        ...

    async def send_bytes(self, data: bytes) -> None:
        """Send a binary message."""
        ...


class PlayConnection:
    """Drives one session for one page. All work on the session is done in `worker`.

    Args:
        socket: accepted connection.
        session: belongs to this page alone; the caller closes it.
        worker: one thread.
        out: folder of recordings.
        limits: where a recording ends by itself.
    """

    def __init__(
        self,
        socket: Socket,
        session: PlaySession,
        worker: ThreadPoolExecutor,
        out: Path,
        limits: TapeLimits | None = None,
    ) -> None:
        self._socket, self._session, self._worker, self._out = socket, session, worker, out
        self._limits = limits or TapeLimits()
        self._controls = controls_of(session.spec.action)
        self._action = resting(self._controls)
        self._stamp: float | None = None
        self._paused = self._single = False
        self._tape: Tape | None = None
        self._sent = self._seen = 0
        self._orders: deque[Message] = deque()
        self._news = asyncio.Event()

    async def run(self) -> None:
        """Until the page goes; what was being recorded then is written."""
        spec = self._session.spec
        await self._tell(
            "hello",
            cameras=list(spec.camera_names),
            size=[spec.cameras[0].height, spec.cameras[0].width],
            fps=spec.fps,
            controls=[asdict(control) for control in self._controls],
            simulator=self._session.simulator is not None,
            judge=self._session.judge is not None,
            samplers=list(SAMPLERS),
            task=self._session.start_task,
        )
        tasks = [asyncio.create_task(self._listen()), asyncio.create_task(self._go())]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            self._drop_empty()
            if self._tape is not None:
                try:
                    await self._in_worker(self._finish_tape)
                except WorldsimError as error:
                    LOG.error("a recording is lost: %s", error)

    async def _listen(self) -> None:
        turn = 0.0
        while True:
            text = await self._socket.receive_text()
            # A second's worth may come at once.
            turn = max(turn, time.monotonic() - 1.0) + 1.0 / MESSAGES_A_SECOND
            await asyncio.sleep(max(0.0, turn - time.monotonic()))
            try:
                message = parse(text)
                self._take(message)
            except UsageError as error:
                await self._tell("error", message=str(error))
            self._news.set()

    def _take(self, message: Message) -> None:
        """Note a message; what touches the session waits for its turn."""
        values = message.values
        if message.kind == "action":
            action = np.asarray(values["value"], np.float32)
            self._action = self._session.spec.action.check(action, "action")
            self._stamp = values["t"]
        elif message.kind == "seen":
            self._seen = min(max(self._seen, values["frame"]), self._sent)
        elif message.kind == "step":
            self._single = True
        else:
            if len(self._orders) >= MOST_WAITING:
                raise UsageError(f"{MOST_WAITING} orders wait already; this one is dropped")
            if message.kind == "pause":
                self._paused = values["on"]
            self._orders.append(message)

    async def _go(self) -> None:
        period = 1.0 / self._session.spec.fps
        await self._show(self._session.latest)
        await self._tell_state()
        due = time.monotonic()
        while True:
            while self._orders:
                await self._obey(self._orders.popleft())
            blocked = self._sent - self._seen >= AHEAD
            if blocked or (self._paused and not self._single):
                self._news.clear()
                await self._news.wait()
                due = time.monotonic()
                continue
            self._single = False
            await self._advance()
            due = max(due + period, time.monotonic() - period)
            await asyncio.sleep(max(0.0, due - time.monotonic()))

    async def _advance(self) -> None:
        action = self._action
        observation = await self._in_worker(lambda: self._session.advance(action))
        await self._show(observation)
        if (tape := self._tape) is not None:
            try:
                await self._in_worker(lambda: tape.add(action, observation))
                reason = tape.why_full()
            except WorldsimError as error:
                reason = str(error)
            if reason is not None:
                await self._end_recording(reason)
                await self._tell_state()

    async def _obey(self, order: Message) -> None:
        """Carry out what changes the session."""
        try:
            if order.kind == "reset":
                await self._begin(lambda: self._session.begin(order.values["seed"]))
            elif order.kind == "sampler":
                if order.values["kind"] not in SAMPLERS or not 1 <= order.values["steps"] <= 8:
                    raise UsageError(
                        f"sampler {order.values}: expected {SAMPLERS} and steps 1 to 8"
                    )
                sampler = replace(self._session.sampler, **order.values)
                await self._begin(lambda: self._session.set_sampler(sampler))
            elif order.kind == "record":
                await self._record(order.values["on"])
        except WorldsimError as error:
            await self._tell("error", message=str(error))
        await self._tell_state()

    async def _begin(self, work: Callable[[], PlayObservation]) -> None:
        """An episode begins anew; a recording of the one before is written."""
        self._drop_empty()
        if self._tape is not None:
            await self._end_recording()
        await self._show(await self._in_worker(work))

    async def _record(self, on: bool) -> None:
        if on and self._tape is None:
            tape = await self._in_worker(self._new_tape)
            if reason := tape.why_full():
                tape.close()
                raise UsageError(f"nothing is recorded: {reason}")
            self._tape = tape
        elif not on and self._tape is not None:
            await self._end_recording()

    async def _end_recording(self, reason: str = "") -> None:
        """Write what was recorded; what cannot be written does not keep the drive from going on."""
        try:
            film, data = await self._in_worker(self._finish_tape)
        except WorldsimError as error:
            text = f"{reason}; {error}" if reason else str(error)
            await self._tell("error", message=text)
            return
        await self._tell("recorded", film=str(film), episode=str(data), reason=reason)

    def _drop_empty(self) -> None:
        """Forget a recording of nothing."""
        if self._tape is not None and not self._tape.steps:
            self._tape.close()
            self._tape = None

    def _new_tape(self) -> Tape:
        session = self._session
        return Tape(
            session.spec,
            session.seed,
            session.start_task,
            session.latest,
            self._out,
            session.delay,
            self._limits,
        )

    def _finish_tape(self) -> tuple[Path, Path]:
        assert self._tape is not None
        tape, self._tape = self._tape, None
        with tape:
            return tape.write()

    async def _show(self, observation: PlayObservation) -> None:
        self._sent += 1
        header = {
            "frame": self._sent,
            "step": observation.step,
            "progress": round(observation.progress, 3),
            "probability": round(observation.probability, 3),
            "success": observation.success,
            "simulated_success": observation.simulated_success,
            "ms": {name: round(value, 1) for name, value in observation.milliseconds.items()},
            "t": self._stamp,
        }
        self._stamp = None
        await self._socket.send_bytes(pack_frame(header, observation))

    async def _tell_state(self) -> None:
        sampler = self._session.sampler
        await self._tell(
            "state",
            paused=self._paused,
            recording=self._tape is not None,
            seed=self._session.seed,
            sampler=sampler.kind,
            steps=sampler.steps,
            delay=self._session.delay,
        )

    async def _tell(self, kind: str, **values: Any) -> None:
        await self._socket.send_json({"type": kind, **values})

    async def _in_worker(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._worker, work)
