"""A service that reads handwritten digits: requests that come at the same time are predicted together.

pip install "fastdnn[serve]"
python examples/serve.py                      # then draw on http://127.0.0.1:8000
python examples/serve.py --backend onnx       # the same network in ONNX Runtime, for comparison

The network is trained on scikit-learn's digits if there is no file of it yet. From then on the service starts without the
part of fastdnn that trains, without scikit-learn and SciPy.

POST /predict   {"pixels": [64 numbers from 0 to 16, row by row]}  ->  {"digit": 3, "probabilities": [10 numbers]}
GET  /health    {"status": "ok", ...}
GET  /          a page to draw on
"""

import argparse
import asyncio
import contextlib
import json
import os
import pathlib
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Annotated

import numpy as np
import uvicorn
from fastapi import FastAPI, HTTPException, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse
from pydantic import BaseModel, ConfigDict, Field

MOST_TOGETHER = 256  # samples of a batch
MOST_WAITING = 10_000  # requests, beyond which the service says that it is busy
GRACE = 5.0  # seconds in which clients that are connected may ask one more time when the service ends
PIXELS = 64
MOST_BYTES = 10_000  # of a request: 64 numbers take less, and while a long text is read nobody else is answered
MOST_ERRORS = 3  # of a wrong request that it is told of


