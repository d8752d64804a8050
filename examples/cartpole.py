"""A pole balanced on a cart, learned by trial in 100,000 steps: proximal policy optimization (PPO) on a few primitives.

python examples/cartpole.py

The environment is CartPole-v1, many carts at once in NumPy. One network is the policy, another one the value of a state;
`Model.forward` and `Model.predict` play, `Model.train_on_batch` learns, with the loss `PolicyGradient` for the policy. Its
targets are advantages: the gradient of ratio * advantage is that of the log-probability times ratio * advantage, so that
PPO's clipping is a 0 in a target. A time limit is no failure: the value of the last state stands for what would have come.

References: Barto, A., Sutton, R. & Anderson, C. (1983), Neuronlike adaptive elements that can solve difficult learning control
problems. Schulman, J. et al. (2016), High-dimensional continuous control using generalized advantage estimation,
arXiv:1506.02438. Schulman, J. et al. (2017), Proximal policy optimization algorithms, arXiv:1707.06347.
"""

import argparse
import time

import numpy as np

from fastdnn import Model, layers, losses, optimizers, schedules

GRAVITY, CART, POLE, HALF_LENGTH, FORCE, SECONDS = 9.8, 1.0, 0.1, 0.5, 10.0, 0.02
FARTHEST, STEEPEST, LIMIT = 2.4, np.radians(12), 500  # where an episode ends: place, angle, steps
DISCOUNT, TRACE, CLIP = 0.99, 0.95, 0.2


def pushed(states, right):
    """States (n, 4) of place, speed, angle and its speed, one Euler step after a push to the right or to the left."""
    _, speed, angle, turning = states.T
    sin, cos, mass = np.sin(angle), np.cos(angle), CART + POLE
    push = (np.where(right, FORCE, -FORCE) + POLE * HALF_LENGTH * turning**2 * sin) / mass
    tilt = (GRAVITY * sin - cos * push) / (HALF_LENGTH * (4 / 3 - POLE * cos**2 / mass))
    return states + SECONDS * np.stack([speed, push - POLE * HALF_LENGTH * tilt * cos / mass, turning, tilt], axis=1)


class Carts:
    """n carts side by side; where an episode ends, the next one begins."""

    def __init__(self, n, rng):
        self.rng, self.states, self.ages = rng, rng.uniform(-0.05, 0.05, (n, 4)), np.zeros(n, int)

    def step(self, right):
        """(states reached, which have failed, which have reached the limit of time); `states` are those to go on from."""
        reached = pushed(self.states, right)
        self.ages += 1
        failed = (np.abs(reached[:, 0]) > FARTHEST) | (np.abs(reached[:, 2]) > STEEPEST)
        late = (self.ages >= LIMIT) & ~failed
        ended = failed | late
        self.states = np.where(ended[:, None], self.rng.uniform(-0.05, 0.05, reached.shape), reached)
        self.ages[ended] = 0
        return reached, failed, late


def network(n_out, loss, rate, updates, seed):
    """Two layers of 64 units, the learning rate falling to 0."""
    return Model(
        [layers.Dense(64, activation="tanh"), layers.Dense(64, activation="tanh"), layers.Dense(n_out)],
        loss=loss,
        optimizer=optimizers.Adam(schedules.LinearDecay(rate, 0.0, total=updates), clip_norm=0.5),
        random_state=seed,
    ).build(4)


def play(policy, carts, steps, rng):
    """What the policy meets in so many steps of each cart: states, actions, their probabilities, and what comes of them."""
    met = []
    for _ in range(steps):
        states = carts.states.astype("float32")
        p = policy.predict(states)
        right = rng.random(len(p)) < p[:, 1]
        reached, failed, late = carts.step(right)
        met.append((states, right.astype(int), np.where(right, p[:, 1], p[:, 0]), reached.astype("float32"), failed, late))
    return [np.stack(column) for column in zip(*met, strict=True)]  # (steps, carts, ...) each


def advantages_and_returns(values, next_values, failed, late):
    """Generalized advantage estimates and the returns that they stand for, (steps, carts); all rewards are 1 - DISCOUNT.

    A value is then a discounted mean, 1 for a pole that never falls.
    """
    errors = (1 - DISCOUNT) + DISCOUNT * next_values * ~failed - values
    found, ahead = np.zeros_like(errors), np.zeros(errors.shape[1])
    for t in range(len(errors) - 1, -1, -1):
        found[t] = ahead = errors[t] + DISCOUNT * TRACE * ahead * ~(failed[t] | late[t])
    return found, found + values


def clipped(policy, states, actions, old, advantages):
    """Targets of `PolicyGradient` for PPO: ratio * advantage of what was done, 0 where the ratio has left its bounds."""
    rows = np.arange(len(actions))
    ratio = policy.predict(states)[rows, actions] / old
    inside = np.where(advantages > 0, ratio < 1 + CLIP, ratio > 1 - CLIP)
    targets = np.zeros((len(actions), 2))
    targets[rows, actions] = inside * ratio * advantages
    return targets


def trained(seed, total=100_000, n=8, steps=128, epochs=4, batch=256, rate=2.5e-3, value_rate=2.5e-3, entropy=0.0):
    """(policy, mean length of the last 20 training episodes): `total` steps of the environment, n carts at once."""
    rng, rounds = np.random.default_rng(seed), total // (n * steps)
    updates = rounds * epochs * -(-n * steps // batch)
    policy = network(2, losses.PolicyGradient(entropy=entropy), rate, updates, seed)
    value = network(1, "squared_error", value_rate, updates, seed)
    carts = Carts(n, rng)
    for _ in range(rounds):
        states, actions, old, reached, failed, late = play(policy, carts, steps, rng)
        values, next_values = (value.predict(s.reshape(-1, 4)).reshape(steps, n) for s in (states, reached))
        advantages, returns = advantages_and_returns(values, next_values, failed, late)
        advantages = (advantages - advantages.mean()) / (advantages.std() + 1e-8)
        states, actions, old, advantages, returns = (
            a.reshape(steps * n, *a.shape[2:]) for a in (states, actions, old, advantages, returns)
        )
        for _ in range(epochs):
            for rows in np.split(rng.permutation(steps * n), range(batch, steps * n, batch)):
                policy.train_on_batch(states[rows], clipped(policy, states[rows], actions[rows], old[rows], advantages[rows]))
                value.train_on_batch(states[rows], returns[rows])
    return policy


def returns_of(policy, episodes, rng):
    """Returns of fresh episodes, one a cart, in which the likelier action is taken."""
    carts, lengths = Carts(episodes, rng), np.zeros(episodes, int)
    for age in range(1, LIMIT + 1):
        scores = policy.forward(carts.states.astype("float32"))
        _, failed, late = carts.step(scores[:, 1] > scores[:, 0])
        lengths[(failed | late) & (lengths == 0)] = age
    return lengths


def main(seeds=4, total=100_000, episodes=100, **settings):
    means = []
    for seed in range(seeds):
        began = time.perf_counter()
        policy = trained(seed, total, **settings)
        seconds = time.perf_counter() - began
        lengths = returns_of(policy, episodes, np.random.default_rng(1000 + seed))
        means.append(lengths.mean())
        print(f"seed {seed}: mean return {means[-1]:.1f}, lowest {lengths.min()}, {seconds:.1f} s", flush=True)
    return float(min(means))


if __name__ == "__main__":
    main()
