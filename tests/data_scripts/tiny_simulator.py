"""A package like those of robotics simulators: a box with a door and a lamp, a robot, and textures; and its table."""

import io
import zipfile

from PIL import Image

from data_scripts.packages import Package
from data_scripts.simulators.things import Simulator, Thing
from modeling_cde.whole_files import file_sha256

FOLDER = "tiny_simulator/assets"
BOX = """
<mujoco model="box">
  <compiler angle="radian" meshdir="./" inertiafromgeom="auto" inertiagrouprange="4 5"/>
  <asset>
    <texture name="wood" type="2d" file="wood.png"/>
    <texture name="wood" type="2d" file="lost.png"/>
    <material name="wood" texture="wood"/>
  </asset>
  <include file="robot.xml"/>
  <worldbody>
    <light pos="0 0 3"/>
    <geom name="floor" type="plane" size="5 5 .1"/>
    <body name="box">
      <geom type="box" size=".2 .02 .2" pos="0 .2 0" material="wood" group="1"/>
      <geom type="box" size=".2 .2 .02" pos="0 0 -.2" material="wood" group="1"/>
      <geom name="guard" type="box" size=".4 .4 .4" rgba="1 0 1 1" group="0"/>
      <region name="inside"/>
      <body name="door" pos="-.2 -.2 0">
        <joint name="hinge" type="hinge" axis="0 0 1" limited="true" range="-2 0"/>
        <geom type="box" size=".2 .01 .2" pos=".2 0 0" rgba=".9 .3 .2 1" group="1"/>
      </body>
      <body name="shelf" pos="0 0 .25">
        <joint name="slide" type="slide" axis="0 1 0"/>
        <geom name="glass" type="cylinder" size=".08 .03" rgba=".2 .9 .2 .4" group="1"/>
      </body>
      <site name="flame" type="sphere" size=".05" pos="0 -.3 0" rgba="1 .1 0 .1"/>
      <site name="mark" type="sphere" size=".5" rgba="0 0 1 1"/>
    </body>
  </worldbody>
  <actuator><motor joint="lost"/></actuator>
</mujoco>
"""


def picture(*color):
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8), color).save(buffer, "PNG")
    return buffer.getvalue()


def tiny_simulator(folder):
    """Write the package to where `kept_package` looks for it; returns the simulator."""
    path = folder / "tiny-simulator-1.0.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{FOLDER}/box.xml", BOX)
        archive.writestr(f"{FOLDER}/wood.png", picture(120, 90, 40))
        archive.writestr(f"{FOLDER}/textures/grey_floor.png", picture(90, 90, 90))
        archive.writestr(f"{FOLDER}/textures/blue_wall.png", picture(60, 80, 160))
        archive.writestr("tiny_simulator/code.py", "raise AssertionError('this must not run')")
    package = Package("tiny-simulator", "1.0", file_sha256(path))
    return Simulator((package,), FOLDER, "MIT", "Tiny simulator 1.0 by nobody: MIT.", (1,))


def tiny_things(simulator):
    """By name: a box with a door, the same with a shelf that may move instead, a flame, and a lamp."""
    hinge = {"hinge": (0.0, -1.6)}
    either = hinge | {"slide": (0.0, -0.2)}
    lamp = {"glows": True, "bodies": ("shelf",), "elevation": (35.0, 60.0)}
    things = [
        Thing("Box", simulator, "box.xml", "open", hinge, azimuth=(0.0, 40.0)),
        Thing("Either", simulator, "box.xml", "open", either, one_of=True),
        Thing("Flame", simulator, "box.xml", "on", {}, shown=("flame",)),
        Thing("Lamp", simulator, "box.xml", "on", {"slide": (0.0, 0.0)}, **lamp),
    ]
    return {thing.name: thing for thing in things}
