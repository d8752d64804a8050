"""The service of `examples/serve.py` in a process of its own: answers, errors, health, its page, its end."""

import http.client
import json
import pathlib
import re
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from fastdnn import DNNClassifier
from fastdnn.predictor import load

pytest.importorskip("fastapi")
pytest.importorskip("uvicorn")

EXAMPLES = pathlib.Path(__file__).parent.parent / "examples"
RNG = np.random.default_rng(0)
SAMPLES = RNG.integers(0, 17, (200, 64)).astype("float32")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """File of a predictor of ten classes for 64 numbers."""
    path = tmp_path_factory.mktemp("service") / "digits.fdnn"
    labels = np.arange(200) % 10
    clf = DNNClassifier(hidden_layer_sizes=(16,), epochs=2, random_state=0).fit(SAMPLES, labels)
    clf.freeze().save(path)
    return path


class Service:
    """The service on a port of its own."""

    def __init__(self, model, port):
        self.port = port
        command = [sys.executable, str(EXAMPLES / "serve.py"), "--model", str(model), "--port", str(port)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        until = time.monotonic() + 120
        while True:
            try:
                self.ask("GET", "/health")
                return
            except OSError:
                assert self.process.poll() is None, self.process.stdout.read()
                assert time.monotonic() < until
                time.sleep(0.05)

    def connect(self):
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)

    def ask(self, method, path, body=None, connection=None):
        """(status, content) of an answer."""
        own = connection or self.connect()
        own.request(method, path, body, {"Content-Type": "application/json"} if body else {})
        answer = own.getresponse()
        content = answer.read()
        if connection is None:
            own.close()
        return answer.status, content.decode()

    def end(self):
        self.process.send_signal(signal.SIGTERM)
        output, _ = self.process.communicate(timeout=60)
        return output


@pytest.fixture(scope="module")
def service(model, unused_port):
    found = Service(model, unused_port())
    yield found
    assert "Traceback" not in found.end()


@pytest.fixture(scope="module")
def unused_port():
    """Function that gives a port that nobody listens on."""
    import socket

    def find():
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            return free.getsockname()[1]

    return find


def question(sample):
    return json.dumps({"pixels": sample.tolist()})


def test_answers_are_the_predictor_s(service, model):
    status, content = service.ask("POST", "/predict", question(SAMPLES[0]))
    expected = load(model).predict_proba(SAMPLES[:1])[0]
    answer = json.loads(content)
    assert status == 200
    np.testing.assert_array_equal(np.array(answer["probabilities"], "float32"), expected)
    assert answer["digit"] == expected.argmax()


def test_concurrent_requests_are_predicted_together(service, model):
    expected = load(model).predict_proba(SAMPLES)
    before = json.loads(service.ask("GET", "/health")[1])

    def many(first):
        connection, found = service.connect(), []
        for sample in SAMPLES[first::20]:
            found.append(json.loads(service.ask("POST", "/predict", question(sample), connection)[1])["probabilities"])
        connection.close()
        return found

    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(many, range(20)))
    for first, found in enumerate(answers):
        np.testing.assert_array_equal(np.array(found, "float32"), expected[first::20])
    after = json.loads(service.ask("GET", "/health")[1])
    assert after["answered"] - before["answered"] == 200
    assert after["batches"] - before["batches"] <= 200


WRONG = {
    '{"pixels": [1, 2]}': "at least 64 items",
    json.dumps({"pixels": [0] * 65}): "at most 64 items",
    json.dumps({"pixels": ["ink"] * 64}): "valid number",
    json.dumps({"pixels": [17] * 64}): "less than or equal to 16",
    json.dumps({"pixels": [-1] * 64}): "greater than or equal to 0",
    json.dumps({"pixels": [float("nan")] * 64}): "equal to",
    json.dumps({"pixels": [None] * 64}): "valid number",
    json.dumps({"pixel": [0] * 64}): "Field required",
    json.dumps({"pixels": [0] * 64, "more": 1}): "Extra inputs are not permitted",
    '{"pixels": [': "JSON decode error",
    "[]": "valid dictionary",
}


@pytest.mark.parametrize("body", WRONG)
def test_wrong_requests_are_422(service, body):
    status, content = service.ask("POST", "/predict", body)
    assert status == 422
    assert WRONG[body] in content
    assert service.ask("POST", "/predict", question(SAMPLES[0]))[0] == 200


@pytest.mark.parametrize("chunked", [False, True])
def test_long_requests_are_refused_unread(service, chunked):
    connection, long = service.connect(), b'{"pixels": [' + b"1, " * 10_000 + b"1]}"
    connection.request("POST", "/predict", iter([long]) if chunked else long, {"Content-Type": "application/json"})
    answer = connection.getresponse()
    assert answer.status == 413
    assert "at most 10000 bytes" in answer.read().decode()
    assert service.ask("POST", "/predict", question(SAMPLES[0]), connection)[0] == 200
    connection.close()


def test_health_and_page(service):
    status, content = service.ask("GET", "/health")
    assert (status, json.loads(content)["status"]) == (200, "ok")
    status, page = service.ask("GET", "/")
    assert status == 200
    assert "<canvas" in page
    assert not re.findall(r"(?:src|href)=\"(?!data:)[^\"]+\"", page)  # nothing comes from elsewhere
    assert service.ask("GET", "/predict")[0] == 405
    assert service.ask("GET", "/elsewhere")[0] == 404


@pytest.mark.skipif(sys.platform == "win32", reason="there are no such signals")
def test_requests_in_work_are_answered_when_the_service_ends(model, unused_port):
    service = Service(model, unused_port())
    connections = [service.connect() for _ in range(20)]
    for connection in connections:
        service.ask("GET", "/health", connection=connection)
    for connection in connections:
        connection.request("POST", "/predict", question(SAMPLES[0]), {"Content-Type": "application/json"})
    service.process.send_signal(signal.SIGTERM)
    time.sleep(0.3)  # for the signal to come while requests are in work; what follows holds whenever it does
    answers = [connection.getresponse() for connection in connections]
    assert [answer.status for answer in answers] == [200] * 20
    for answer, connection in zip(answers[:10], connections, strict=False):
        answer.read()
        if answer.getheader("connection") != "close":
            connection.request("POST", "/predict", question(SAMPLES[1]), {"Content-Type": "application/json"})
            again = connection.getresponse()
            assert (again.status, again.getheader("connection")) == (200, "close")
    for connection in connections:
        connection.close()
    output, _ = service.process.communicate(timeout=60)
    assert "Traceback" not in output
    with pytest.raises(ConnectionRefusedError):
        service.ask("GET", "/health")


@pytest.mark.skipif(sys.platform == "win32", reason="there are no such signals")
def test_many_clients_while_the_service_is_stopped_and_killed(model, example, capfd):
    load_ = example("serve_load").main(model, clients=20, seconds=1.5, restart=True)
    assert load_.wrong == 0
    assert len(load_.seconds) > 20
    assert load_.lost <= 20  # those that it worked on when it was killed
    output = capfd.readouterr().out
    assert "SIGTERM: ready again in" in output
    assert ", 0 requests in work had no answer\nSIGKILL" in output
