"""Measures `clipway serve` beyond what it can take: 2, 5 and 10 times too many requests, and 1,000 slow or silent connections.

Starts a server with the demo model on a free port. Prints rates, times and memory; fails if a request gets anything but an answer,
if a slow connection is not closed in time, or if the server does not recover within 2 s.

Overload is open: requests of 16 images come at so many times the rate that the server answered just before, whatever it answers.
Clients and server share the machine, and others may use it too, so what counts is images in a second of the server's own processor
time, in overload and just before it, by turns.

    python scripts/measure_serve.py --clipway target/release/clipway [--source FOLDER] [--seconds 10] [--rounds 3] [--connections 1000]

FOLDER is another model than the demo's, such as one of real size, beside which a refusal costs less.
"""

import argparse
import asyncio
import json
import pathlib
import resource
import statistics
import sys
import time

from served import DEMO, MODEL, NAME, Served, data_uri

HEAD_SECONDS = 10


def request(images: int) -> bytes:
    uri = data_uri(DEMO / "pictures" / "lion.png")
    body = json.dumps({"model": NAME, "modality": "image", "input": [uri] * images}).encode()
    head = f"POST /v1/embeddings HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


async def answer(reader: asyncio.StreamReader) -> tuple[int, bool]:
    """Reads one answer, and returns its status and whether the connection ends with it."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    length = next(line for line in head.lower().split("\r\n") if line.startswith("content-length:"))
    await reader.readexactly(int(length.split(":")[1]))
    return int(head.split(" ")[1]), "connection: close" in head.lower()


class Load:
    """Clients that ask as fast as they may, each `pause` seconds after its last answer."""

    def __init__(self, port: int, clients: int, images: int, seconds: float, pause: float = 0.0):
        self.port, self.clients, self.seconds, self.pause = port, clients, seconds, pause
        self.images, self.bytes = images, request(images)
        self.times: dict[int, list[float]] = {}

    async def client(self) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        while time.monotonic() < self.end:
            started = time.monotonic()
            writer.write(self.bytes)
            status, is_last = await answer(reader)
            self.times.setdefault(status, []).append(time.monotonic() - started)
            if status != 200 and self.pause:
                await asyncio.sleep(self.pause)
            if is_last:
                writer.close()
                reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.close()

    async def run(self) -> "Load":
        started = time.monotonic()
        self.end = started + self.seconds
        await asyncio.gather(*(self.client() for _ in range(self.clients)))
        self.took = time.monotonic() - started
        return self

    async def one(self) -> None:
        """One request on a connection of its own."""
        started = time.monotonic()
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            writer.write(self.bytes)
            status, _ = await asyncio.wait_for(answer(reader), 60)
        except (OSError, EOFError, TimeoutError) as error:
            status = type(error).__name__
        writer.close()
        self.times.setdefault(status, []).append(time.monotonic() - started)

    async def probed(self) -> float:
        """Time of one request that is answered."""
        self.times.clear()
        await self.one()
        return min(self.times.get(200, [float("inf")]))

    async def at(self, rate: float) -> "Load":
        """Requests at a rate, whatever they are answered."""
        started, tasks = time.monotonic(), []
        while (now := time.monotonic() - started) < self.seconds:
            while len(tasks) < now * rate:
                tasks.append(asyncio.create_task(self.one()))
            await asyncio.sleep(0.002)
        self.offered = len(tasks) / (time.monotonic() - started)
        await asyncio.gather(*tasks)
        self.took = time.monotonic() - started
        return self

    def rate(self) -> float:
        """Images answered in a second."""
        return self.images * len(self.times.get(200, [])) / self.took

    def said(self) -> str:
        parts = [f"{self.rate():.0f} images/s"]
        for status, times in sorted(self.times.items()):
            p99 = statistics.quantiles(times, n=100)[98] if len(times) > 1 else times[0]
            parts.append(f"{len(times)} answers of {status}, p50 {1e3 * statistics.median(times):.1f} ms, p99 {1e3 * p99:.1f} ms")
        return "; ".join(parts)


def memory(process: int) -> float:
    """Resident memory in MiB."""
    lines = pathlib.Path(f"/proc/{process}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmRSS")).split()[1]) / 1024


async def slow(port: int, kind: int) -> float:
    """One slow connection; returns after how long the server closed it."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    started = time.monotonic()
    parts = [b"", b"GET /livez HTTP/1.1\r\nHos", b"POST /embed HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n{"]
    writer.write(parts[kind])
    try:
        while time.monotonic() - started < 60:
            try:
                if not await asyncio.wait_for(reader.read(4096), 1):
                    break
            except TimeoutError:
                if kind:
                    writer.write(b"t" if kind == 1 else b" ")
    except OSError:
        pass
    writer.close()
    return time.monotonic() - started


