"""A pole balanced on a cart, learned by trial: proximal policy optimization (PPO) in 60,000 steps of the environment.

python examples/cartpole.py

The environment is CartPole-v1, many carts side by side in NumPy. One network is the policy, another one the value of states.
`Model.predict` plays, `Model.train_on_batch` learns. The loss of the policy is `PolicyGradient`: the gradient of
ratio * advantage is ratio * advantage times that of the log-probability, so that its targets are ratio * advantage, and 0
where PPO clips. A time limit is no failure: the value of the last state stands for what would have come.

References: Barto, A., Sutton, R. & Anderson, C. (1983). Neuronlike adaptive elements that can solve difficult learning
control problems. Schulman, J. et al. (2016), arXiv:1506.02438 (advantages). Schulman, J. et al. (2017), arXiv:1707.06347.
"""

import time

import numpy as np

from fastdnn import Model, layers, losses, optimizers, schedules

GRAVITY, CART, POLE, HALF_LENGTH, FORCE, SECONDS = 9.8, 1.0, 0.1, 0.5, 10.0, 0.02
FARTHEST, STEEPEST, LONGEST = 2.4, np.radians(12), 500  # where an episode ends: place, angle, number of steps
DISCOUNT, TRACE, CLIP = 0.99, 0.95, 0.2


def pushed(states, right):
    """States (n, 4), one Euler step after a push to the right, where `right` (n,) is true, or to the left.

    A state is the place of the cart and its speed, the angle of the pole and its speed.
    """
    _, speed, angle, turning = states.T
    sin, cos, mass = np.sin(angle), np.cos(angle), CART + POLE
    push = (np.where(right, FORCE, -FORCE) + POLE * HALF_LENGTH * turning**2 * sin) / mass
    tilt = (GRAVITY * sin - cos * push) / (HALF_LENGTH * (4 / 3 - POLE * cos**2 / mass))
    return states + SECONDS * np.stack([speed, push - POLE * HALF_LENGTH * tilt * cos / mass, turning, tilt], axis=1)


class Carts:
    """n carts side by side, each in an episode of its own; where one ends, the next one begins."""

    def __init__(self, n, rng):
        self.states, self.ages, self.rng = rng.uniform(-0.05, 0.05, (n, 4)), np.zeros(n, int), rng

    def step(self, right):
        """(states that are reached, which ones have failed, which ones have run out of time)."""
        reached = pushed(self.states, right)
        self.ages += 1
        failed = (np.abs(reached[:, 0]) > FARTHEST) | (np.abs(reached[:, 2]) > STEEPEST)
        late = ~failed & (self.ages >= LONGEST)
        ended = failed | late
        self.ages[ended] = 0
        self.states = np.where(ended[:, None], self.rng.uniform(-0.05, 0.05, reached.shape), reached)
        return reached, failed, late


def network(n_out, loss, steps, seed, rate=2.5e-3):
    """Two layers of 64 units; the learning rate falls to 0 in so many steps of the optimizer."""
    return Model(
        [layers.Dense(64, activation="tanh"), layers.Dense(64, activation="tanh"), layers.Dense(n_out)],
        loss=loss,
        optimizer=optimizers.Adam(schedules.Polynomial(rate, total=steps), clip_norm=0.5),
        random_state=seed,
    ).build(4)


def met(policy, carts, steps, rng):
    """(states, actions, their probabilities, states reached, failed, late), (steps, carts) each: what the policy meets."""
    rows = []
    for _ in range(steps):
        states = carts.states.astype("float32")
        p = policy.predict(states)
        right = rng.random(len(p)) < p[:, 1]
        reached, failed, late = carts.step(right)
        rows.append((states, right.astype(int), np.where(right, p[:, 1], p[:, 0]), reached.astype("float32"), failed, late))
    return tuple(np.stack(column) for column in zip(*rows, strict=True))


def advantages_of(values, next_values, failed, late):
    """Generalized advantage estimates, (steps, carts); the reward of a step is 1 - DISCOUNT, so that 1 is the best value."""
    errors = 1 - DISCOUNT + DISCOUNT * next_values * ~failed - values
    advantages, ahead = np.zeros_like(errors), 0.0
    for t in reversed(range(len(errors))):
        advantages[t] = ahead = errors[t] + DISCOUNT * TRACE * ahead * ~(failed[t] | late[t])
    return advantages


def targets_of(policy, states, actions, old, advantages):
    """Targets of `PolicyGradient` (n, 2): ratio * advantage of what was done, 0 where PPO clips; `old` probabilities."""
    rows = np.arange(len(actions))
    ratio = policy.predict(states)[rows, actions] / old
    inside = np.where(advantages > 0, ratio < 1 + CLIP, ratio > 1 - CLIP)
    targets = np.zeros((len(actions), 2))
    targets[rows, actions] = inside * ratio * advantages
    return targets


def trained(seed=0, total=60_000, n=16, steps=128, epochs=8, batch=256):
    """(policy, steps of the environment, at most `total`): rounds of so many steps of n carts, each learned in epochs."""
    rng, rounds = np.random.default_rng(seed), total // (n * steps)
    updates = rounds * epochs * -(-n * steps // batch)
    policy, value = network(2, losses.PolicyGradient(), updates, seed), network(1, "squared_error", updates, seed)
    carts = Carts(n, rng)
    for _ in range(rounds):
        states, actions, old, reached, failed, late = met(policy, carts, steps, rng)
        values, next_values = (value.predict(s.reshape(-1, 4)).reshape(steps, n) for s in (states, reached))
        advantages = advantages_of(values, next_values, failed, late)
        returns = (advantages + values).ravel()
        advantages = ((advantages - advantages.mean()) / (advantages.std() + 1e-8)).ravel()
        states, actions, old = states.reshape(-1, 4), actions.ravel(), old.ravel()
        for _ in range(epochs):
            for at in np.split(rng.permutation(n * steps), range(batch, n * steps, batch)):
                policy.train_on_batch(states[at], targets_of(policy, states[at], actions[at], old[at], advantages[at]))
                value.train_on_batch(states[at], returns[at])
    return policy, rounds * n * steps


def lengths_of(policy, episodes, seed):
    """Steps, which are the return, of fresh episodes in which the likelier action is taken."""
    carts, lengths = Carts(episodes, np.random.default_rng(seed)), np.zeros(episodes, int)
    for age in range(1, LONGEST + 1):
        scores = policy.forward(carts.states.astype("float32"))
        _, failed, late = carts.step(scores[:, 1] > scores[:, 0])
        lengths[(failed | late) & (lengths == 0)] = age
    return lengths


def main(seeds=4, total=60_000, episodes=100, **settings):
    means = []
    for seed in range(seeds):
        began = time.perf_counter()
        policy, taken = trained(seed, total, **settings)
        seconds = time.perf_counter() - began
        lengths = lengths_of(policy, episodes, seed=1000 + seed)
        means.append(lengths.mean())
        print(
            f"seed {seed}: {taken:,} steps in {seconds:.1f} s; mean return {means[-1]:.1f} in {episodes} episodes, "
            f"the lowest {lengths.min()}",
            flush=True,
        )
    return float(min(means))


if __name__ == "__main__":
    main()
