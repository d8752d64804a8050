"""The cost model of data-parallel steps (`fastdnn.distributed.cost`) against measurements with local processes.

    python benchmarks/data_parallel.py [--steps 60] [--rounds 3]

Each process has one thread and its own samples; they add up gradients each step, or average every 8 steps. A slow network is
an `Exchange` that waits as long as the messages would take: a latency for each of its ways, the bytes by a bandwidth. Cores
that are shared, with each other or with somebody else, change their speed all the time; so each group of processes measures
the machine in turns with the steps: steps of processes that send nothing (flop/s, seconds beside them), sums of little and of
much over the loopback (latency, bandwidth). The model says the rest: what a step takes with its messages and the network's.
"""

import argparse
import multiprocessing
import statistics
import time

import numpy as np

from fastdnn import Model, config_context, layers
from fastdnn.distributed.connecting import connect, listen
from fastdnn.distributed.cost import Machine, Step, compute_seconds, exchange_bytes, exchange_seconds
from fastdnn.distributed.crew import Crew, Lane, Order, model_of_lane
from fastdnn.distributed.exchange import Exchange, goes_to_all

NETWORKS = {"54-256-128-7": (54, (256, 128), 7), "784-512-256-10": (784, (512, 256), 10)}
ROWS = 128  # of each process in a batch
WORLDS, EVERY = (1, 2, 4), (1, 8)
LINKS = {"loopback": (0.0, float("inf")), "1 ms, 1 Gbit/s": (1e-3, 125e6), "0.2 ms, 10 Gbit/s": (2e-4, 1.25e9)}
NO_DELAY, SUMS = (0.0, np.inf), (64, 1 << 21)
KEY = b"of a benchmark, on one machine, 1"


class Delayed(Exchange):
    """An exchange whose messages take at least as long as on a network of that latency and bandwidth."""

    delay = NO_DELAY

    def _swap(self, out, dtype, sizes, one=False):
        latency, bandwidth = self.delay
        until = time.perf_counter() + latency + sum(array.nbytes for array in out.values()) / bandwidth
        found = super()._swap(out, dtype, sizes, one)
        left = until - time.perf_counter()
        if out and left > 0:
            time.sleep(left)
        return found


def network(name):
    features, hidden, outputs = NETWORKS[name]
    net = [*(layers.Dense(n, activation="relu") for n in hidden), layers.Dense(outputs)]
    return Model(net, loss="cross_entropy", random_state=0).build(features)


