"""Rows, columns and paired differences, recomputed from the records by other means; nothing is dropped in silence."""

import statistics

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modeling_cde.analysis.compare.pairing import compare, interval_note
from modeling_cde.analysis.results import from_record
from tests.analysis.synthetic_results import record

share = st.floats(0.1, 1).map(lambda value: round(value, 3))


def results(*records):
    return [from_record(one, one["run"]) for one in records]


def cells(table, method, split="test", rule="selected", setting=None):
    """The cells of one method and split, by the column's shift."""
    (row,) = [row for row in table.rows if row.method == method and (setting is None or row.setting == setting)]
    return {column.shift: cell for column, cell in row.cells.items() if (column.split, column.rule) == (split, rule)}


@settings(max_examples=30)
@given(
    st.dictionaries(st.integers(0, 5), share, min_size=1, max_size=5),
    st.dictionaries(st.integers(0, 5), share, min_size=1, max_size=5),
)
def test_means_and_paired_differences_over_whatever_seeds_there_are(ours, vanilla):
    records = [record("cde", seed, value, value / 2 + 0.1) for seed, value in ours.items()]
    records += [record("concatenation", seed, value, value / 4 + 0.1) for seed, value in vanilla.items()]
    table = compare(results(*records))
    both = sorted(set(ours) & set(vanilla))
    for split, less in (("test", 0.0), ("test_syst", 0.1)):
        for rule, scale, their_scale, plus in (("selected", 1, 1, 0.0), ("last", 0.5, 0.25, 0.1)):
            cell = cells(table, "cde", split, rule)["both"]
            scores = [scale * value + plus - less for value in ours.values()]
            assert cell.mean == pytest.approx(statistics.fmean(scores))
            assert cell.std == (pytest.approx(statistics.stdev(scores)) if len(scores) > 1 else None)
            if not both:
                assert cell.difference is None
                continue
            expected = [scale * ours[seed] - their_scale * vanilla[seed] for seed in both]
            assert list(cell.difference.by_seed) == [(seed, 0) for seed in both]
            assert cell.difference.mean == pytest.approx(statistics.fmean(expected))
            assert cell.difference.missing == tuple((seed, 0) for seed in sorted(set(ours) - set(vanilla)))
            assert (cell.difference.interval is None) == (len(both) == 1)
    alone = sorted(set(ours) - set(vanilla))
    for seed in alone:
        assert any(f"cde-both-seed{seed}" in note and "no run with" in note for note in table.notes)
    lacking = {seed for seed in (*ours, *vanilla) if seed not in ours}
    for seed in lacking:
        assert any("title of cde has no run" in note and f"seed {seed}" in note for note in table.notes)


def test_the_rules_of_selection_stand_side_by_side():
    table = compare(results(record(), record("concatenation")))
    assert [(column.split, column.rule) for column in table.columns] == [
        (split, rule) for split in ("test", "test_comp", "test_syst") for rule in ("selected", "last")
    ]
    assert [column.title for column in table.columns][::2] == ["IID", "OOD compositional", "OOD systematic"]


def test_shifts_that_were_trained_apart_are_columns_apart():
    """The in-distribution test of the one training is not that of the other, and their runs are no pairs."""
    scores = {"comp": 0.9, "syst": 0.6}
    records = [record("cde", 0, score, shift=shift) for shift, score in scores.items()]
    records += [record("concatenation", 0, score / 2, shift=shift) for shift, score in scores.items()]
    table = compare(results(*records))
    titles = [column.title for column in table.columns if column.rule == "selected"]
    assert titles == ["IID (comp)", "OOD compositional", "IID (syst)", "OOD systematic"]
    found = cells(table, "cde")
    assert {shift: cell.mean for shift, cell in found.items()} == scores
    assert {shift: cell.difference.mean for shift, cell in found.items()} == {"comp": 0.45, "syst": 0.3}


def test_runs_are_paired_by_the_split_s_seed_too():
    records = [record("cde", 0, 0.9, split_seed=1), record("concatenation", 0, 0.5, split_seed=2)]
    table = compare(results(*records))
    assert cells(table, "cde")["both"].difference is None
    assert any("seed 0 (split 1)" in note for note in table.notes)


def test_a_partner_that_was_tested_on_other_pairs_is_none():
    other = record("concatenation", 0, 0.5, manifests={"single_comp": "c" * 64})
    table = compare(results(record("cde", 0, 0.9), other))
    assert cells(table, "cde")["both"].difference is None
    assert any("manifests differ" in note and "cde-both-seed0" in note for note in table.notes)


