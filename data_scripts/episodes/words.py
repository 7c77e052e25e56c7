"""Classes of words that the rule of `instruction` knows besides verbs and nouns."""

import re

#: Words at the start that say nothing about the act.
POLITE = tuple(
    phrase.split()
    for phrase in (
        "please", "kindly", "now", "first", "next", "then", "can you", "could you", "would you", "will you",
        "you should", "you need to", "i want you to", "i need you to", "i would like you to", "try to", "go and", "go",
        "the robot should", "robot should", "your task is to", "the task is to", "help me", "lets", "hey", "hi",
        "hello", "robot", "ok", "okay", "thanks", "thank you", "and", "carefully", "slowly", "gently", "quickly",
    )
)  # fmt: skip
NUMBERS = frozenset("one two three four five six seven eight nine ten eleven twelve".split())
INDEFINITE = NUMBERS | frozenset("a an another some any several few many".split())
DETERMINERS = INDEFINITE | frozenset(
    "the this that these those both all each every my your his her its their our".split()
)
PRONOUNS = frozenset(
    """it them him me us you this that these those one ones something anything everything nothing thing things
    itself themselves everyone other others rest""".split()
)
PREPOSITIONS = frozenset(
    """of in into inside on onto to at from with by near next beside besides behind under underneath below beneath
    above over across along around through between among against toward towards off out up down away for
    using via past within""".split()
)
#: Prepositions of a place, which may follow a comma: "to the left, beside the cloth".
PLACES = frozenset(
    """in into inside on onto to at from near next beside besides behind under underneath below beneath above
    between""".split()
)
RELATIVE = frozenset("that which who where".split())
#: "the block lying on the table": after a noun and before a preposition they start a relative clause, too.
LYING = frozenset("lying sitting standing resting hanging located placed stored found positioned".split())

#: They say how an act is done or which way, and may follow the object.
ADVERBS = frozenset(
    """upright upsidedown again together apart forward forwards backward backwards left right upward upwards
    downward downwards leftward leftwards rightward rightwards inward inwards outward outwards here there
    diagonally vertically horizontally clockwise counterclockwise anticlockwise sideways lengthwise slowly
    carefully gently quickly firmly tightly completely entirely fully smoothly softly front back start
    vertical horizontal first too also please now once twice thrice closer further farther higher lower""".split()
)
TURN = re.compile(r"(anti|counter)?clockwise\d*|\d+|degrees?")
UNITS = frozenset("times degrees degree cm mm m inch inches centimeters millimeters meters seconds".split())
#: Places that a scene of LIBERO may be in.
ROOMS = frozenset("kitchen living dining room study office bedroom bathroom garage".split())
POSITIONS = frozenset("left right back front middle center centre top bottom upper lower".split())

#: With any of these a sentence says something else than its verb and noun, or is no plain English.
BLOCKERS = frozenset(
    """not no non never none zero nothing neither nor dont doesnt didnt do does did cant cannot wont shouldnt
    mustnt isnt but except excluding instead rather unless without if else otherwise because although though
    while when whenever until till before after during since so as than like despite fail fails failed failing
    failure unsuccessful invalid wrong unsuccessfully attempt attempts attempted tried trying wrongly
    incorrectly almost nearly barely hardly half halfway partially partly partway slightly somewhat percent
    maybe perhaps possibly only avoid pretend i he she we they you ur pls plz
    le la les un une des du de el los las der die das den dem ein eine einen het een il lo gli da dos na nos
    sur dans sous avec auf unter mit zum zur van naar met op en et und ou oder para por con sin sobre della
    nel sul tu te se que qui y e""".split()
)
BE = frozenset("is are was were be been being".split())

#: These alone are not objects ("pick up the red"); "orange", "light", "silver" and "gold" may be.
COLOURS_ONLY = frozenset(
    """red green blue yellow white black gray grey brown purple pink violet beige golden cyan turquoise teal maroon
    dark metallic transparent""".split()
)
COLOURS = COLOURS_ONLY | {"orange", "light", "silver", "gold"}
STATES = frozenset(
    """open opened close closed shut ajar full empty clean dirty wet dry hot cold warm cool done ready complete
    visible flat straight loose tight hard harder soft locked unlocked wide held broken hidden
    taken chosen stuck""".split()
)
ADJECTIVES = (
    COLOURS
    | STATES
    | POSITIONS
    | frozenset(
        """small big large little tiny huge tall short long thin thick round square rectangular triangular smaller
    bigger larger largest smallest biggest taller shorter tallest shortest nearest closest farthest leftmost
    rightmost new old fresh ripe wooden wood metal plastic steel rubber ceramic paper cardboard leather
    striped shaped colored coloured bright deep heavy sharp first second third fourth fifth last next other
    same whole nearby single double outer inner toy electric stuffed more""".split()
    )
)
QUANTITIES = frozenset(
    """piece slice pair bunch bit lot kind type set pile handful pinch spoonful cupful teaspoon tablespoon pieces
    slices pairs bits spoonfuls teaspoons tablespoons handfuls couple gram grams g kg ml liter liters litre
    litres ounce ounces oz pound pounds""".split()
)
#: "a cup of flour" may mean either; "the cup of coffee" is a cup.
CONTAINERS = frozenset(
    """cup glass bowl spoon can bottle bag box plate jar pot pan mug jug scoop bucket basket tray carton pack packet
    package tub tube roll stick loaf tower""".split()
)
#: Parts of a place: "the left side of the table", "the table edge".
SIDES = frozenset("side sides end ends corner edge spot area half part".split())
#: Nouns that no act is done to.
NO_OBJECTS = (
    UNITS
    | SIDES
    | frozenset(
        """way ways direction directions place position location rest time moment while step steps turn turns look break
        nap walk bow move try test trial demo episode scene version attempt task job action motion success degree second
        minute minutes hour angle speed anything stuff bit lot upside""".split()
    )
)
#: Words that do not end in -ly, -ed or -ing as adverbs and participles do.
NOUNS_IN_LY = frozenset("jelly lily butterfly fly doily dolly assembly belly".split())
NOUNS_IN_ED_ING = frozenset(
    """bed seed reed weed feed shed sled ring string spring wing king swing sling clothing pudding icing dressing
    stuffing building painting ceiling railing earring bearing fitting casing lining housing led seasoning""".split()
)
#: A task of only such words is a mark, and names no act: "valid".
MARKS = frozenset(
    """valid success successful succeeded ok okay good true yes done complete completed optimal expert human teleop
    teleoperated teleoperation demonstration demo quality high train training test validation episode scene
    trial task""".split()
)
