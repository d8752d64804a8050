"""The examples that learn by play: their worlds follow the rules, their learning the formulas, and it helps."""

import itertools
import math

import numpy as np
import pytest

from fastdnn import Model, layers, losses

# ------------------------------------------------------------ cartpole


def euler_step(x, v, angle, turning, right):
    """One step of CartPole-v1 as its source writes it."""
    force = 10.0 if right else -10.0
    total, pole_length = 1.0 + 0.1, 0.1 * 0.5
    temp = (force + pole_length * turning**2 * math.sin(angle)) / total
    tilt = (9.8 * math.sin(angle) - math.cos(angle) * temp) / (0.5 * (4 / 3 - 0.1 * math.cos(angle) ** 2 / total))
    push = temp - pole_length * tilt * math.cos(angle) / total
    return x + 0.02 * v, v + 0.02 * push, angle + 0.02 * turning, turning + 0.02 * tilt


def test_carts_move_as_written(example):
    pushed, rng = example("cartpole").pushed, np.random.default_rng(0)
    by_hand = [[0.0, 8 / 41, 0.0, -12 / 41]]  # at rest, upright: accelerations 400 / 41 and -600 / 41
    np.testing.assert_allclose(pushed(np.zeros((1, 4)), np.array([True])), by_hand, rtol=1e-12)
    states, right = rng.uniform(-1, 1, (50, 4)), rng.random(50) < 0.5
    expected = [euler_step(*state, push) for state, push in zip(states, right, strict=True)]
    np.testing.assert_allclose(pushed(states, right), expected, rtol=1e-12)


def test_episodes_end_by_failing_or_by_time(example):
    module = example("cartpole")
    carts = module.Carts(6, np.random.default_rng(0))
    assert (np.abs(carts.states) <= 0.05).all()
    degrees = math.radians(12)
    carts.states[:] = 0
    carts.states[:4, 0] = [2.39, -2.39, 2.39, 0]
    carts.states[:4, 1] = [1.0, -1.0, 0.0, 0]  # 0.02 further in a step
    carts.states[3, 2:] = degrees - 0.001, 0.1
    carts.states[4, 2:] = -degrees + 0.001, -0.1
    carts.ages[:] = [7, 7, 7, 7, 499, 499]  # the fifth fails in its last step, the sixth stays up
    before = carts.states.copy()
    reached, failed, late = carts.step(np.ones(6, bool))
    np.testing.assert_array_equal(reached, module.pushed(before, np.ones(6, bool)))
    assert failed.tolist() == [True, True, False, True, True, False]
    assert late.tolist() == [False, False, False, False, False, True]
    assert carts.ages.tolist() == [0, 0, 8, 0, 0, 0]
    np.testing.assert_array_equal(carts.states[2], reached[2])
    new = carts.states[[0, 1, 3, 4, 5]]
    assert (np.abs(new) <= 0.05).all()
    assert len(np.unique(new)) == new.size


def test_advantages_are_sums_of_errors_to_the_end_of_an_episode(example):
    module, rng = example("cartpole"), np.random.default_rng(0)
    values, next_values = rng.random((2, 12, 5))
    failed = rng.random((12, 5)) < 0.15
    late = ~failed & (rng.random((12, 5)) < 0.15)
    found = module.advantages_of(values, next_values, failed, late)
    for t, cart in itertools.product(range(12), range(5)):
        expected, weight = 0.0, 1.0
        for later in range(t, 12):
            future = 0.0 if failed[later, cart] else 0.99 * next_values[later, cart]  # also where time has run out
            expected += weight * (0.01 + future - values[later, cart])
            weight *= 0.99 * 0.95
            if failed[later, cart] or late[later, cart]:
                break
        assert found[t, cart] == pytest.approx(expected)


