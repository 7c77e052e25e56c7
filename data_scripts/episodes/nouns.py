"""Names of things that robots are told to handle, in the singular.

They let the rule of `instruction` tell a longer name ("drawer handle", "tomato sauce") from a name with a stray word
after it ("drawer demo", "block lying", "bowl int sink"). A noun that is not here is still read where an article or an
adjective says that it is one ("the zebra", "red zebra"). Verbs of `verbs` and rooms are left out.
"""

_PRODUCE = frozenset(
    """
    apple apricot avocado banana berry blueberry cherry coconut cranberry fig fruit grape grapefruit kiwi lemon lime
    mango melon nectarine olive orange papaya peach pear pineapple plum pomegranate raspberry strawberry watermelon
    asparagus artichoke bean beet beetroot broccoli cabbage carrot cauliflower celery corn cucumber eggplant
    aubergine garlic ginger kale leek lettuce mushroom onion pea pepper potato pumpkin radish spinach squash tomato
    turnip vegetable yam zucchini courgette
    """.split()
)
_DISHES = frozenset("bowl plate cup mug glass saucer platter teacup ramekin fork knife spoon".split())
#: Two words of one of these in a row are a list ("apple banana"), not the longer name of one thing.
ALIKE = (_PRODUCE, _DISHES)

#: Places: "cup sink" lacks a preposition, and "take off the shelf" an object.
FURNITURE = frozenset(
    """sink table shelf drawer cabinet counter countertop cupboard floor wall stove oven microwave fridge desk bed chair
    couch sofa bench""".split()
)

NOUNS = (
    _PRODUCE
    | _DISHES
    | frozenset(
        """
        basket bin bottle box bucket bag barrel briefcase cabinet caddy cage can canister carafe carton case cart
        casserole chest container cooler crate cupboard cooker dish dishwasher drawer envelope flask folder fridge
        refrigerator freezer holder hamper jar jug kettle keg locker microwave organizer oven pack package packet pan
        parcel pitcher pocket pot pouch purse rack safe saucepan shaker shelf sink skillet slot stand stove tank teapot
        thermos tin toaster toolbox tote tray trashcan tub tube tumbler urn vase wallet wardrobe wastebasket wok tower

        handle door lid cap knob button lever dial latch hinge hook flap faucet tap valve burner compartment layer panel
        switch slider lightbulb bulb lamp lantern led light candle torch flashlight socket outlet cable cord wire
        string rope chain strap belt buckle zipper pipe hose nozzle spout cork stopper seal label tag sticker key
        keychain keyboard mouse monitor screen laptop computer phone smartphone tablet charger battery camera headphones
        headset speaker radio clock watch television printer projector remote controller joystick fan heater radiator
        blender mixer juicer grinder machine vacuum iron washer dryer scale thermometer timer thermostat umbrella

        block brick cube ball cylinder cone disc disk ring peg puck nut bolt nail needle pin pillar bead marble dice
        domino chip coin card button stick rod pole tool hammer screwdriver wrench spanner drill saw pliers clamp tape
        glue ruler stapler staple eraser pen pencil marker crayon chalk brush paintbrush broom mop dustpan sponge cloth
        rag towel napkin tissue paper magazine newspaper book notebook bookmark page letter picture frame photo poster
        painting mirror map board whiteboard blackboard easel toy doll car truck train airplane boat bus bike
        bicycle wheel tire puzzle piece basketball football soccer baseball racket bat glove helmet goal hoop net hole
        gear shaft pulley tile pallet plank log branch leaf stone rock shell feather flower plant pebble bear duck bunny
        rabbit dinosaur elephant dog cat figure figurine statue trophy medal gift ornament

        spatula ladle whisk tongs chopstick chopsticks peeler grater opener corkscrew strainer colander sieve scissors
        tweezers cleaver cutter utensil silverware cutlery mitt apron placemat coaster tablecloth foil wrapper skewer
        toothpick straw teabag teaspoon tablespoon

        bread bagel baguette biscuit brownie bun burger butter cake candy cereal cheese chicken chocolate coffee cola
        coke cookie cracker cream croissant cupcake custard donut doughnut dough dressing egg fish flour fries ham
        hamburger honey hotdog icecream jam jelly juice ketchup lasagna lemonade loaf lollipop lunch margarine
        mayonnaise meat meatball milk muffin mustard noodle nugget oil omelette pancake pasta pastry pie pizza popcorn
        pretzel pudding rice roll salad salami salmon salt sandwich sauce sausage seasoning soda soup soy spaghetti
        spice steak sugar sushi syrup taco tea toast tofu tortilla tuna turkey vinegar waffle water wine yogurt yoghurt
        cinnamon basil parsley mint vanilla peanut almond walnut hazelnut cashew popsicle gum beer whiskey

        shirt tshirt sweater sock shoe boot slipper sandal sneaker hat coat jacket dress skirt scarf tie pants
        trousers jeans shorts sleeve collar clothes clothing garment laundry hanger blanket pillow cushion duvet
        mattress curtain blind carpet rug mat bed chair couch sofa stool bench table desk counter countertop bookshelf
        cabinet dresser nightstand door window gate fence wall floor ceiling roof stair ladder ramp tile fireplace
        toilet bathtub shower soap shampoo lotion toothbrush toothpaste comb hairbrush razor detergent sanitizer
        bandage pill medicine syringe vial beaker pipette microscope trash garbage rubbish waste money dollar bill usb
        grocery groceries grill target pod vessel spoke sorter band clip paperclip sunglasses goggles backpack
        suitcase cleaner highlighter trowel shovel bulldozer puppet balloon crumb dust dirt pile object item
        """.split()
    )
)
