"""Sentences made to mislead the rule."""

#: No act, several, or none that is certain: to be left alone.
UNREAD = """
open drawer; close box
open the drawer, close the box
open drawer close box
open the drawer close the box
turn on the stove, turn off the light
turn on the stove turn off the light
open the drawer (failed)
open the drawer - failed
open the drawer failed
open the drawer, failed
open the drawer: success
open the drawer demo
open the drawer test 3
open the drawer left arm
press twice
rotate counter clockwise
lift the block lying down
push the drawer halfway closed
push the drawer almost closed
push the box with the lid open
push close the drawer
push close drawer
fill the cup full
leave the drawer open
keep the door closed
lock the door shut
do not open the drawer
don't open the drawer
never open the drawer
open no drawer
open not the drawer but the door
open anything but the drawer
un-plug the cable
reopen the drawer
half-open the drawer
unopen the drawer
не open the drawer
open the drawer не
open 抽屉
打开抽屉 A
open the drawer 抽屉
place le bol sur la table
place el bol en la mesa
remove o copo da mesa
remove copo mesa
move o bloco para a esquerda
move bloco para esquerda
press den Knopf
press die Taste
open de lade
open de deur van de kast
open la puerta
open puerta
insert la clé dans la serrure
turn the heat down
turn around
turn around the block
turn on the light switch on the wall
turn the lamp off and on
turn on and off the lamp
turn left
put the hat on
put on the hat
put out the fire
put the fire out
pick up
pick it up
take a look at the drawer
pull out
push the tower over
move left
move away from the table
move up the ladder
pick up the left
pick up the one on the left
pick up the left one
open every drawer except the top one
open none of the drawers
pick up everything
pick up all
put all in the box
put all but one block in the box
pick up half of the blocks
pick up a cup of coffee
put a cup of rice in the pot
pour the cup of water into the bowl
pour out the water
pick up slice pizza
open the drawer handle
turn the light green
turn the lamp orange
pick up red
open the drawre
open the drwaer
opne the drawer
put the bowl int he sink
put the bowl i nthe sink
turn of the stove
pick up the cup andd place it in the box
pick up the cup n place it in the box
open drawer/door
open drawer & close box
open drawer + box
pick up the red & blue block
pick up the cup and the plate
pick up the cup, the plate and the fork
pick up the cup or the plate
put the cup on the table or in the sink
put the bowl on the plate and the mug on the tray
move the cup to the left and the bowl to the right
put the bowl on the table grab the fork
put the bowl on the table get the fork
put bowl on table get fork
put bowl on table close drawer
put the bowl between the cup and the plate and fork on the tray
press the button to turn on the light
press the button to get coffee
open the drawer to reveal the cup
after opening the drawer, close it
open the drawer before closing the box
open the drawer after closing the box
open the drawer while holding the cup
open the drawer if it is closed
open the drawer then close it
open the drawer and then close it
open then close the drawer
opening the drawer
the drawer is open
is the drawer open?
did you open the drawer?
I open the drawer
robot opens the drawer
attempt to open the drawer
failed to open the drawer
open the drawer, but don't close it
open the drawer wide
open wide
pick up the stack
lift the press
unplug the plug
turn the lock
turn the screw
put the bowl sitting on the table in the sink
clean up the table
close your hand
drop it
grasp the handle and open it
pick up the rag and wipe the table
pick up the cup and pour it out
lift the lid and look inside
move the cup close
turn the faucet to the left to open it
switch the cups
flip the switch on
put spoon top drawer
put the spoon the bowl
open the drawer and
put into box
pick place cup
pick and place the cup
pick-and-place the cup
open-close drawer
put the cup on the table, in the sink
put the cup, the plate on the table
push block ->
open drawer 50%
open the drawer = true
pick up apple banana
open the drawer no 3
open the door, I mean the drawer
open the drawer or close it
wipe the top of the table
open the top of the box
open the middle
put the apple in the basket, then close the lid
empty cup
fill water in the cup
turn around the table
hang up the phone
push open drawer
pick up a sheet of paper
pick up a roll of tape
open the drawer robot
open the cajón
dirty plate
turn the oven to 200 degrees
pick up the drawer open it
close the lid of the box and the drawer
put the salt and pepper shakers on the table
flip the light off
lift the lid off
put the toy in the box: done
pick up the red or blue block
pick up the cup-like object
pick up the M&M's
move block from A to B
most drawers open
put the lid back on
put mac and cheese in the microwave
put the ball and bat in the box
open the drawer of the cabinet and the fridge
take care of the dog
cut apple slices
stack of plates
slice of bread
break a piece of chocolate off
pick up the cup with the left arm and the plate with the right arm
pick up the cup left arm
bimanual: pick up the cup
move the cup from the table to the shelf and back
put the cup into and out of the box
lift the cup and hold
lift the cup and wait
lift the cup then wait
pick up the cup and move to the left
pick up the cup and place the plate on the table
pick up the cup and shake it
take the cup and fill it with water
remove the lid and stir the soup
turn on the tap and fill the cup
insert the key into the lock and turn it
insert the plug into the socket
zip up the bag
open the other one
open top
open the top drawer slightly
open the drawer / close the drawer
open the drawer [success=True]
open the drawer <end>
open the drawer → close
оpen the drawer
open thе drawer
abre the drawer
öffne the drawer
place the pomme sur table
put the bowl en la mesa
insert die Karte
press botón rojo
cover o prato
rotate bloque
pick up the cup and put down
turn on the light and turn it off
open the drawer and close it again
put it on the table
rotate it
grasp the cup and rotate
引き出しを開ける 2
افتح الدرج 3
"""