def test_targets_give_the_gradient_of_the_clipped_objective(example):
    """Central differences of -mean(min(ratio A, clip(ratio) A)); many ratios are outside of their bounds, both ways."""
    module, rng = example("cartpole"), np.random.default_rng(0)
    net = [layers.Dense(5, activation="tanh"), layers.Dense(2)]
    policy = Model(net, loss=losses.PolicyGradient(), dtype="float64", random_state=0).build(4)
    states, actions, rows = rng.standard_normal((40, 4)), rng.integers(2, size=40), np.arange(40)
    old = np.clip(policy.predict(states)[rows, actions] * rng.uniform(0.6, 1.5, 40), 0.01, 0.99)
    advantages = rng.standard_normal(40)

    def objective():
        ratio = policy.predict(states)[rows, actions] / old
        return -np.minimum(ratio * advantages, np.clip(ratio, 0.8, 1.2) * advantages).mean()

    targets = module.targets_of(policy, states, actions, old, advantages)
    assert 5 < (targets.any(axis=1)).sum() < 35
    policy.loss_and_grad(states, targets)
    for key, weights in policy.weights.items():
        for at in np.ndindex(weights.shape):
            kept, ends = weights[at], []
            for step in (1e-6, -1e-6):
                weights[at] = kept + step
                ends.append(objective())
            weights[at] = kept
            assert policy.gradients[key][at] == pytest.approx((ends[0] - ends[1]) / 2e-6, abs=1e-7)


def test_cartpole_learns_the_same_from_the_same_seed(example, capsys):
    module, settings = example("cartpole"), {"n": 8, "steps": 64, "batch": 128}
    policy, taken = module.trained(0, 12_000, **settings)
    assert taken == 23 * 8 * 64 <= 12_000
    untrained = module.network(2, losses.PolicyGradient(), 1, seed=0)
    before, after = (module.lengths_of(p, 50, seed=1).mean() for p in (untrained, policy))
    assert after > max(60, 2 * before)
    np.testing.assert_array_equal(policy.params, module.trained(0, 12_000, **settings)[0].params)
    lowest = module.main(seeds=1, total=12_000, episodes=20, **settings)
    assert lowest > 60
    assert "seed 0: 11,776 steps in" in (printed := capsys.readouterr().out)
    assert f"mean return {lowest:.1f} in 20 episodes" in printed


def test_lengths_are_those_of_whole_episodes(example):
    """A policy that always pushes to the right falls after some ten steps, as one cart at a time shows."""
    module = example("cartpole")
    policy = Model([layers.Dense(2)], loss=losses.PolicyGradient()).build(4)
    policy.params[...] = 0
    policy.weights["0.dense.bias"][...] = [0, 1]
    lengths, expected = module.lengths_of(policy, 20, seed=3), []
    for state in np.random.default_rng(3).uniform(-0.05, 0.05, (20, 4)):
        for age in itertools.count(1):
            state = euler_step(*state, True)
            if abs(state[0]) > 2.4 or abs(state[2]) > math.radians(12):
                expected.append(age)
                break
    assert lengths.tolist() == expected


# ------------------------------------------------------------ board games


def rows_of(board, rows, columns, length):
    """What stands on each straight line of that length, found by walking from each cell in each direction."""
    cells = {(r, c): board[r * columns + c] for r in range(rows) for c in range(columns)}
    for (r, c), (down, right) in itertools.product(cells, ((0, 1), (1, 0), (1, 1), (-1, 1))):
        line = [(r + down * i, c + right * i) for i in range(length)]
        if all(cell in cells for cell in line):
            yield [cells[cell] for cell in line]


@pytest.fixture
def games(example):
    """The two games, and the module of what they share."""
    return example("tic_tac_toe").TIC_TAC_TOE, example("connect_four").CONNECT_FOUR, example("board_games")