def train(path):
    """Train a network on the digits; write a predictor to `path` and, where `onnx` is installed, the same with ".onnx"."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    from fastdnn import DNNClassifier, layers

    X, y = load_digits(return_X_y=True)
    X, X_test, y, y_test = train_test_split(X.astype("float32"), y, test_size=0.2, random_state=0)
    net = [
        layers.Rescaling(1 / 16),
        layers.Reshape((8, 8, 1)),
        layers.RandomTranslation(0.1, 0.1, "constant"),
        layers.RandomRotation(0.05, "constant"),
        layers.Conv2D(32, 3, padding="same"),
        layers.BatchNorm(activation="relu"),
        layers.Conv2D(32, 3, activation="relu"),
        layers.MaxPool2D(2),
        layers.Flatten(),
        layers.Dropout(0.3),
        layers.Dense(64, activation="relu"),
    ]
    clf = DNNClassifier(net, epochs=60, batch_size=64, random_state=0).fit(X, y)
    print(f"trained: {clf.score(X_test, y_test):.3f} of the digits that it has not seen are right")
    clf.freeze().save(path)
    with contextlib.suppress(ImportError):
        from fastdnn.onnx import to_onnx

        to_onnx(clf, path.with_suffix(".onnx"))


def predictor(path, backend):
    """Function from samples (n, 64) to probabilities (n, 10)."""
    if not path.exists() or (backend == "onnx" and not path.with_suffix(".onnx").exists()):
        train(path)
    if backend == "onnx":
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1  # the other core is busy with requests
        session = onnxruntime.InferenceSession(path.with_suffix(".onnx"), options, providers=["CPUExecutionProvider"])
        name, result = session.get_inputs()[0].name, session.get_outputs()[-1].name
        return lambda X: session.run([result], {name: X})[0]
    os.environ.setdefault("NUMBA_NUM_THREADS", "1")  # here, too
    from fastdnn.predictor import load

    return load(path).predict_proba


class Batcher:
    """Predicts what waits, all of it together: while one batch is in work the next one gathers."""

    def __init__(self, predict):
        self._predict, self._waiting, self._thread = predict, asyncio.Queue(MOST_WAITING), ThreadPoolExecutor(1)
        self.answered = self.batches = 0

    async def __call__(self, sample):
        """The probabilities of a sample; asyncio.QueueFull if too many wait."""
        answer = asyncio.get_running_loop().create_future()
        self._waiting.put_nowait((sample, answer))
        return await answer

    async def run(self):
        """Answer, for ever."""
        while True:
            batch = [await self._waiting.get()]
            while len(batch) < MOST_TOGETHER and not self._waiting.empty():
                batch.append(self._waiting.get_nowait())
            samples, answers = zip(*batch, strict=True)
            try:
                X = np.array(samples, np.float32)
                results = await asyncio.get_running_loop().run_in_executor(self._thread, self._predict, X)
            except Exception as error:
                results = [error] * len(batch)
            self.answered, self.batches = self.answered + len(batch), self.batches + 1
            for answer, result in zip(answers, results, strict=True):
                if answer.done():  # whoever asked has gone
                    continue
                if isinstance(result, Exception):
                    answer.set_exception(result)
                else:
                    answer.set_result(result)


class Digit(BaseModel):
    """An image of 8 x 8 pixels, row by row, from 0, paper, to 16, ink."""

    model_config = ConfigDict(extra="forbid")
    pixels: list[Annotated[float, Field(ge=0, le=16)]] = Field(min_length=PIXELS, max_length=PIXELS)


class Limit:
    """Refuses requests with more bytes than any needs before they are read."""

    def __init__(self, app):
        self._app = app

    async def __call__(self, scope, receive, send):
        answer, fields = self._app, dict(scope.get("headers", ()))
        if b"transfer-encoding" in fields or int(fields.get(b"content-length", 0)) > MOST_BYTES:
            answer = JSONResponse({"detail": f"a request must say how long it is, and have at most {MOST_BYTES} bytes"}, 413)
        await answer(scope, receive, send)


def create_app(predict, backend="fastdnn"):
    """The service; predict : as `predictor` gives it."""

    @contextlib.asynccontextmanager
    async def lifespan(app):
        app.state.batcher = batcher = Batcher(predict)
        task = asyncio.create_task(batcher.run())
        yield
        task.cancel()  # the server has waited for the requests that were in work

    app = FastAPI(title="Digits", lifespan=lifespan)
    app.add_middleware(Limit)

    @app.exception_handler(RequestValidationError)
    async def wrong(request, error):
        """Without what was sent, which may be long, or no number that JSON has."""
        found = [{key: each[key] for key in ("loc", "msg", "type")} for each in error.errors()[:MOST_ERRORS]]
        return JSONResponse({"detail": found}, 422)

    @app.get("/")
    async def page():
        return FileResponse(pathlib.Path(__file__).with_suffix(".html"))

    @app.get("/health")
    async def health():
        batcher = app.state.batcher
        return {"status": "ok", "backend": backend, "answered": batcher.answered, "batches": batcher.batches}

    @app.post("/predict")
    async def digit(digit: Digit):
        try:
            probabilities = await app.state.batcher(digit.pixels)
        except asyncio.QueueFull:
            raise HTTPException(503, "too many requests wait; try again in a second") from None
        found = {"digit": int(probabilities.argmax()), "probabilities": probabilities.tolist()}
        return Response(json.dumps(found), media_type="application/json")

    return app


class Server(uvicorn.Server):
    """Ends without losing a request: those that are on their way are answered, and their connections closed."""

    def __init__(self, app, **settings):
        self._ends = False
        super().__init__(uvicorn.Config(self._closing(app), log_level="warning", **settings))

    def _closing(self, app):
        """The app; once nobody can connect any more, its answers tell clients to close the connection."""

        async def answer(scope, receive, send):
            async def send_last(message):
                if message["type"] == "http.response.start" and self._ends:
                    message["headers"] = [*message["headers"], (b"connection", b"close")]
                await send(message)

            await app(scope, receive, send_last if scope["type"] == "http" else send)

        return answer

    async def shutdown(self, sockets=None):
        """What comes after SIGTERM or Ctrl-C."""
        for server in self.servers:
            server.close()
        self._ends = True
        until = time.monotonic() + GRACE
        while self.server_state.connections and time.monotonic() < until:
            await asyncio.sleep(0.02)
        await super().shutdown(sockets)


def main(arguments=None):
    parser = argparse.ArgumentParser(description="A service that reads handwritten digits.")
    parser.add_argument("--model", type=pathlib.Path, default="digits.fdnn", help="file of the predictor")
    parser.add_argument("--backend", choices=["fastdnn", "onnx"], default="fastdnn")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000)
    given = parser.parse_args(arguments)
    predict = predictor(given.model, given.backend)
    predict(np.zeros((1, PIXELS), np.float32))  # what there is to compile is compiled before the first request
    Server(create_app(predict, given.backend), host=given.host, port=given.port).run()


if __name__ == "__main__":
    main()
