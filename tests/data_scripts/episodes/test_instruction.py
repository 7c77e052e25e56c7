"""Instructions: what the rule reads, what it refuses to guess, and what holds for any text."""

import csv
import re
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_scripts.episodes.instruction import REASONS, Instruction, Unparsed, normalized, parse_instruction
from data_scripts.episodes.noun_phrase import singular
from data_scripts.episodes.readings import Readings, read_known
from data_scripts.episodes.verbs import CLASS_NAME, VerbTable, default_phrases, read_verbs
from modeling_cde.data.schema import OPPOSITES

# As people write them for table-top robots: kinds of sentences that LIBERO has (long ones, with places and "it") ...
LIBERO = {
    "open the middle drawer of the cabinet": ("open", "drawer"),
    "close the microwave": ("close", "microwave"),
    "turn on the stove": ("turnon", "stove"),
    "turn off the stove": ("turnoff", "stove"),
    "put the wine bottle on top of the cabinet": ("put_on", "bottle"),
    "put the cream cheese in the bowl": ("put_in", "cheese"),
    "put the frying pan under the cabinet shelf": ("put_under", "pan"),
    "put the white bowl to the right of the plate": ("put", "bowl"),
    "put the yellow and white mug to the front of the white mug": ("put", "mug"),
    "put the black bowl at the back on the plate": ("put_on", "bowl"),
    "put both moka pots on the stove": ("put_on", "pot"),
    "push the plate to the front of the stove": ("push", "plate"),
    "stack the black bowl at the front on the black bowl in the middle": ("stack", "bowl"),
    "pick up the alphabet soup and place it in the basket": ("put_in", "soup"),
    "pick up the book and place it in the back compartment of the caddy": ("put_in", "book"),
    "pick up the book on the left and place it on top of the shelf": ("put_on", "book"),
    "pick up the black bowl between the plate and the ramekin and place it on the plate": ("put_on", "bowl"),
    "pick up the black bowl in the top drawer of the wooden cabinet and place it on the plate": ("put_on", "bowl"),
    "put the red mug on the left plate and put the white mug on the right plate": ("put_on", "mug"),
    "KITCHEN_SCENE4_put_the_black_bowl_in_the_bottom_drawer_of_the_cabinet": ("put_in", "bowl"),
    "turn on the stove and put the moka pot on it": "several actions",
    "open the top drawer and put the bowl inside": "several actions",
    "put the black bowl in the bottom drawer of the cabinet and close it": "several actions",
    "close the bottom drawer of the cabinet and open the top drawer": "several actions",
    "stack the left bowl on the right bowl and place them in the tray": "several actions",
    "put both the alphabet soup and the tomato sauce in the basket": "several objects",
}
# ... and BridgeData V2 (short ones, without articles, some of them no sentences).
BRIDGE = {
    "put carrot on plate": ("put_on", "carrot"),
    "put the pot on the stove which is in the corner": ("put_on", "pot"),
    "put broccoli in pot or pan": ("put_in", "broccoli"),
    "place the green object in between the stove and orange towel": ("put", "object"),
    "take the can out of the pan": ("take_out", "can"),
    "take the lid off the pot": ("take_off", "lid"),
    "pick up pot from sink": ("pick_up", "pot"),
    "Move the pot to the top left of the table, beside the cloth.": ("move", "pot"),
    "move the silver pot in front of the banana": ("move", "pot"),
    "flip orange pot upright in sink": ("flip", "pot"),
    "turn faucet front to right": ("turn", "faucet"),
    "turn lever vertical to front": ("turn", "lever"),
    "twist knob start vertical _clockwise90": ("twist", "knob"),
    "fold the cloth from top right to bottom left": ("fold", "cloth"),
    "sweep the beans into the pile": ("sweep", "bean"),
    "wipe the plate with the sponge": ("wipe", "plate"),
    "close brown1fbox flap": ("close", "flap"),
    "open small 4-flap box flaps": ("open", "flap"),
    "pick up 2 blue blocks": ("pick_up", "block"),
    "put a piece of bread in the bowl": ("put_in", "bread"),
    "topple metal pot": ("knock_over", "pot"),
    "Please, turn the light on!": ("turnon", "light"),
    "Could you pick the bowl up?": ("pick_up", "bowl"),
    "turn the knob on the stove": ("turn", "knob"),
    "open that drawer": ("open", "drawer"),
    "pick up that cup": ("pick_up", "cup"),
    "pick up the cup that is on the table": ("pick_up", "cup"),
    "put the cup on that plate": ("put_on", "cup"),
    "put pot or pan in sink": "several objects",
    "put the spoon on the table in the pot": "several places",
    "turn faucet front to right (in the eyes of the robot)": "remark",
    "open the drawer, failed": "remark",
    "pick up carrot thingy": "unknown object",
    "pick up thingy": "unknown object",
    "打开抽屉 A": "not in Latin letters",
    "не open the drawer": "not in Latin letters",
    "valid": "no act",
    "end effector reaching knife": "no known verb",
    "upright metal pot": "no known verb",
    "open the drawer and yeet the bowl": "several objects",
    "put the bowl in the sink and yeet it": "unclear wording",
    "pick it up": "no object",
    "pick up the red": "no object",
    "open": "no object",
    "!?": "no words",
}


