"""What the composition experiment measures, beside naive references, and its tables from small results."""

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.composition.decoders import Ranked, SetClassifier, by_logits, by_pursuit, choose_count
from benchmarks.composition.measures import defects, exact, first_hits, interval, unrelated_defects
from benchmarks.composition.squares import DIAGONALS, EDGES, PAIRS, Squares
from data_scripts.rooms.objects import ACTION_EFFECTS

SEEDS = st.integers(0, 10**6)


def drawn(seed, *shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def naive_defect(z):
    """One square, from the formula, with numpy."""
    z = np.asarray(z, np.float64).reshape(4, -1)
    steps = [np.linalg.norm(z[b] - z[a]) for a, b in ((0, 1), (1, 2), (2, 3), (3, 0))]
    return np.linalg.norm(z[2] - z[1] - z[3] + z[0]) / np.mean(steps)


@settings(max_examples=40, deadline=None)
@given(SEEDS)
def test_the_defect_is_its_formula(seed):
    states = drawn(seed, 3, 4, 2, 5)  # also of patches
    assert defects(states).tolist() == pytest.approx([naive_defect(z) for z in states])


@settings(max_examples=40, deadline=None)
@given(SEEDS, st.floats(0.1, 10))
def test_laws_of_the_defect(seed, scale):
    z0, a, b, c = drawn(seed, 4, 6)
    square = torch.stack([z0, z0 + a, z0 + a + b, z0 + b])[None]
    assert float(defects(square)) == pytest.approx(0, abs=1e-5)  # states that add up
    states = drawn(seed + 1, 2, 4, 6)
    assert torch.all(defects(states) <= 2 + 1e-9)
    assert defects(scale * states + c).tolist() == pytest.approx(defects(states).tolist(), rel=1e-4)
    for turned in (states[:, [1, 2, 3, 0]], states[:, [3, 2, 1, 0]]):  # which corner is called 00
        assert defects(turned).tolist() == pytest.approx(defects(states).tolist(), rel=1e-6)


def test_unrelated_steps_have_a_defect_of_about_the_root_of_two():
    states = drawn(0, 400, 4, 500)
    partner = list(np.random.default_rng(0).permutation(400))
    found = unrelated_defects(states, partner)
    one, other = states[3, 1] - states[3, 0], states[partner[3], 2] - states[partner[3], 3]
    assert float(found[3]) == pytest.approx(float((one - other).norm() / ((one.norm() + other.norm()) / 2)), rel=1e-5)
    assert float(found.mean()) == pytest.approx(math.sqrt(2), abs=0.02)
    assert unrelated_defects(states, range(400)).shape == (400,)


def test_a_hit_is_the_nearest_state_but_the_one_before():
    states = torch.tensor([[[0.0], [1.0], [5.0], [9.0]]]).repeat(3, 1, 1)
    wanted = torch.tensor([[0.1], [0.1], [8.0]])
    assert first_hits(wanted, states, [0, 1, 0], [1, 0, 3]).tolist() == [1, 1, 1]
    assert first_hits(wanted, states, [0, 0, 0], [2, 3, 2]).tolist() == [0, 0, 0]


@settings(max_examples=40, deadline=None)
@given(SEEDS)
def test_hits_are_those_of_a_loop(seed):
    states, wanted = drawn(seed, 5, 4, 3), drawn(seed + 1, 5, 3)
    pairs = [list(itertools.permutations(range(4), 2))[(seed + k) % 12] for k in range(5)]
    expected = []
    for k, (start, end) in enumerate(pairs):
        near = min((float((states[k, c] - wanted[k]).norm()), c) for c in range(4) if c != start)
        expected.append(float(near[1] == end))
    assert first_hits(wanted, states, [p[0] for p in pairs], [p[1] for p in pairs]).tolist() == expected


def test_an_answer_is_right_as_a_set():
    a = frozenset
    assert exact([a("xy"), a("x"), a("xz")], [a("yx"), a("xy"), a("xy")]).tolist() == [1, 0, 0]


def test_the_interval_is_that_of_independent_draws_and_counts_groups_once():
    values = torch.tensor([1.0, 2.0, 4.0, 9.0])
    mean, half = interval(values, range(4))
    assert mean == 4 and half == pytest.approx(1.96 * float(values.std()) / 2)
    again = interval(values.repeat_interleave(3), np.repeat(range(4), 3).tolist())
    assert again == pytest.approx((mean, half))
    assert interval(torch.tensor([1.0, math.nan]), [0, 1])[0] == 1
    assert all(map(math.isnan, interval(torch.tensor([]), [])))


def test_decoders_rank_two_actions():
    logits = torch.tensor([[0.0, 3.0, 2.0], [5.0, -1.0, 0.0]])
    ranked = by_logits(logits)
    assert ranked.actions.tolist() == [[1, 2], [0, 2]]
    assert ranked.both("abc") == [frozenset("bc"), frozenset("ac")]
    assert ranked.counted("abc", 0.1) == [frozenset("bc"), frozenset("a")]
    assert by_pursuit(torch.tensor([[2.0, 1.0, 0.0]]), torch.eye(3)).both("abc") == [frozenset("ab")]


def test_the_count_is_chosen_to_tell_one_from_two():
    one = Ranked(torch.zeros(3, 2, dtype=torch.int64), torch.tensor([0.0, 0.1, 0.2]))
    two = Ranked(torch.zeros(3, 2, dtype=torch.int64), torch.tensor([0.15, 0.5, 0.9]))
    above = choose_count(one, two)
    assert sum((one.second < above).tolist()) + sum((two.second >= above).tolist()) == 5


def test_the_upper_bound_learns_sets_of_actions():
    generator = torch.Generator().manual_seed(0)
    centres = 3 * torch.eye(4, 8)
    sets = [{0}, {1}, {2}, {0, 1}, {1, 2}, {0, 2}] * 30
    x = torch.stack([sum(centres[i] for i in done) for done in sets]) + 0.1 * torch.randn(180, 8, generator=generator)
    fitted = SetClassifier(x, [frozenset("abcd"[i] for i in done) for done in sets], "abcd", 1.0)
    two = [k for k, done in enumerate(sets) if len(done) == 2]
    assert fitted(x[two]).both("abcd") == [frozenset("abcd"[i] for i in sets[k]) for k in two]  # d never occurred


@pytest.fixture
def squares():
    acts = [("open", "turnon", "close"), ("clean", "break", "dirty")]
    return Squares(acts, [("Oven",) * 3, ("Mirror",) * 3], {"cls": drawn(0, 2, 4, 5)}, {
        "change": {pair: drawn(k, 2, 2, 5) for k, pair in enumerate(PAIRS)}
    })  # fmt: skip


def test_moves_name_what_leads_from_one_frame_to_another(squares):
    """Against states that are walked through: what changes between two frames is what the actions change."""
    for k, (acts, start) in enumerate(zip(squares.acts, (set(), {"dirt"}), strict=True)):
        states = [frozenset(start)]
        for act in acts:
            states.append(states[-1] ^ {ACTION_EFFECTS[act][0]})
        found = {(m.start, m.end): m.actions for m in (*squares.edges, *squares.diagonals) if m.square == k}
        for i, j in itertools.permutations(range(4), 2):
            wanted = set()
            for change in states[i] ^ states[j]:
                name = next((a for a, e in ACTION_EFFECTS.items() if e == (change, change in states[j])), None)
                wanted.add(name)
            assert found.get((i, j)) == (None if None in wanted else frozenset(wanted)), (acts, i, j)


def test_one_action_on_two_objects_is_no_pair_of_actions():
    made = Squares([("open", "open", "close")], [("Oven", "Bin", "Oven")], {}, {})
    assert {(m.start, m.end): set(m.actions) for m in made.diagonals} == {
        (1, 3): {"open", "close"},
        (3, 1): {"open", "close"},
    }


def test_features_of_a_move_are_those_of_its_frames(squares):
    moves = [*squares.edges, *squares.diagonals]
    plain, paired = squares.pairs_of("cls", moves), squares.pairs_of("change", moves)
    for k, move in enumerate(moves):
        assert torch.equal(plain[k], squares.features["cls"][move.square, [move.start, move.end]])
        forth = (move.start, move.end) in PAIRS
        stored = squares.paired["change"][(move.start, move.end) if forth else (move.end, move.start)][move.square]
        assert torch.equal(paired[k], stored if forth else stored.flip(0))
    assert set(EDGES) | set(DIAGONALS) == set(PAIRS)


def small_result(seed):
    """A result of two squares for each sort, the second of which is hard, with one reading and all decoders."""
    plain = {"objects": ["Oven"], "acts": ["open", "turnon", "close"], "hard": False}
    hard = {"objects": ["Cup"], "acts": ["fill", "break", "empty"], "hard": True}
    answered = {
        "above": 0.1,
        "two": [[0, 1], [0, 0], [1, 0]],
        "two, counted": [[0, 0], [0, 0], [1, 0]],
        "one, counted": [[0, 1], [1, 1]],
    }
    logits = answered | {"two": [[0, 0], [0, 0], [1, 1]]}
    values = {"states": [0.5, 1.5], "states, unrelated": [1.4, 1.4], "backbone": [0.75, 1.5]}
    ways = {"composed": [[0, 1]], "copy before": [[0, 0]], "nearest object": [[0, 1]]}
    return {
        "seed": seed,
        "squares": {"one": [plain, hard], "two": [plain, plain]},
        "truth": [["open", "turnon"], ["close", "turnoff"], ["break", "fill"]],
        "defects": {"change": {sort: values | {"backbone, unrelated": [1.25, 1.5]} for sort in ("one", "two")}},
        "decoding": {
            "change": {sort: {"pursuit": answered, "logits": logits} for sort in ("one", "two")},
            "concatenation": {sort: {"logits": logits} for sort in ("one", "two")},
        },
        "retrieval": {"change": {"one": ways, "two": ways}},
        "upper": {"held out": [["open", "turnon"]], "C": 0.1, "all pairs": answered, "70 % of pairs": logits},
        "order": {"end points": [[0, 1], [0, 0]], "middle frame": [[0, 1], [0, 1]]},
    }


def test_tables_are_the_means_of_the_squares():
    from benchmarks.composition.tables import decoding_table, defect_table, differences, held_out_table, tables

    found = [small_result(40), small_result(41)]
    assert "| one object | change-weighted patches | 0.50 ± 0.00 | 1.40 ± 0.00 | 0.75 ± 0.00 | 1.25 ± 0.00 |" in (
        defect_table(found)
    )
    assert "| one object, one hides the other | change-weighted patches | 1.50 ± 0.00 |" in defect_table(found)
    lines = decoding_table(found).splitlines()
    cells = [cell.strip() for cell in lines[2].split("|")[1:-1]]
    assert cells[0] == "pursuit on action means, change-weighted patches"
    assert [cell.split(" ")[0] for cell in cells[1:4]] == ["50.0", "0.0", "100.0"]  # of squares that are not hard
    assert cells[-1] == "0.0 ± 0.0"  # the hard one
    assert any(line.startswith("| trained on two actions, all pairs") for line in lines)
    assert "one object, change-weighted patches +50.0 ± 0.0" in differences(found)
    assert "| pursuit on action means, change-weighted patches | 100.0 ± 0.0 | 0.0 ± 0.0 |" in held_out_table(found)
    assert tables(found).count("\n\n") == 16 and tables([]) == "There are no results yet."


def test_a_square_lies_in_the_plane_of_its_steps(tmp_path):
    from PIL import Image

    from benchmarks.composition.picture import draw_parallelograms, in_plane

    z0, a, b = drawn(3, 3, 9)
    states = torch.stack([z0, z0 + a, z0 + a + b, z0 + b])
    points = in_plane(states)
    assert points[0].tolist() == [0, 0] and float(points[1, 1]) == pytest.approx(0, abs=1e-6)
    assert points[2].tolist() == pytest.approx((points[1] + points[3]).tolist(), rel=1e-5)
    unit = (float(a.norm()) + float(b.norm())) / 2
    assert float(points[3].norm()) == pytest.approx(float(b.norm()) / unit, rel=1e-5)
    pictures = [Image.new("RGB", (20, 20), shade) for shade in ("red", "green", "blue", "white")]
    draw_parallelograms([(states, "Oven", pictures, ("open", "turnon"), 0.0)], tmp_path / "some" / "one.png")
    assert Image.open(tmp_path / "some" / "one.png").width > 500


def test_the_page_has_the_tables_of_the_kept_results():
    import json
    from pathlib import Path

    from benchmarks.composition.tables import tables

    root = Path(__file__).parents[2]
    kept = sorted((root / "benchmarks" / "results" / "composition").glob("seed*.json"))
    assert len(kept) == 3
    page = (root / "docs" / "open_questions.md").read_text(encoding="utf-8")
    assert tables([json.loads(path.read_text()) for path in kept]) in page
