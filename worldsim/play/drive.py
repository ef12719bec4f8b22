"""One page's connection: its messages in, frames out, at the world's own rate."""

import asyncio
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np

from worldsim.errors import UsageError, WorldsimError
from worldsim.play.controls import Control, controls_of, to_json
from worldsim.play.protocol import Message, pack_frame, parse
from worldsim.play.recording import Tape
from worldsim.play.session import Float, Moment, PlaySession

T = TypeVar("T")

AHEAD = 3
"""Frames under way to a page that has not said that it saw them; more would be latency."""
SAMPLERS = ("autoregressive", "rolling")


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


class Drive:
    """Drives one session for one page. All work on the session is done in `worker`.

    Args:
        socket: accepted connection.
        session: belongs to this drive alone; the caller closes it.
        worker: one thread.
        out: folder of recordings.
    """

    def __init__(
        self, socket: Socket, session: PlaySession, worker: ThreadPoolExecutor, out: Path
    ) -> None:
        self._socket, self._session, self._worker, self._out = socket, session, worker, out
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
        await self._socket.send_json(
            {
                "type": "hello",
                "cameras": list(spec.camera_names),
                "size": [spec.cameras[0].height, spec.cameras[0].width],
                "fps": spec.fps,
                "controls": to_json(self._controls),
                "simulator": self._session.simulator is not None,
                "judge": self._session.judge is not None,
                "samplers": list(SAMPLERS),
                "task": self._session.start_task,
            }
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
            if self._tape is not None and self._tape.steps:
                await self._in_worker(lambda: self._finish_tape())

    async def _listen(self) -> None:
        while True:
            text = await self._socket.receive_text()
            try:
                message = parse(text)
                self._take(message)
            except UsageError as error:
                await self._socket.send_json({"type": "error", "message": str(error)})
            self._news.set()

    def _take(self, message: Message) -> None:
        """Note a message; what touches the session waits for its turn."""
        values = message.values
        if message.kind == "action":
            numbers = np.asarray(values["value"], object)
            if not all(isinstance(number, int | float) for number in numbers.ravel()):
                raise UsageError("action: expected numbers")
            try:
                action = numbers.astype(np.float32)
            except (OverflowError, ValueError, TypeError) as error:
                raise UsageError(f"action: expected numbers of a usual size ({error})") from error
            self._action = self._session.spec.action.check(action, "action")
            self._stamp = float(values["t"])
        elif message.kind == "seen":
            self._seen = min(max(self._seen, values["frame"]), self._sent)
        elif message.kind == "pause":
            self._paused = values["on"]
            self._orders.append(message)
        elif message.kind == "step":
            self._single = True
        else:
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
        moment = await self._in_worker(lambda: self._session.advance(action))
        if self._tape is not None:
            self._tape.actions.append(action)
            self._tape.moments.append(moment)
        await self._show(moment)

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
                sampler = replace(
                    self._session.sampler, kind=order.values["kind"], steps=order.values["steps"]
                )
                await self._begin(lambda: self._session.set_sampler(sampler))
            elif order.kind == "record":
                await self._record(order.values["on"])
        except WorldsimError as error:
            await self._socket.send_json({"type": "error", "message": str(error)})
        await self._tell_state()

    async def _begin(self, work: Callable[[], Moment]) -> None:
        """An episode begins anew; a recording of the one before is written."""
        if self._tape is not None and not self._tape.steps:
            self._tape = None
        try:
            await self._record(on=False)
        except WorldsimError as error:
            # What cannot be written must not keep the drive from going on.
            self._tape = None
            await self._socket.send_json({"type": "error", "message": str(error)})
        await self._show(await self._in_worker(work))

    async def _record(self, on: bool) -> None:
        if on and self._tape is None:
            session = self._session
            self._tape = Tape(
                session.spec,
                session.seed,
                session.start_task,
                [session.latest],
                delay=session.delay,
            )
        elif not on and self._tape is not None:
            film, data = await self._in_worker(self._finish_tape)
            await self._socket.send_json(
                {"type": "recorded", "film": str(film), "episode": str(data)}
            )

    def _finish_tape(self) -> tuple[Path, Path]:
        assert self._tape is not None
        written = self._tape.write(self._out)
        self._tape = None
        return written

    async def _show(self, moment: Moment) -> None:
        self._sent += 1
        header = {
            "frame": self._sent,
            "step": moment.step,
            "progress": round(moment.progress, 3),
            "probability": round(moment.probability, 3),
            "success": moment.success,
            "simulated_success": moment.simulated_success,
            "ms": {name: round(value, 1) for name, value in moment.milliseconds.items()},
            "t": self._stamp,
        }
        self._stamp = None
        await self._socket.send_bytes(pack_frame(header, moment))

    async def _tell_state(self) -> None:
        sampler = self._session.sampler
        await self._socket.send_json(
            {
                "type": "state",
                "paused": self._paused,
                "recording": self._tape is not None,
                "seed": self._session.seed,
                "sampler": sampler.kind,
                "steps": sampler.steps,
                "delay": self._session.delay,
            }
        )

    async def _in_worker(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._worker, work)


def resting(controls: list[Control]) -> Float:
    """The action of nobody touching anything: no motion, grippers open."""
    return np.array(
        [c.high if c.toggle else min(max(0.0, c.low), c.high) for c in controls], np.float32
    )