def test_a_partner_that_was_tested_on_fewer_pairs_is_none():
    other = record("concatenation", 0, 0.5)
    other["selected"]["splits"]["test"]["n"] = 100
    table = compare(results(record("cde", 0, 0.9), other))
    assert cells(table, "cde")["both"].difference is None
    assert cells(table, "cde", "test_comp")["both"].difference is not None
    assert any("a different number of pairs of test" in note for note in table.notes)


def test_a_reference_outside_of_the_grid_is_every_setting_s_partner_and_one_inside_only_its_own():
    grid = [record("cde", 0, 0.5 + value, setting={"temperature": value}) for value in (0.1, 0.2)]
    outside = compare(results(*grid, record("concatenation", 0, 0.25)))
    inside = compare(
        results(
            *grid,
            record("concatenation", 0, 0.25, setting={"temperature": 0.1}),
            record("concatenation", 0, 0.5, setting={"temperature": 0.2}),
        )
    )
    for table, partners in ((outside, (0.25, 0.25)), (inside, (0.25, 0.5))):
        for value, partner in zip((0.1, 0.2), partners, strict=True):
            found = cells(table, "cde", setting={"temperature": value})["both"]
            assert found.difference.mean == pytest.approx(0.5 + value - partner)


def test_a_reference_with_a_setting_that_the_run_lacks_is_no_partner():
    noisy = record("concatenation", 0, 0.25, setting={"camera_cm": 5})
    table = compare(results(record("cde", 0, 0.5), noisy))
    assert cells(table, "cde")["both"].difference is None
    assert any("cde-both-seed0" in note and "this setting" in note for note in table.notes)


def test_without_the_reference_there_are_figures_and_a_sentence():
    table = compare(results(record("cde"), record("icm")), reference="vanilla")
    assert table.reference is None and all(cell.difference is None for row in table.rows for cell in row.cells.values())
    assert any("reference method 'vanilla'" in note and "cde, icm" in note for note in table.notes)


def test_a_missing_last_epoch_is_said():
    table = compare(results(record("cde", last=None), record("concatenation")))
    assert any("last epoch was not evaluated for cde-both-seed0" in note for note in table.notes)
    none = compare(results(record("cde", last=None)))
    assert {column.rule for column in none.columns} == {"selected"}
    assert any("No last epoch was evaluated" in note for note in none.notes)


def test_the_gap_is_what_is_lost_against_the_in_distribution_test():
    table = compare(results(record("cde", 0, 0.9), record("concatenation", 0, 0.5)), metric="gap")
    assert {column.split for column in table.columns} == {"test_comp", "test_syst"}
    assert cells(table, "cde", "test_comp")["both"].mean == pytest.approx(0.1)
    assert cells(table, "cde", "test_comp")["both"].difference.mean == pytest.approx(0.0)


def test_the_order_of_rows_can_be_given():
    runs = results(record("cde"), record("icm"), record("concatenation"))
    assert [row.method for row in compare(runs, order=["icm", "concatenation"]).rows] == ["icm", "concatenation", "cde"]


def test_the_note_on_intervals_names_the_fewest_seeds_and_their_coverage():
    records = [record(method, seed, 0.5) for method in ("cde", "concatenation") for seed in range(3)]
    assert "With 3 seeds" in interval_note(compare(results(*records)))
    assert "75% of cases" in interval_note(compare(results(*records)))
    assert interval_note(compare(results(record("cde"), record("concatenation")))) is None


def test_the_number_of_tested_pairs_and_what_it_allows_to_vary_is_told():
    """200 pairs: an accuracy of one half has a standard error of sqrt(.25 / 200) = 3.5 points."""
    few = record("concatenation", 0)
    few["selected"]["splits"]["test_syst"]["n"] = 100
    (note,) = [note for note in compare(results(record("cde"), few)).notes if note.startswith("Pairs tested")]
    assert "IID 200 (±3.5)" in note and "OOD systematic 100 to 200 (±5.0)" in note


def test_the_two_rules_are_one_column_where_no_epoch_was_selected():
    records = [record("cde", 0, 0.9), record("concatenation", 0, 0.5)]
    for one in records:
        one["selected"]["criterion"] = None
    columns = compare(results(*records)).columns
    assert {column.rule for column in columns} == {"last"}
    records[0]["selected"]["criterion"] = "eval_validation_cross_entropy"
    assert {column.rule for column in compare(results(*records)).columns} == {"selected", "last"}
