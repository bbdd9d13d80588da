"""A visitor without a browser: a websocket that speaks Streamlit's own protocol, opens pages and lets them poll."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from dataclasses import dataclass, field

from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from websockets.asyncio.client import ClientConnection, connect

LARGEST = 200_000_000  # bytes of one message, as Streamlit has it
PATIENCE = 120.0  # seconds
WHOLE = (ForwardMsg.FINISHED_SUCCESSFULLY, ForwardMsg.FINISHED_FRAGMENT_RUN_SUCCESSFULLY)


@dataclass
class Visitor:
    """One session. ``drawn`` collects what its page shows; while it stays it asks again where a page tells it to."""

    socket: ClientConnection
    query: str = ""
    page: str = ""
    hash: str = ""
    drawn: list[ForwardMsg] = field(default_factory=list)
    polling: dict[str, float] = field(default_factory=dict)  # fragment -> seconds between two looks
    _told: dict[str, float] = field(default_factory=dict)  # in this run of the page

    async def open(self, page: str, query: str = "") -> float:
        """Open a page ("" is Home) and wait until it is drawn. Seconds that it took."""
        self.page, self.query, self.hash = page, query, ""
        self.polling.clear()
        self.drawn.clear()
        began = time.perf_counter()
        await self._ask()
        await self._drawn()
        return time.perf_counter() - began

    async def stay(self, seconds: float) -> list[float]:
        """Poll as the page asks for. Seconds that each look took."""
        until, took = time.perf_counter() + seconds, []
        while (left := until - time.perf_counter()) > 0:
            if not self.polling:
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._hear(), left)
                continue
            fragment, pause = next(iter(self.polling.items()))
            await asyncio.sleep(min(pause, left))
            began = time.perf_counter()
            await self._ask(fragment)
            await self._drawn()
            took.append(time.perf_counter() - began)
        return took

    def says(self, words: str) -> bool:
        """Whether the words stand on the page that was opened, or on a later drawing of it."""
        return any(words in str(message.delta) for message in self.drawn)

    async def _ask(self, fragment: str = "") -> None:
        message = BackMsg()
        state = message.rerun_script
        state.query_string, state.page_name, state.page_script_hash = self.query, self.page, self.hash
        state.fragment_id, state.is_auto_rerun = fragment, bool(fragment)
        await self.socket.send(message.SerializeToString())

    async def _drawn(self) -> None:
        async with asyncio.timeout(PATIENCE):
            while await self._hear() not in WHOLE:
                pass

    async def _hear(self) -> int | None:
        """The next message; how the script finished, if that is what it tells."""
        message = ForwardMsg()
        message.ParseFromString(await self.socket.recv())
        kind = message.WhichOneof("type")
        if kind == "new_session":
            self.hash = message.new_session.page_script_hash
            self._told.clear()
        elif kind == "auto_rerun":
            self._told[message.auto_rerun.fragment_id] = message.auto_rerun.interval
        elif kind == "stop_auto_rerun":
            for fragment in message.stop_auto_rerun.fragment_ids:
                self.polling.pop(fragment, None)
        elif kind == "delta":
            self.drawn.append(message)
        elif kind == "script_finished":
            if message.script_finished == ForwardMsg.FINISHED_SUCCESSFULLY:
                self.polling.clear()  # what the page does not ask for again is gone
            self.polling.update(self._told)
            return message.script_finished
        return None


def visit(port: int) -> connect:
    """``async with visit(8501) as socket: await Visitor(socket).open("Compare", query)``"""
    return connect(
        f"ws://127.0.0.1:{port}/_stcore/stream", subprotocols=["streamlit"], max_size=LARGEST, open_timeout=PATIENCE,
        ping_interval=None,
    )  # fmt: skip
