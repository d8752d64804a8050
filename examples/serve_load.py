"""Many clients ask the service of `serve.py` at once; every answer is compared with what is predicted here.

python examples/serve_load.py                              # 200 clients for 20 seconds
python examples/serve_load.py --seconds 60 --restart       # the service is stopped, and later killed, and started again
python examples/serve_load.py --backend onnx               # the same service with ONNX Runtime
"""

import argparse
import asyncio
import contextlib
import json
import pathlib
import signal
import socket
import subprocess
import sys
import time

import numpy as np
from sklearn.datasets import load_digits

SERVICE = pathlib.Path(__file__).with_name("serve.py")
PAUSE = 0.1  # seconds until a client that was refused asks again


class Service:
    """`serve.py` in a process of its own."""

    def __init__(self, model, backend):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self._process = None
        self._command = [sys.executable, SERVICE, "--model", model, "--backend", backend, "--port", str(self.port)]

    async def start(self):
        """Start it; seconds until it was ready."""
        began = time.perf_counter()
        self._process = subprocess.Popen([*map(str, self._command)])
        while True:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                await self.health()
                return time.perf_counter() - began
            if self._process.poll() is not None:
                raise RuntimeError("the service did not start")
            await asyncio.sleep(0.01)

    def kill(self):
        """End it at once, if it has not ended."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    async def health(self):
        """What it says of itself."""
        with contextlib.closing(Client(self.port)) as client:
            return (await client.ask("GET", "/health"))[1]

    async def end(self, how=signal.SIGTERM):
        """End it: SIGTERM lets it answer what is in work, SIGKILL does not."""
        self._process.send_signal(how)
        return await asyncio.to_thread(self._process.wait)


class Client:
    """A connection that stays open from one request to the next."""

    def __init__(self, port):
        self._port, self._writer = port, None

    async def ask(self, method, path, body=b""):
        """(status, object) of the answer; OSError or IncompleteReadError where there is none."""
        try:
            if self._writer is None:
                self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port)
            head = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            self._writer.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
            lines = (await self._reader.readuntil(b"\r\n\r\n")).lower().split(b"\r\n")
            fields = dict(line.split(b": ", 1) for line in lines[1:] if line)
            content = await self._reader.readexactly(int(fields[b"content-length"]))
            if fields.get(b"connection") == b"close":
                self.close()
            return int(lines[0].split()[1]), json.loads(content)
        except BaseException:
            self.close()
            raise

    def close(self):
        """Close the connection."""
        if self._writer is not None:
            self._writer.close()
        self._writer = None


class Load:
    """Clients that ask, each the next question as soon as it has its answer; what becomes of that is counted.

    Attributes
    ----------
    seconds : list of float
        Of the requests that were answered, from the first byte sent to the last one received.
    wrong : int
        Answers that are not those expected.
    lost : int
        Requests that were sent and had no answer; they are sent again.
    refused : int
        Attempts to connect while there was no service.
    elapsed : float
        Seconds of it all.
    """

    def __init__(self, port, bodies, expected, exact):
        self._port, self._bodies, self._expected, self._exact = port, bodies, expected, exact
        self.seconds, self.wrong, self.lost, self.refused, self._over = [], 0, 0, 0, False

    async def run(self, n_clients, seconds, during=None):
        """Let them ask for so many seconds, `during()` running beside them."""
        began = time.perf_counter()
        clients = [asyncio.create_task(self._client(number)) for number in range(n_clients)]
        beside = asyncio.create_task(during()) if during else None
        await asyncio.sleep(seconds)
        if beside:
            await beside
        self._over, self.elapsed = True, time.perf_counter() - began
        await asyncio.gather(*clients)

    async def _client(self, number):
        rng, client = np.random.default_rng(number), Client(self._port)
        while not self._over:
            question = rng.integers(len(self._bodies))
            while not await self._ask(client, question):
                await asyncio.sleep(PAUSE)
        client.close()

    async def _ask(self, client, question):
        """Whether there was an answer."""
        began = time.perf_counter()
        try:
            status, answer = await client.ask("POST", "/predict", self._bodies[question])
        except ConnectionRefusedError:
            self.refused += 1
            return False
        except (OSError, asyncio.IncompleteReadError):
            self.lost += 1
            return False
        self.seconds.append(time.perf_counter() - began)
        right, p = self._expected[question], np.array(answer.get("probabilities", []), np.float32)
        same = np.array_equal(p, right) if self._exact else p.shape == right.shape and np.abs(p - right).max() < 1e-5
        self.wrong += not (status == 200 and same and answer["digit"] == right.argmax())
        return True


async def measure(service, model, backend, n_clients, seconds, restart):
    """Start the service, ask it, print what came of it; returns the `Load`."""
    ready = await service.start()  # which trains the network if there is none yet
    from fastdnn.predictor import load

    samples = load_digits().data.astype("float32")
    expected = load(model).predict_proba(samples)
    bodies = [json.dumps({"pixels": sample.tolist()}).encode() for sample in samples]
    load_ = Load(service.port, bodies, expected, exact=backend == "fastdnn")

    async def stop_and_start():
        for how in (signal.SIGTERM, signal.SIGKILL):
            await asyncio.sleep(seconds / 3)
            before = load_.lost
            await service.end(how)
            again = await service.start()
            print(f"{how.name}: ready again in {again:.2f} s, {load_.lost - before} requests in work had no answer")

    await load_.run(n_clients, seconds, stop_and_start if restart else None)
    health = await service.health()
    code = await service.end()
    times, together = np.array(load_.seconds) * 1000, health["answered"] / max(1, health["batches"])
    print(f"{backend}: ready in {ready:.2f} s, {n_clients} clients for {load_.elapsed:.1f} s,")
    print(f"  {len(times)} answers, {load_.wrong} wrong,")
    print(f"  {load_.lost} lost, {load_.refused} connections refused, exit code {code},")
    print(f"  {len(times) / load_.elapsed:.0f} answers a second, {together:.1f} in a batch,")
    print("  milliseconds p50 {:.1f}, p99 {:.1f}, longest {:.1f}".format(*np.quantile(times, [0.5, 0.99, 1])))
    return load_


def main(model="digits.fdnn", backend="fastdnn", clients=200, seconds=20.0, restart=False):
    service = Service(model, backend)
    try:
        return asyncio.run(measure(service, model, backend, clients, seconds, restart))
    finally:
        service.kill()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Many clients ask the service at once.")
    parser.add_argument("--model", default="digits.fdnn")
    parser.add_argument("--backend", choices=["fastdnn", "onnx"], default="fastdnn")
    parser.add_argument("--clients", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--restart", action="store_true", help="stop and kill the service in between")
    main(**vars(parser.parse_args()))