@pytest.mark.parametrize(("text", "meant"), [*LIBERO.items(), *BRIDGE.items()])
def test_real_looking_instructions(text, meant):
    expected = Unparsed(meant) if isinstance(meant, str) else Instruction(*meant)
    assert parse_instruction(text) == expected


def test_the_lists_cover_every_reason():
    assert {meant for meant in [*LIBERO.values(), *BRIDGE.values()] if isinstance(meant, str)} == set(REASONS)


WORDS = st.sampled_from(
    sorted(
        set(" ".join([*LIBERO, *BRIDGE, *default_phrases()]).split())
        | set("and then or it them the of one 3 which into".split())
    )
)
TEXTS = st.one_of(st.text(max_size=60), st.lists(WORDS, max_size=14).map(" ".join))


@settings(max_examples=250, deadline=None)
@given(TEXTS)
def test_any_text_gives_safe_names_or_a_reason(text):
    answer = parse_instruction(text)
    if isinstance(answer, Unparsed):
        assert answer.reason in REASONS
    else:
        assert all(re.fullmatch(r"[a-z0-9_]+", name) for name in answer)
        assert answer.action in set(default_phrases().values())
        plain = unicodedata.normalize("NFKD", text.lower().replace("'", ""))
        words = re.findall("[a-z0-9]+", "".join(letter for letter in plain if not unicodedata.combining(letter)))
        assert answer.object in words or any(singular(word) == answer.object for word in words)


@settings(max_examples=150, deadline=None)
@given(st.lists(WORDS, max_size=14), st.data())
def test_case_and_blanks_do_not_matter(words, data):
    blank = st.text(' _\t"', min_size=1, max_size=3)
    case = st.sampled_from([str.lower, str.upper, str.title])
    messy = data.draw(blank) + "".join(data.draw(case)(word) + data.draw(blank) for word in words)
    assert parse_instruction(messy) == parse_instruction(" ".join(words))


@settings(max_examples=250, deadline=None)
@given(st.sampled_from([*LIBERO, *BRIDGE]), st.data())
def test_marks_never_give_another_reading(text, data):
    words = text.split()
    place = data.draw(st.integers(0, len(words)))
    mark = data.draw(st.sampled_from([",", ".", ";", ":", " - ", "(", ")", "/", "?", "&", "...", "\n"]))
    before, after = " ".join(words[:place]), " ".join(words[place:])
    marked, without = parse_instruction(f"{before} {mark} {after}"), parse_instruction(f"{before} {after}")
    assert isinstance(marked, Unparsed) or marked == without


def test_opposites_are_spelt_as_the_schema_spells_them():
    assert set(OPPOSITES) <= set(default_phrases().values())