def rank_of(rank, link, steps, rounds, pipe):
    """A process: {(network, every, whether alone): seconds of a step}, {bytes: seconds of a sum over the loopback}."""
    listener = listen("127.0.0.1")
    pipe.send(listener.getsockname())
    sockets = connect(rank, pipe.recv(), listener, KEY, 60.0)
    with Delayed(rank, sockets, None, 60.0) as exchange, config_context(n_threads=1):
        crews = {
            (name, every, alone): crew_of(name, every, rank, steps, Exchange(0) if alone else exchange)
            for name in NETWORKS
            for every in EVERY
            for alone in (True, False)
        }
        found, sums = {key: [] for key in crews}, {nbytes: [] for nbytes in SUMS}
        for turn in range(rounds + 1):  # the first one compiles, and gets memory from the system
            for key, crew in crews.items():
                exchange.delay = NO_DELAY
                exchange.all_reduce(np.zeros(1, "float32"))  # all begin at once
                exchange.delay = LINKS[link]
                began = time.perf_counter()
                crew.work(Order(turn, 0, steps, (0, None, 1.0)))
                found[key].append((time.perf_counter() - began) / steps)
            exchange.delay = NO_DELAY
            for nbytes, times in sums.items():
                array = np.zeros(nbytes // 4, "float32")
                began = time.perf_counter()
                for _ in range(10):
                    exchange.all_reduce(array)
                times.append((time.perf_counter() - began) / 10)
    listener.close()
    pipe.send([{key: statistics.median(times[1:]) for key, times in part.items()} for part in (found, sums)])


def crew_of(name, every, rank, steps, exchange):
    """A `Crew` of one lane with samples of its own."""
    model, rng = network(name), np.random.default_rng(rank)
    X = rng.standard_normal((ROWS * steps, NETWORKS[name][0])).astype("float32")
    y = rng.integers(0, NETWORKS[name][2], len(X))
    return Crew(model, [Lane(model_of_lane(model, rank, every, False), [X], y, None, ROWS)], every, False, exchange)


def measured(world, link, steps, rounds):
    """What `rank_of` has found, the mean of all ranks."""
    context, pipes, processes = multiprocessing.get_context("spawn"), [], []
    for rank in range(world):
        ours, theirs = context.Pipe()
        processes.append(context.Process(target=rank_of, args=(rank, link, steps, rounds, theirs)))
        processes[-1].start()
        pipes.append(ours)
    addresses = [pipe.recv() for pipe in pipes]
    for pipe in pipes:
        pipe.send(addresses)
    found = [pipe.recv() for pipe in pipes]
    for process in processes:
        process.join()
    return [{key: statistics.mean(part[i][key] for part in found) for key in found[0][i]} for i in range(2)]


def machine_of(found, sums, world):
    """The `Machine` that steps without messages, and sums of zeros, show."""
    costs = [(3.0 * network(name).layout.flops * ROWS + 20 * network(name).layout.size, name) for name in NETWORKS]
    (few, small), (many, large) = sorted(costs)
    flops = (many - few) / (found[large, 1, True] - found[small, 1, True])
    step = max(0.0, found[small, 1, True] - few / flops)
    latency, most = sums[SUMS[0]], SUMS[-1]
    ways = 1 if goes_to_all(most, world) else 2
    bandwidth = exchange_bytes(most, world) / max(1e-9, sums[most] - ways * latency) if world > 1 else np.inf
    return Machine(latency=latency, bandwidth=bandwidth, message=0.0, flops=flops, step=step)


def modelled(name, every, world, link, machine):
    """Seconds of a step as the model has it: messages take the longer of what they take here and on the network."""
    latency, bandwidth = LINKS[link]
    step = Step.of(network(name), ROWS)
    nbytes = (step.n_params if every == 1 else step.n_averaged) * step.itemsize
    ways = 1 if goes_to_all(nbytes, world) else 2
    here = exchange_seconds(nbytes, world, machine)
    wire = 0.0 if world == 1 else ways * latency + exchange_bytes(nbytes, world) / bandwidth
    return compute_seconds(step.flops, step.n_params, step.itemsize, machine) + max(here, wire) / every


def table_of_worlds():
    """Lines of what the model says for 2 to 1,000 workers."""
    yield "| network, rows a worker | link | sync_every | " + " | ".join(f"{w}" for w in (2, 4, 16, 64, 256, 1000)) + " |"
    yield "|---|---|---|" + "---|" * 6
    for name, rows in ((n, r) for n in NETWORKS for r in (32, 128, 1024)):
        step = Step.of(network(name), rows)
        for link, machine in {"10 Gbit/s": Machine(), "1 Gbit/s": Machine(bandwidth=125e6)}.items():
            cells = []
            alone = compute_seconds(step.flops, step.n_params, step.itemsize, machine)
            for world in (2, 4, 16, 64, 256, 1000):
                every = step.sync_every(world, machine)
                one, many = (alone / step.seconds(world, k, machine) for k in (1, every))
                cells.append(f"{one:.0%}" if every == 1 else f"{one:.0%}, {every}: {many:.0%}")
            yield f"| {name}, {rows} | {link} | " + "1, chosen: | " + " | ".join(cells) + " |"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    print("| processes | link | machine | network | sync_every | measured, ms | model, ms | model / measured |")
    print("|---|---|---|---|---|---|---|---|")
    for link in LINKS:
        for world in WORLDS if link == "loopback" else WORLDS[1:]:
            found, sums = measured(world, link, given.steps, given.rounds)
            machine = machine_of(found, sums, world)
            speed = f"{machine.flops / 1e9:.0f} GFLOP/s, {machine.latency * 1e6:.0f} us, {machine.bandwidth / 1e9:.2f} GB/s"
            for (name, every, alone), seconds in found.items():
                if not alone:
                    said = modelled(name, every, world, link, machine)
                    times = f"{seconds * 1e3:.3f} | {said * 1e3:.3f} | {said / seconds:.2f}"
                    print(f"| {world} | {link} | {speed} | {name} | {every} | {times} |", flush=True)
    print()
    print("\n".join(table_of_worlds()))


if __name__ == "__main__":
    main()
