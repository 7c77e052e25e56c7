"""Instructions in the style of CALVIN, Meta-World and LIBERO, with the action and object that a careful person reads.

A line is `instruction | action object`, in the names of the built-in verbs, or `instruction | -` where a person sees
two acts, two objects or none.
"""

CALVIN = """
rotate the green block to the left | rotate block
rotate the yellow block 45 degrees to the right | rotate block
rotate left the green block | rotate block
turn the green block towards the left | turn block
turn the yellow block right | turn block
grasp the green block, then rotate it to the left | rotate block
grasp the yellow block and turn it right | turn block
take the green block and rotate it clockwise | rotate block
pick the yellow block up and turn it over | flip block
slide the green block towards the left | slide block
slide left the green block | slide block
go slide the yellow block to the right | slide block
push right the yellow block | push block
push the green block all the way to the left | push block
go push the yellow block to the right side | push block
sweep the green block to the right | sweep block
move the sliding door to the right | move door
slide the door all the way to the left | slide door
push the sliding door to the left side | push door
grasp the door handle, then slide the door to the left | slide door
grasp the knob of the door and move the door to the right | move door
slide the door to the right, then let go of it | slide door
go open the drawer | open drawer
open the drawer of the desk | open drawer
open the cabinet drawer | open drawer
pull the drawer open | open drawer
grasp the drawer handle, then open it | open drawer
pull the handle of the drawer | pull handle
go close the drawer | close drawer
close the desk drawer | close drawer
push the drawer closed | close drawer
push the drawer shut | close drawer
grasp the handle of the drawer and close it | close drawer
lift the green block | lift block
lift the yellow block up | lift block
lift up the green block | lift block
lift the green block from the table | lift block
lift the yellow block lying on the shelf | lift block
lift the green block lying in the sliding cabinet | lift block
lift the yellow block which lies in the drawer | lift block
grasp the green block sitting in the drawer | pick_up block
grasp the yellow block on the table and lift it up | lift block
pick up the green block from the sliding cabinet | pick_up block
pick up the yellow block in the drawer | pick_up block
in the drawer grasp the green block | pick_up block
go towards the yellow block and pick it up | pick_up block
place the green block in the drawer | put_in block
put the grasped block in the sliding cabinet | put_in block
store the held object in the drawer | put_in object
store the block in the slider | put_in block
put it in the cabinet | -
place on shelf | -
move to the drawer and place the block | -
push the block so that it falls into the drawer | push block
sweep the object into the drawer | sweep object
slide the yellow block into the drawer | slide block
stack the blocks | stack block
stack the green block on top of the yellow block | stack block
put the block that you hold on top of another block | put_on block
place a block on top of another one | put_on block
unstack the blocks | unstack block
knock over the stacked blocks | knock_over block
remove the block on top | remove block
take off the block that is on top of the other one | take_off block
turn on the light bulb | turnon bulb
turn the green lamp on | turnon lamp
turn on the led | turnon led
turn off the led light | turnoff light
turn the light bulb off | turnoff bulb
switch off the yellow lamp | turnoff lamp
push the switch upwards | push switch
push the switch down | push switch
move up the switch | move switch
slide down the switch | slide switch
press the button to turn on the led | turnon led
push the button to turn off the green light | turnoff light
toggle the switch to turn on the light bulb | turnon bulb
turn on the lamp, then open the drawer | -
open the drawer and lift the green block | -
push the green block left and the yellow block right | -
"""

META_WORLD = """
Open a drawer | open drawer
Close a drawer by pushing it | close drawer
Push and close a cabinet | close cabinet
Open a window | open window
Slide a window open | open window
Push a window closed | close window
Open a door with a hinge | open door
Close the door with a revolving hinge | close door
Lock the door by turning the key clockwise | lock door
Unlock the door by rotating the key counter-clockwise | unlock door
Press a button | press button
Press a red button from above | press button
Press the button on the wall | press button
Press down the button | press button
Press the top button twice | press button
Bypass a wall and press a button | press button
Push a button on the coffee machine | push button
Pull a cup from a coffee machine | pull cup
Push a cup under a coffee machine | push cup
Rotate a dial 90 degrees | rotate dial
Rotate the faucet clockwise | rotate faucet
Rotate the tap counter-clockwise | rotate tap
Turn a dial by 180 degrees | turn dial
Turn on the faucet | turnon faucet
Pull a lever down | pull lever
Pull a lever down 90 degrees | pull lever
Pull the lever up sideways | pull lever
Press a handle down sideways | press handle
Press the handle down | press handle
Pull a handle up | pull handle
Push a puck to a goal | push puck
Pull the puck to the goal | pull puck
Push the puck around the wall to the goal | push puck
Slide a dish into a cabinet | slide dish
Slide the dish sideways into the cabinet | slide dish
Sweep a puck into a hole | sweep puck
Sweep the ball from the table to the hole | sweep ball
Pick up a puck from a hole | pick_up puck
Pick and place a puck onto a shelf | put_on puck
Pick up a ring and place it onto a peg | put_on ring
Grasp the puck from one bin and place it into another bin | put_in puck
Pick up the ball, bypass the wall and drop it in the hoop | drop ball
Pick a nut out of a peg | pick_up nut
Remove the nut from the peg | remove nut
Take the ring off the peg | take_off ring
Insert a peg sideways | insert peg
Insert the gripper into a hole | insert gripper
Unplug a peg sideways | unplug peg
Plug the cable in | plug cable
Throw the ball into the hoop | throw ball
Dunk the ball into the hoop | -
Kick a ball into the goal | -
Hammer a nail into the wall | -
Grasp a stick and push a box with it | push box
Use the stick to pull a box | pull box
Grasp the lid and put it on the box | put_on lid
Grasp the cover and close the box with it | close box
Reach a goal position | -
Get a plate from the shelf | -
Move the arm to the goal | move arm
Assemble the nut onto the peg | -
Screw the lid on the jar | screw lid
Unscrew the bulb | unscrew bulb
Put the lid on top of the box | put_on lid
Place a cube in front of the wall | put cube
Lift the cube above the table | lift cube
Lift a cylinder 10 cm | lift cylinder
Flip the block over | flip block
Stack three cubes | stack cube
Knock the tower over | knock_over tower
"""

