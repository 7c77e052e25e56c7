"""What the rule reads of many instructions: nothing wrong, and how much, as docs/data.md says."""

from itertools import permutations
from pathlib import Path

import pytest

from data_scripts.episodes.instruction import Instruction, Unparsed, parse_instruction
from tests.data_scripts.episodes.instruction_lists import STYLES, readings
from tests.data_scripts.episodes.instruction_traps import READ, UNREAD

DOCS = Path(__file__).resolve().parents[3] / "docs" / "data.md"


def read_by_rule(instructions):
    answers = {text: parse_instruction(text) for text in instructions}
    return {text: tuple(answer) for text, answer in answers.items() if isinstance(answer, Instruction)}


@pytest.mark.parametrize("style", STYLES)
def test_what_is_read_is_right(style):
    wanted = STYLES[style]
    read = read_by_rule(wanted)
    assert {text: names for text, names in read.items() if names != wanted[text]} == {}  # precision is 1


def test_the_coverage_is_the_one_in_the_docs():
    readable = {style: [text for text, meant in texts.items() if meant] for style, texts in STYLES.items()}
    read = {style: len(read_by_rule(texts)) for style, texts in readable.items()}
    total, every, ours = (sum(map(len, STYLES.values())), sum(map(len, readable.values())), sum(read.values()))
    assert total >= 150
    said = (
        f"Of {total} instructions in the style of CALVIN, Meta-World and LIBERO, written for its tests, a person reads "
        f"one act on one object in {every}; the rule reads {ours} of these ({ours / every:.0%}), each as the person "
        "does, and none of the others. By style it reads "
    )
    said += ", ".join(f"{read[style]} of {len(readable[style])} ({style})" for style in STYLES)
    assert said in " ".join(DOCS.read_text(encoding="utf-8").split())


@pytest.mark.parametrize("text", UNREAD.strip().splitlines())
def test_what_is_misleading_is_left_alone(text):
    assert isinstance(parse_instruction(text), Unparsed)


def test_what_only_looks_misleading_is_read_right():
    wanted = readings(READ)
    assert read_by_rule(wanted) == wanted


READABLE = [text for texts in STYLES.values() for text in read_by_rule(texts)]
ACTS = (
    "open the drawer", "close box", "turn the stove off", "put the cup on the table", "lift the red block", "wave",
    "take the lid off the pot", "move the cup to the left", "slide the door open", "rotate the knob clockwise",
    "get the spoon", "yeet the cup", "return the cup to the shelf", "let go", "stop", "wait for the robot",
)  # fmt: skip
GLUE = (
    " ", ", ", "; ", ". ", "\n", " - ", " / ", " & ", " (", " and ", " then ", " and then ", " but ", " while ",
    " before ", " after ", " until ", " to ", " or ", " so ", " also ", " now ", " again ", " twice ", " by ", " for ",
    " with ", " on ",
)  # fmt: skip


def test_two_acts_are_never_one_however_they_are_joined():
    joined = [glue.join(pair) for pair in permutations(ACTS, 2) for glue in GLUE]
    assert read_by_rule(joined) == {}


@pytest.mark.parametrize("word", ["not", "never", "except", "almost", "не"])
def test_a_negation_anywhere_leaves_a_sentence_alone(word):
    negated = []
    for text in READABLE:
        words = text.split()
        negated += [" ".join([*words[:place], word, *words[place:]]) for place in range(len(words) + 1)]
    assert read_by_rule(negated) == {}


@pytest.mark.parametrize(
    "remark",
    ["failed", "(failed)", "- failed", "demo", "trial 3", "lying", "quick", "opened", "v2", "left arm", "test"],
)
def test_a_remark_at_the_end_leaves_a_sentence_alone(remark):
    assert read_by_rule(f"{text.rstrip('.?')} {remark}" for text in READABLE) == {}
