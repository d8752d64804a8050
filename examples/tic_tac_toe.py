"""Tic-tac-toe learned by playing against oneself, then played against a perfect player and a random one.

python examples/tic_tac_toe.py

What learns, and how, stands in board_games.py. The player that has learned takes the likeliest move of its policy, and does
not look ahead. The perfect player knows the whole game (minimax) and draws from the best moves; nobody learns from it.
"""

import time

import numpy as np
from board_games import Game, greedy_player, random_player, report, self_play

TIC_TAC_TOE = Game(3, 3, length=3)


class PerfectPlayer:
    """Draws from the moves of the best outcome, which it finds by trying out all games."""

    def __init__(self, game, rng):
        self.game, self.rng, self.known = game, rng, {}

    def best(self, board):
        """(outcome for who is to move, 1, 0 or -1; the moves that lead to it) on a board (cells,) that goes on."""
        key = board.tobytes()
        if key not in self.known:
            moves = self.game.legal(board[None])[0].nonzero()[0]
            reached = self.game.after(np.repeat(board[None], len(moves), axis=0), moves)
            lost, full = self.game.lost(reached), self.game.full(reached)
            found = np.array([1 if lost[i] else 0 if full[i] else -self.best(reached[i])[0] for i in range(len(moves))])
            self.known[key] = found.max(), moves[found == found.max()]
        return self.known[key]

    def __call__(self, boards):
        return np.array([self.rng.choice(self.best(board)[1]) for board in boards])


def main(seeds=3, steps=3000, games=1000):
    highest = []
    for seed in range(seeds):
        began = time.perf_counter()
        policy, _, played = self_play(TIC_TAC_TOE, steps, seed)
        print(f"seed {seed}: {played:,} games against itself in {time.perf_counter() - began:.1f} s")
        rng = np.random.default_rng(1000 + seed)
        others = {"perfect": PerfectPlayer(TIC_TAC_TOE, rng), "random": random_player(TIC_TAC_TOE, rng)}
        highest.append(report(TIC_TAC_TOE, greedy_player(TIC_TAC_TOE, policy), others, games))
    return max(highest)


if __name__ == "__main__":
    main()