LIBERO = """
open the top drawer of the desk | open drawer
open the bottom drawer of the wooden cabinet | open drawer
open the microwave door | open door
close the microwave | close microwave
close the middle drawer of the cabinet | close drawer
turn on the stove | turnon stove
turn the stove off | turnoff stove
put the grey bowl on the plate | put_on bowl
put the grey bowl on top of the shelf | put_on bowl
put the grey bowl in the top drawer of the desk | put_in bowl
put the soy sauce in the basket | put_in sauce
put the chocolate milk on the tray | put_on milk
put the tomato soup can in the basket | put_in can
put the coffee mug under the shelf | put_under mug
put the teapot to the right of the plate | put teapot
put the red mug to the left of the grey mug | put mug
put the wine glass in front of the bottle | put glass
put the middle grey bowl on the plate | put_on bowl
put the grey bowl at the front on the plate | put_on bowl
put the mug on the left plate | put_on mug
put both teapots on the stove | put_on teapot
put the red and white mug in the microwave | put_in mug
put the frying pan on the stove burner | put_on pan
place the bottle on the wine rack | put_on bottle
set the glass on the tray | put_on glass
lay the cloth on the table | put_on cloth
push the tray to the front of the stove | push tray
push the tray next to the cabinet | push tray
stack the grey bowl on the red bowl | stack bowl
stack the front bowl on the back bowl | stack bowl
stack the left bowl on the right bowl in the tray | stack bowl
pick up the orange juice and place it in the basket | put_in juice
pick up the soy sauce and put it in the tray | put_in sauce
pick up the cream cheese box and place it in the basket | put_in box
pick up the salad dressing and place in the basket | put_in dressing
pick up the notebook and place it in the left compartment of the caddy | put_in notebook
pick up the notebook on the right and place it on top of the shelf | put_on notebook
pick up the red mug and place it to the right of the caddy | put mug
pick up the grey bowl next to the plate and place it on the tray | put_on bowl
pick up the grey bowl between the mug and the plate and place it on the tray | put_on bowl
pick up the grey bowl on the stove and place it on the plate | put_on bowl
pick up the grey bowl from the table center and place it on the plate | put_on bowl
pick up the grey bowl in the top drawer of the desk and place it on the plate | put_on bowl
pick up the grey bowl that is on the shelf and place it on the plate | put_on bowl
pick up the peas, then drop them in the bowl | drop pea
take the pan off the stove and put it under the shelf | put_under pan
LIVING_ROOM_SCENE7_put_the_grey_mug_on_the_left_plate | put_on mug
STUDY_SCENE2_pick_up_the_notebook_and_place_it_in_the_caddy | put_in notebook
KITCHEN_SCENE12_turn_on_the_stove | turnon stove
put the red mug on the left plate and put the grey mug on the right plate | put_on mug
turn on the stove and put the teapot on it | -
open the top drawer and put the bowl inside | -
put the grey bowl in the bottom drawer of the desk and close it | -
put the grey mug in the microwave and close it | -
close the top drawer and open the bottom drawer | -
close the drawer and put the bowl on top of it | -
put the grey mug on the plate and put the pudding to the right of the plate | -
put both the soy sauce and the tomato sauce in the basket | -
put the cheese and the butter in the basket | -
stack the red bowl on the grey bowl and place them in the tray | -
pick up the mug and the plate and place them in the sink | -
Please open the fridge. | open fridge
Can you pick the bowl up? | pick_up bowl
First, close the lid of the teapot. | close lid
"""


def readings(text: str) -> dict[str, tuple[str, ...] | None]:
    """The instructions of a list, with action and object or None."""
    lines = (line.rpartition(" | ") for line in text.strip().splitlines())
    return {said: None if meant == "-" else tuple(meant.split()) for said, _, meant in lines}


STYLES = {name: readings(text) for name, text in (("CALVIN", CALVIN), ("Meta-World", META_WORLD), ("LIBERO", LIBERO))}