@pytest.mark.parametrize(
    ("plural", "noun"),
    [
        ("boxes", "box"), ("dishes", "dish"), ("berries", "berry"), ("cookies", "cookie"), ("potatoes", "potato"),
        ("knives", "knife"), ("shoes", "shoe"), ("cups", "cup"), ("glasses", "glasses"), ("scissors", "scissors"),
        ("glass", "glass"), ("hummus", "hummus"), ("gas", "gas"), ("peas", "pea"), ("vegetables", "vegetable"),
    ],
)  # fmt: skip
def test_singular(plural, noun):
    assert singular(plural) == noun


def test_a_long_text_is_left_alone_at_once():
    assert parse_instruction("open the drawer " * 20_000) == Unparsed("unclear wording")
    assert parse_instruction("open the " + "red " * 50 + "drawer") == Instruction("open", "drawer")


def test_own_verbs_are_added(tmp_path):
    table = tmp_path / "verbs.csv"
    table.write_text(
        "phrase,action\nzip up,zip\nput ... beside,put_beside\nopen,uncover\ngo to,visit\n", encoding="utf-8-sig"
    )
    verbs = read_verbs(table)
    assert parse_instruction("zip up the bag", verbs) == Instruction("zip", "bag")
    assert parse_instruction("zip the bag up", verbs) == Instruction("zip", "bag")
    assert parse_instruction("Put the cup beside the plate", verbs) == Instruction("put_beside", "cup")
    assert parse_instruction("open the drawer", verbs) == Instruction("uncover", "drawer")
    assert parse_instruction("Please go to the drawer", verbs) == Instruction("visit", "drawer")
    assert parse_instruction("close the drawer", verbs) == Instruction("close", "drawer")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("phrase,action\nzip up,\n", "row 1 fills only phrase"),
        ("verb,action\nzip,zip\n", "no column phrase"),
        ("phrase,action\nzip ... ,zip\n", "cannot be read"),
        ("phrase,action\nzip,../zip\n", "lower-case letters, digits"),
    ],
)
def test_a_bad_table_of_verbs_is_named(tmp_path, content, message):
    table = tmp_path / "verbs.csv"
    table.write_text(content)
    with pytest.raises(ValueError, match=re.escape(message)):
        read_verbs(table)


def test_the_longest_phrase_wins():
    verbs = VerbTable({"turn": "turn", "turn on": "turnon", "turn on ... in": "turnon_in"})
    assert parse_instruction("turn the page", verbs) == Instruction("turn", "page")
    assert parse_instruction("turn on the lamp", verbs) == Instruction("turnon", "lamp")
    assert parse_instruction("turn on the lamp in the hall", verbs) == Instruction("turnon_in", "lamp")


def test_readings_written_out_can_be_filled_in_and_read_back(tmp_path):
    tasks = ["open the drawer"] * 3 + ["do a dance", "Turn on the stove, and put the pot on it"]
    path = tmp_path / "instructions.csv"
    Readings().write(path, tasks)
    lines = path.read_text().splitlines()
    assert lines[1] == "open the drawer,open,drawer,3," and "do a dance,,,1,no known verb" in lines
    assert set(read_known(path)) == {"open the drawer"}
    path.write_text(path.read_text().replace("do a dance,,,", "do a dance,Dance,Robot,"))
    readings = Readings(known=read_known(path))
    assert readings.read("Do a DANCE!") == Instruction("dance", "robot")
    assert readings.answer(["do a dance", "", "do a dance."]) == Instruction("dance", "robot")
    assert readings.answer(["do a dance", "open the drawer"]) == Unparsed("several tasks")
    assert readings.answer([" "]) == readings.answer([]) == Unparsed("no words")
    assert readings.sha256(tasks) != Readings().sha256(tasks)
    assert readings.sha256(tasks[:1]) == Readings().sha256(tasks[:1])


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("打开抽屉 A", "关闭抽屉 A"),
        ("引き出し2を開ける", "引き出し2を閉める"),
        ("افتح الدرج 3", "أغلق الدرج 3"),
        ("open drawer; close box", "open drawer, close box"),
        ("rotate the knob +90", "rotate the knob -90"),
        ("push the block →", "push the block ←"),
    ],
)
def test_readings_are_kept_apart_by_every_letter_and_mark(tmp_path, one, other):
    path = tmp_path / "instructions.csv"
    path.write_text(f'instruction,action,object\n"{one}",open,drawer\n"{other}",close,drawer\n', encoding="utf-8")
    readings = Readings(known=read_known(path))
    assert readings.read(one) == Instruction("open", "drawer")
    assert readings.read(other) == Instruction("close", "drawer")
    assert normalized(one) != normalized(other)