def test_full_rows_are_found_on_all_boards(games):
    tic_tac_toe, connect_four, _ = games
    assert len(tic_tac_toe.lines) == 3 + 3 + 2
    assert len(connect_four.lines) == 4 * 2 + 5 * 1 + 2 * 2
    all_boards = np.array(list(itertools.product((-1, 0, 1), repeat=9)), np.int8)
    some = np.random.default_rng(0).choice(np.array([-1, 0, 1], np.int8), (5000, 20), p=[0.5, 0.1, 0.4])
    for game, boards in ((tic_tac_toe, all_boards), (connect_four, some)):
        shape = game.rows, game.columns, game.length
        expected = [any(line == [-1] * game.length for line in rows_of(board, *shape)) for board in boards.tolist()]
        assert 0.1 < np.mean(expected) < 0.9
        assert game.lost(boards).tolist() == expected
        assert game.full(boards).tolist() == [0 not in board for board in boards.tolist()]


def test_stones_fall_to_the_lowest_free_place(games):
    connect_four, rng = games[1], np.random.default_rng(0)
    boards, heights = connect_four.start(30), np.zeros((30, 5), int)
    for _ in range(20):
        legal = connect_four.legal(boards)
        np.testing.assert_array_equal(legal, heights < 4)
        moves = np.where(legal, rng.random(legal.shape), -1).argmax(axis=1)
        expected = -boards.reshape(30, 4, 5)
        for i, move in enumerate(moves):
            expected[i, 3 - heights[i, move], move] = -1
            heights[i, move] += 1
        boards = connect_four.after(boards, moves)
        np.testing.assert_array_equal(boards.reshape(30, 4, 5), expected)
    assert connect_four.full(boards).all()


def test_a_move_puts_a_stone_and_gives_the_board_to_the_other(games):
    game = games[0]
    boards = game.after(game.start(2), np.array([4, 0]))
    assert boards.tolist() == [[0, 0, 0, 0, -1, 0, 0, 0, 0], [-1, 0, 0, 0, 0, 0, 0, 0, 0]]
    assert game.after(boards, np.array([0, 8])).tolist() == [[-1, 0, 0, 0, 1, 0, 0, 0, 0], [1, 0, 0, 0, 0, 0, 0, 0, -1]]
    assert game.legal(boards)[0].tolist() == [True] * 4 + [False] + [True] * 4


def scripted(moves):
    """A player of given moves, one after the other, the same on all boards."""
    following = iter(moves)
    return lambda boards: np.full(len(boards), next(following))


def test_outcomes_are_those_of_the_first_player(games):
    game, _, shared = games
    assert shared.outcomes(game, scripted([0, 1, 2]), scripted([3, 4]), 4).tolist() == [1] * 4
    assert shared.outcomes(game, scripted([0, 1, 8]), scripted([3, 4, 5]), 4).tolist() == [-1] * 4
    assert shared.outcomes(game, scripted([0, 1, 5, 6, 8]), scripted([2, 3, 4, 7]), 4).tolist() == [0] * 4
    assert shared.outcomes(game, scripted([0, 1, 3, 5, 8]), scripted([2, 4, 7, 6]), 1).tolist() == [-1]


def test_ends_are_those_of_all_games(games):
    """By walking through all games against a player that takes the last free cell."""
    game, _, shared = games

    def last(boards):
        return 8 - game.legal(boards)[:, ::-1].argmax(axis=1)

    def walk(board, turn, found):
        free = [cell for cell in range(9) if board[cell] == 0]
        for move in free[-1:] if turn else free:
            after = [-stone for stone in board]
            after[move] = -1
            if [-1] * 3 in rows_of(after, 3, 3, 3):
                found[0 if turn else 2].add(tuple(after))
            elif 0 not in after:
                found[1].add(tuple(after))
            else:
                walk(after, not turn, found)

    for first in (True, False):
        expected = set(), set(), set()
        walk([0] * 9, first, expected)
        assert shared.ends(game, last, first).tolist() == [len(boards) for boards in expected]


