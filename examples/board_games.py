"""Games on small boards, and how networks learn them by playing against themselves; not a script.

tic_tac_toe.py and connect_four.py use it. A position is a board (cells,) of int8, seen by who is to move: 1 is a stone of
one's own, -1 one of the other's. All functions take many boards at once, (n, cells).

Two networks learn from nothing but the rules: the value of a position for who is to move (1 won, 0 drawn, -1 lost), and a
policy, the probabilities of the moves. At each position of their games all legal moves are tried: a move is worth minus the
value of the board that it gives to the other one. The better a move, the more weight it gets; the weighted mean is what the
value of the position learns (temporal differences), and the policy learns the weights, by the loss `PolicyGradient`, whose
targets are NaN for illegal moves. Moves are drawn by the weights, and now and then at random. Once trained, the policy plays
alone and does not look ahead.

References: Tesauro, G. (1995). Temporal difference learning and TD-Gammon. Anthony, T., Tian, Z. & Barber, D. (2017),
arXiv:1705.08439 (a policy learns what a search finds). Silver, D. et al. (2018). A general reinforcement learning algorithm
that masters chess, shogi, and Go through self-play.
"""

import itertools

import numpy as np

from fastdnn import Model, layers, losses, optimizers, schedules

TEMPERATURE = 0.2  # divides what moves are worth: the lower, the more of the weight goes to the best one
DISCOUNT = 0.97  # of what a move later brings: sooner won is better, later lost too
EXPLORATION = 0.2  # part of the moves that are any legal ones


class Game:
    """A game that is won by `length` stones in a row; a move names a cell or, where stones fall, a column."""

    def __init__(self, rows, columns, length, falls=False):
        self.rows, self.columns, self.length, self.falls = rows, columns, length, falls
        self.n_cells, self.n_moves = rows * columns, columns if falls else rows * columns
        lines = []
        for (down, right), r, c in itertools.product(((0, 1), (1, 0), (1, 1), (1, -1)), range(rows), range(columns)):
            r_end, c_end = r + down * (length - 1), c + right * (length - 1)
            if r_end < rows and 0 <= c_end < columns:
                lines.append([(r + down * i) * columns + c + right * i for i in range(length)])
        self.lines = np.array(lines)
        self._member = np.zeros((self.n_cells, len(lines)), "float32")  # 1 where a cell is on a line
        self._member[self.lines.T, np.arange(len(lines))] = 1

    def start(self, n):
        """n empty boards."""
        return np.zeros((n, self.n_cells), np.int8)

    def legal(self, boards):
        """Which moves there are, (n, n_moves)."""
        return boards[:, : self.n_moves] == 0  # the first row is the top one

    def after(self, boards, moves):
        """The boards after a legal move on each, seen by the other player."""
        each = np.arange(len(boards))
        if self.falls:
            free = (boards.reshape(-1, self.rows, self.columns)[each, :, moves] == 0).sum(axis=1)
            moves = (free - 1) * self.columns + moves
        reached = -boards
        reached[each, moves] = -1
        return reached

    def lost(self, boards):
        """On which boards the other player has a full row."""
        return (boards @ self._member == -self.length).any(axis=1)

    def full(self, boards):
        """Which boards have no place left."""
        return (boards != 0).all(axis=1)


def planes(boards):
    """What networks see, (n, 2 cells): where one's own stones are, where the other's are."""
    return np.concatenate([boards == 1, boards == -1], axis=1).astype("float32")


# ------------------------------------------------------------ players: functions from boards (n, cells) to moves (n,)


def random_player(game, rng):
    """Any legal move."""
    return lambda boards: np.where(game.legal(boards), rng.random((len(boards), game.n_moves)), -1).argmax(axis=1)


def greedy_player(game, policy):
    """The likeliest legal move of the policy; it does not look ahead."""
    return lambda boards: np.where(game.legal(boards), policy.forward(planes(boards)), -np.inf).argmax(axis=1)