async def overload(server: Served, seconds: float, rounds: int, times: float) -> bool:
    """So many times what the server answers, by turns with what it answers."""
    port = server.port
    good, ratios, recoveries, most, slowest, statuses = True, [], [], 0.0, 0.0, {}
    for _ in range(rounds):
        before = server.processor()
        usual = await Load(port, 4, 16, seconds).run()
        spent = server.processor() - before
        capacity = 16 * len(usual.times[200]) / spent
        before = server.processor()
        heavy = await Load(port, 0, 16, seconds).at(times * usual.rate() / 16)
        spent = server.processor() - before
        ratios.append(16 * len(heavy.times.get(200, [])) / spent / capacity)
        most = max(most, memory(server.process.pid))
        slowest = max([slowest, *heavy.times.get(200, [])])
        for status, all_of in heavy.times.items():
            statuses.setdefault(status, []).extend(all_of)
        # Recovered: one image is answered as fast as it usually is.
        ended, limit = time.monotonic(), 4 * statistics.median(usual.times[200])
        while (probe := await Load(port, 0, 1, 0.0).probed()) > limit and time.monotonic() - ended < 10:
            pass
        recoveries.append(time.monotonic() - ended)
        good &= set(heavy.times) <= {200, 429, 503}
    said = "; ".join(f"{len(all_of)} of {status}, p99 {1e3 * sorted(all_of)[int(0.99 * (len(all_of) - 1))]:.0f} ms" for status, all_of in sorted(statuses.items(), key=str))
    ratio = statistics.median(ratios)
    print(
        f"{times} times too much: {ratio:.2f} of the images in a second of the server's processor time ({', '.join(f'{one:.2f}' for one in ratios)}); "
        f"{said}; slowest answer {slowest:.1f} s; recovered in {max(recoveries):.2f} s; at most {most:.0f} MiB"
    )
    return good and max(recoveries) <= 2


async def measure(server: Served, seconds: float, rounds: int, connections: int) -> bool:
    port, process = server.port, server.process.pid
    good = True
    await Load(port, 4, 1, 1).run()
    usual = await Load(port, 32, 1, seconds).run()
    before = memory(process)
    print(f"32 clients of one image: {usual.said()}; {before:.0f} MiB")

    for times in [2, 5, 10]:
        good &= await overload(server, seconds, rounds, times)

    idle = [asyncio.create_task(slow(port, number % 3)) for number in range(connections)]
    await asyncio.sleep(1)
    during = await Load(port, 32, 1, min(seconds, HEAD_SECONDS - 3)).run()
    print(f"with {connections} slow connections: {during.said()}; {memory(process):.0f} MiB")
    closed = await asyncio.gather(*idle)
    print(f"the slow connections were closed after {min(closed):.1f} to {max(closed):.1f} s")
    return good and max(closed) < 3 * HEAD_SECONDS and set(during.times) == {200}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clipway", required=True)
    parser.add_argument("--source")
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--connections", type=int, default=1000)
    arguments = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_NOFILE, (8192, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    room = str(2 * arguments.connections + 500)
    options = ["--head-timeout", str(HEAD_SECONDS), "--max-wait", "2"]
    options += ["--max-connections", room, "--max-connections-per-address", room]
    source = [arguments.source] if arguments.source else MODEL
    with Served(arguments.clipway, *options, source=source) as server:
        good = asyncio.run(measure(server, arguments.seconds, arguments.rounds, arguments.connections))
    good &= server.status == 0
    print("passed" if good else "failed")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
