"""TCP proxies on loopback that behave like a bad network. All of them run on one event loop in one thread."""

import asyncio
import socket
import struct
import threading
from collections.abc import Coroutine
from enum import Enum
from typing import Any, Self, TypeVar

_CHUNK_BYTES = 65_536
_CALL_SECONDS_MAX = 30.0
#: After how long one end of a forgotten connection hears that the other has gone, as keepalive would tell it some day.
_FORGOTTEN_SECONDS = 30.0
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)  # SO_LINGER for zero seconds: the peer gets RST, not FIN

T = TypeVar("T")


class Mode(Enum):
    """What a proxy does with what it is given."""

    PASS = "pass"
    HOLD = "hold"  #: a cut: connections are taken, bytes stand still and go on when it ends, as TCP sends them again
    #: a middlebox that has forgotten us: connections are taken, bytes vanish in both directions. What was open then
    #: stays dead when the mode ends, and nobody tells its ends.
    SWALLOW = "swallow"
    REFUSE = "refuse"  #: nothing listens; open connections are reset


class Network:
    """The event loop of all proxies, in a thread of its own."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="faults-network", daemon=True)
        self._proxies: list[Proxy] = []

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Begin; proxies can be opened now."""
        self._thread.start()

    def open_proxy(self, port: int) -> "Proxy":
        """Listen on a free port of 127.0.0.1 and pass on to `port`."""
        proxy = Proxy(self, port)
        self.call(proxy.listen())
        self._proxies.append(proxy)
        return proxy

    def call(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine on the loop and wait for its end."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(_CALL_SECONDS_MAX)

    def stop(self) -> None:
        """Close every proxy and end the thread. A second call does nothing."""
        if self._loop.is_closed():
            return
        if self._thread.is_alive():
            self.call(self._close_all())
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(_CALL_SECONDS_MAX)
        self._loop.close()

    async def _close_all(self) -> None:
        for proxy in self._proxies:
            await proxy.close()
        tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class Proxy:
    """One way through the bad network. `set_mode`, `set_delay` and `reset` may be called from any thread."""

    def __init__(self, network: Network, target_port: int) -> None:
        self.port = 0  #: where clients connect; stays the same
        self._network = network
        self._target_port = target_port
        self._mode = Mode.PASS
        self._delay_seconds = 0.0
        self._flows: set[_Flow] = set()
        self._server: asyncio.Server | None = None
        self._may_pass = asyncio.Event()
        self._may_pass.set()

    @property
    def connections(self) -> int:
        """How many are open now."""
        return len(self._flows)

    def set_mode(self, mode: Mode) -> None:
        """Behave so from now on, to connections that are open too."""
        self._network.call(self._set_mode(mode))

    def set_delay(self, seconds: float) -> None:
        """Keep every piece that is read for so long."""
        self._delay_seconds = seconds

    def lead_to(self, target_port: int) -> None:
        """Pass new connections on to another server; those that are open stay where they are."""
        self._target_port = target_port

    def reset(self) -> None:
        """Cut every connection with RST, on both sides."""
        self._network.call(self._reset())

    async def listen(self) -> None:
        """Take connections; for Network."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port, limit=_CHUNK_BYTES)
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        """Take no more connections and end those that are open; for Network."""
        if self._server is not None:
            self._server.close()
            self._server = None
        await self._reset()

    async def _set_mode(self, mode: Mode) -> None:
        self._mode = mode
        if mode is Mode.HOLD:
            self._may_pass.clear()
        else:
            self._may_pass.set()
        if mode is Mode.SWALLOW:
            for flow in self._flows:
                flow.is_dead = True
        if mode is Mode.REFUSE:
            await self.close()
        elif self._server is None:
            await self.listen()

    async def _reset(self) -> None:
        for flow in list(self._flows):
            flow.cut()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        flow = _Flow(writer, is_dead=self._mode is Mode.SWALLOW)
        self._flows.add(flow)
        try:
            await self._may_pass.wait()
            inwards, flow.server = await asyncio.open_connection("127.0.0.1", self._target_port, limit=_CHUNK_BYTES)
            pumps = (self._pump(reader, flow.server, flow), self._pump(inwards, writer, flow))
            await asyncio.gather(*pumps)
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            self._flows.discard(flow)
            flow.cut()

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, flow: "_Flow") -> None:
        while piece := await source.read(_CHUNK_BYTES):
            if self._delay_seconds:
                await asyncio.sleep(self._delay_seconds)
            await self._may_pass.wait()
            if not flow.is_dead:
                sink.write(piece)
                await sink.drain()
        await self._may_pass.wait()
        if flow.is_dead:
            await asyncio.sleep(_FORGOTTEN_SECONDS)
            flow.cut()
        elif sink.can_write_eof():
            sink.write_eof()


class _Flow:
    """One connection, both halves of it."""

    def __init__(self, client: asyncio.StreamWriter, *, is_dead: bool) -> None:
        self.client = client
        self.server: asyncio.StreamWriter | None = None
        self.is_dead = is_dead  #: its bytes vanish

    def cut(self) -> None:
        """RST to both ends; nothing if they have ended."""
        for half in (self.client, self.server):
            if half is None or half.transport.is_closing():
                continue
            raw = half.get_extra_info("socket")
            if raw is not None:
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
            half.transport.abort()


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on now."""
    with socket.socket() as candidate:
        candidate.bind(("127.0.0.1", 0))
        port: int = candidate.getsockname()[1]
    return port