def outcomes(game, first, second, n):
    """What n games end with for the player who moves first: 1 won, 0 drawn, -1 lost."""
    boards, found, going = game.start(n), np.zeros(n, int), np.arange(n)
    for player, won in itertools.cycle(((first, 1), (second, -1))):
        boards = game.after(boards, player(boards))
        lost = game.lost(boards)
        found[going[lost]] = won
        going_on = ~(lost | game.full(boards))
        boards, going = boards[going_on], going[going_on]
        if len(going) == 0:
            return found


def ends(game, player, first):
    """How many boards (won, drawn, lost) the player's games can end with, whatever the other one does; `first` to move?"""
    boards, turn, found = game.start(1), first, np.zeros(3, int)
    while len(boards):
        if turn:
            boards = game.after(boards, player(boards))
        else:
            each, moves = game.legal(boards).nonzero()
            boards = np.unique(game.after(boards[each], moves), axis=0)
        lost, full = game.lost(boards), game.full(boards)
        found += [turn * lost.sum(), (full & ~lost).sum(), (not turn) * lost.sum()]
        boards, turn = boards[~(lost | full)], not turn
    return found


def report(game, player, others, n):
    """Print how the player does, n games against each of {name: other player} and whatever any other one may do.

    Returns the highest rate of games lost.
    """
    highest = 0.0
    for first, place in ((True, "first"), (False, "second")):
        for name, other in others.items():
            found = outcomes(game, player, other, n) if first else -outcomes(game, other, player, n)
            won, drawn, lost = ((found == result).mean() for result in (1, 0, -1))
            print(f"  {place:6s} to move against a {name} player: won {won:.3f}, drawn {drawn:.3f}, lost {lost:.3f}")
            highest = max(highest, float(lost))
        won, drawn, lost = ends(game, player, first)
        print(f"  {place:6s} to move against anyone: {won:,} ends won, {drawn:,} drawn, {lost:,} lost", flush=True)
    return highest


# ------------------------------------------------------------ learning


def worths(game, value, boards):
    """What each move on each board is worth, (n, n_moves): minus the value of the board that it leads to; illegal -inf."""
    found = np.full((len(boards), game.n_moves), -np.inf)
    each, moves = game.legal(boards).nonzero()
    reached = game.after(boards[each], moves)
    worth = -DISCOUNT * value.predict(planes(reached))[:, 0].astype(float)
    worth[game.full(reached)] = 0
    worth[game.lost(reached)] = 1
    found[each, moves] = worth
    return found


def network(game, n_out, loss, steps, seed, units, rate=3e-3):
    """Two layers; the learning rate falls to 0 in so many steps."""
    return Model(
        [layers.Dense(units, activation="relu"), layers.Dense(units, activation="relu"), layers.Dense(n_out)],
        loss=loss,
        optimizer=optimizers.Adam(schedules.Polynomial(rate, total=steps)),
        random_state=seed,
    ).build(2 * game.n_cells)


def self_play(game, steps, seed=0, n=256, units=128):
    """(policy, value, number of games): n games side by side; in each step all go on by a move, and the networks learn."""
    rng, played, boards = np.random.default_rng(seed), 0, game.start(n)
    policy = network(game, game.n_moves, losses.PolicyGradient(), steps, seed, units)
    value = network(game, 1, "squared_error", steps, seed, units)
    anyone = random_player(game, rng)
    for _ in range(steps):
        worth = worths(game, value, boards)
        legal, scores = worth > -np.inf, worth / TEMPERATURE
        weights = np.exp(scores - scores.max(axis=1, keepdims=True))
        weights /= weights.sum(axis=1, keepdims=True)
        X, expected = planes(boards), (weights * np.where(legal, worth, 0)).sum(axis=1)
        policy.train_on_batch(X, np.where(legal, weights, np.nan))
        value.train_on_batch(X, expected)
        drawn = (scores + rng.gumbel(size=scores.shape)).argmax(axis=1)  # by the weights
        boards = game.after(boards, np.where(rng.random(n) < EXPLORATION, anyone(boards), drawn))
        ended = game.lost(boards) | game.full(boards)
        boards[ended] = 0
        played += ended.sum()
    return policy, value, int(played)