def test_a_perfect_player_never_loses(games, example):
    game, _, shared = games
    rng = np.random.default_rng(0)
    perfect = example("tic_tac_toe").PerfectPlayer(game, rng)
    anyone = shared.random_player(game, rng)
    assert perfect.best(game.start(1)[0])[0] == 0
    assert (shared.outcomes(game, perfect, perfect, 50) == 0).all()
    assert shared.outcomes(game, perfect, anyone, 200).min() == 0
    assert shared.outcomes(game, anyone, perfect, 200).max() == 0

    def first_of_the_best(boards):
        return np.array([perfect.best(board)[1][0] for board in boards])

    assert shared.ends(game, first_of_the_best, True)[2] == shared.ends(game, first_of_the_best, False)[2] == 0
    assert len(perfect.known) <= 4520  # positions that go on
    won = np.array([1, 1, 0, -1, -1, 0, 0, 0, 0], np.int8)
    assert perfect.best(won)[0] == 1
    assert 2 in perfect.best(won)[1]
    assert perfect.best(np.array([-1, 0, 0, 0, 0, 0, 0, 0, 0], np.int8))[1].tolist() == [4]  # a corner needs the center


@pytest.mark.parametrize("which", [0, 1])
def test_players_take_legal_moves_only(which, games):
    game, shared, rng = games[which], games[2], np.random.default_rng(0)
    policy = shared.network(game, game.n_moves, losses.PolicyGradient(), 1, seed=0, units=8)
    anyone, greedy = shared.random_player(game, rng), shared.greedy_player(game, policy)

    def watched(boards):
        moves, legal, each = greedy(boards), game.legal(boards), np.arange(len(boards))
        scores = np.where(legal, policy.predict(shared.planes(boards)), -1)
        assert legal[each, moves].all()
        assert (scores[each, moves] == scores.max(axis=1)).all()
        return moves

    assert set(shared.outcomes(game, watched, anyone, 100)) <= {-1, 0, 1}
    board = np.array([[1, -1, 0] * (game.n_cells // 3) + [0] * (game.n_cells % 3)], np.int8)
    drawn = np.bincount(anyone(np.repeat(board, 3000, axis=0)), minlength=game.n_moves)
    free = game.legal(board)[0]
    assert (drawn[~free] == 0).all()
    np.testing.assert_allclose(drawn[free] / 3000, 1 / free.sum(), atol=0.04)


def test_moves_are_worth_what_they_lead_to(games):
    game, _, shared = games
    value = shared.network(game, 1, "squared_error", 1, seed=0, units=8)
    boards = np.array([[1, 1, 0, -1, -1, 0, 0, 0, 0], [1, -1, 1, 1, -1, -1, -1, 1, 0], [0] * 9], np.int8)
    found = shared.worths(game, value, boards)
    assert found[0, 2] == 1  # a row is full
    assert found[1].tolist() == [-np.inf] * 8 + [0]  # the board is
    assert (np.isinf(found[0]) == (boards[0] != 0)).all()
    own, other = np.zeros(9), np.zeros(9)
    other[4] = 1  # the stone in the middle, for the other one to move
    assert found[2, 4] == pytest.approx(-0.97 * value.predict(np.concatenate([own, other])[None])[0, 0])


@pytest.mark.parametrize(("name", "steps"), [("tic_tac_toe", 1000), ("connect_four", 500)])
def test_self_play(name, steps, example, capsys):
    """It loses less than a random player does, 0.43 and more where it loses most; the same seed gives the same networks."""
    module = example(name)
    assert module.main(seeds=1, steps=steps, games=200) < 0.25
    printed = capsys.readouterr().out
    assert printed.count("to move against anyone") == 2
    assert printed.count("against a random player") == 2
    game = getattr(module, name.upper())
    (policy, value, played), again = (module.self_play(game, 20, seed=3, n=64, units=16) for _ in range(2))
    np.testing.assert_array_equal(policy.params, again[0].params)
    np.testing.assert_array_equal(value.params, again[1].params)
    assert played == again[2] > 64
