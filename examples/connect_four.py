"""Connect four on a board of 5 columns and 4 rows, learned by playing against oneself, then played against a random player.

python examples/connect_four.py

What learns, and how, stands in board_games.py. The player that has learned takes the likeliest move of its policy, and does
not look ahead.
"""

import time

import numpy as np
from board_games import Game, greedy_player, random_player, report, self_play

CONNECT_FOUR = Game(4, 5, length=4, falls=True)


def main(seeds=1, steps=30_000, games=1000):
    highest = []
    for seed in range(seeds):
        began = time.perf_counter()
        policy, _, played = self_play(CONNECT_FOUR, steps, seed)
        print(f"seed {seed}: {played:,} games against itself in {time.perf_counter() - began:.1f} s")
        others = {"random": random_player(CONNECT_FOUR, np.random.default_rng(1000 + seed))}
        highest.append(report(CONNECT_FOUR, greedy_player(CONNECT_FOUR, policy), others, games))
    return max(highest)


if __name__ == "__main__":
    main()