def test_a_reading_without_a_latin_letter_counts_in_any_form_of_unicode(tmp_path):
    path = tmp_path / "instructions.csv"
    path.write_text("instruction,action,object\nЗАКРОЙ ящик,close,drawer\nOuvre la boîte.,open,box\n", encoding="utf-8")
    readings = Readings(known=read_known(path))
    assert readings.read(unicodedata.normalize("NFD", "Закрой  ящик!")) == Instruction("close", "drawer")
    assert readings.read(unicodedata.normalize("NFD", "ouvre la boîte")) == Instruction("open", "box")


def test_two_readings_of_one_instruction_are_an_error_that_names_both(tmp_path):
    path = tmp_path / "instructions.csv"
    header = "instruction,action,object\n"
    path.write_text(f"{header}Open the drawer.,open,drawer\nopen  the drawer,close,drawer\n")
    with pytest.raises(
        ValueError, match=r"'Open the drawer\.' as open, drawer and 'open  the drawer'.* as close, drawer"
    ):
        read_known(path)
    path.write_text(f"{header}Open the drawer.,open,drawer\nopen the drawer,Open,drawer\n")  # they agree
    assert read_known(path) == {"open the drawer": Instruction("open", "drawer")}


def test_marks_beside_an_instruction_are_passed_over():
    readings = Readings()
    assert readings.answer(["pick up the cup", "valid"]) == Instruction("pick_up", "cup")
    assert readings.answer(["valid", "pick up the cup", "", "Success!"]) == Instruction("pick_up", "cup")
    assert readings.answer(["valid"]) == Unparsed("no act")
    # What may name another act, or says that this one failed, is not passed over.
    for other in ("open the cup", "yeet the cup", "invalid", "failed", "打开", "pick up the cup and open the box"):
        assert readings.answer(["pick up the cup", other]) == Unparsed("several tasks")
    assert Readings(known={"valid": Instruction("open", "box")}).answer(["valid"]) == Instruction("open", "box")


def test_an_instruction_is_no_formula_in_the_file_and_is_read_back(tmp_path):
    path = tmp_path / "instructions.csv"
    Readings().write(path, ["=HYPERLINK(1) open the drawer", "@do a dance"])
    rows = list(csv.reader(path.open(newline="")))
    assert {row[0] for row in rows[1:]} == {"'=HYPERLINK(1) open the drawer", "'@do a dance"}
    path.write_text(path.read_text().replace("'@do a dance,,,", "'@do a dance,dance,robot,"))
    assert read_known(path) == {normalized("@do a dance"): Instruction("dance", "robot")}


def test_a_half_filled_reading_is_an_error(tmp_path):
    path = tmp_path / "instructions.csv"
    path.write_text("instruction,action,object\ndo a dance,dance,\n")
    with pytest.raises(ValueError, match="row 1 fills only instruction, action"):
        read_known(path)


def test_hyphenated_verbs_and_two_actions_of_one_phrase(tmp_path):
    table = tmp_path / "verbs.csv"
    table.write_text("phrase,action\nzip-up,zip\nZip up,zip\n")
    assert parse_instruction("zip-up the bag", read_verbs(table)) == Instruction("zip", "bag")
    table.write_text("phrase,action\nzip-up,zip\nzip up,close\n")
    with pytest.raises(ValueError, match="the phrase 'zip up' the actions 'zip' and 'close'; keep one"):
        read_verbs(table)


def test_every_class_of_the_built_in_table_is_safe():
    assert all(CLASS_NAME.fullmatch(action) for action in VerbTable().phrases.values())