#: To be read, and in this way: `instruction | action object`.
READ = """
close the lid tightly | close lid
press the button twice | press button
press the button 3 times | press button
put down the cup upside down | put_down cup
put the cup upside down on the table | put_on cup
turn the cup upside down | flip cup
rotate the block counter clockwise | rotate block
lift the block lying on the table | lift block
push the drawer closed | close drawer
push closed the drawer | close drawer
pull open the drawer | open drawer
slide the window open slowly | open window
push the open drawer | push drawer
close the open drawer | close drawer
unplug the cable | unplug cable
turn the block around | turn block
turn the lamp on in the kitchen | turnon lamp
turn the lamp off, please | turnoff lamp
turn the knob on the stove | turn knob
turn right the block | turn block
put the cup down on the table | put_on cup
put the cup away in the cupboard | put_in cup
put the lid back on the pot | put_on lid
take the trash out | take_out trash
take the lid off the pot and put it on the table | put_on lid
pull the drawer out | pull drawer
move the block left | move block
put the block left of the bowl | put block
close all of the drawers | close drawer
pick up 2 of the 3 blocks | pick_up block
pick up the cup of coffee | pick_up cup
put a teaspoon of salt in the pot | put_in salt
put 200 ml of water in the cup | put_in water
pick up a slice of pizza | pick_up pizza
open the cabinet door | open door
turn on the light bulb | turnon bulb
pick up the orange cup | pick_up cup
pick up orange | pick_up orange
pick up cup & place it in the box | put_in cup
open the drawer by pulling the handle | open drawer
slowly open the drawer | open drawer
"open the drawer" | open drawer
open drawer 2 | open drawer
push the T-shaped block to the goal | push block
pick up the cutting board | pick_up board
pick up the cup which is on the table and put it in the sink | put_in cup
put the cup close to the plate | put cup
switch off lights | turnoff light
pick-up the cup | pick_up cup
put-down the cup | put_down cup
move the cup 10 cm to the left | move cup
empty the cup | empty cup
fill the cup with water | fill cup
open a drawer of the cabinet | open drawer
open the café door | open door
pick up the hot dog | pick_up hotdog
pick up the Rubik's cube | pick_up cube
lift the cup, put it down | put_down cup
pick up the cup and hang it on the hook | hang cup
open the other drawer | open drawer
open the drawer to the left of the stove | open drawer
Open_The_Drawer | open drawer
ｏｐｅｎ ｔｈｅ ｄｒａｗｅｒ | open drawer
pick up the cup and place on the table | put_on cup
"""
