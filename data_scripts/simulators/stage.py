"""One thing on a floor before a wall: its states, and pictures of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data_scripts.rooms.camera import Camera
from data_scripts.rooms.lighting import Sun
from data_scripts.rooms.meshes import FloatArray
from data_scripts.rooms.opengl import load_mujoco
from data_scripts.rooms.renderer import SAMPLES
from data_scripts.simulators.models import ModelFiles, read_model
from data_scripts.simulators.things import Thing

BACKDROP = 5  # MuJoCo's group of the floor and the wall; no simulator uses it for what is seen
MAX_SHAPES = 500
REACH = 0.2  # metres at which a lamp's light has lost three quarters of its strength
LIT = 0.85  # opacity of flames, water and glass that is on: in some models they can hardly be seen


class Stage:
    """A thing that can be set to a state and drawn, in square pictures with sides of `image_size` pixels.

    Making one takes about a second. `state` maps joints to positions; a joint that is not named is closed or off.
    """

    def __init__(self, files: ModelFiles, thing: Thing, image_size: int, textures: Mapping[str, bytes]) -> None:
        """`textures` has the pictures of "floor" and "wall", as PNG."""
        self.thing = thing
        self.mujoco = mujoco = load_mujoco()
        xml, assets = read_model(files, thing)
        assets |= {f"backdrop-{name}.png": png for name, png in textures.items()}
        spec = mujoco.MjSpec.from_string(xml, assets=assets)
        spec.visual.global_.offwidth = spec.visual.global_.offheight = image_size
        spec.visual.quality.offsamples = SAMPLES
        spec.visual.quality.shadowsize = 1024
        for name in textures:
            self._add_backdrop(spec, name)
        for number in range(2):
            spec.worldbody.add_light(
                name=f"backdrop-{number}", type=mujoco.mjtLightType.mjLIGHT_DIRECTIONAL, castshadow=number == 0
            )
        shine = mujoco.mjtLightType.mjLIGHT_SPOT  # a cone of 180 degrees is a point; that type draws nothing
        reach = [1.0, 0.0, 3.0 / REACH**2]
        spec.worldbody.add_light(name="backdrop-glow", type=shine, castshadow=False, cutoff=180, attenuation=reach)
        self.model = model = spec.compile()
        self.data = mujoco.MjData(model)
        self._lights = [model.light(f"backdrop-{number}").id for number in range(2)]
        self._backdrop = [model.geom(f"backdrop-{name}").id for name in ("floor", "wall")]
        self._lit = [model.site(name).id for name in thing.shown]
        self._solids = self._solids_of_the_thing()
        moved = {model.jnt_bodyid[model.joint(name).id] for name in thing.joints} if thing.glows else set()
        self._glowing = [geom for geom in range(model.ngeom) if model.geom_bodyid[geom] in moved]
        self._is_lit = False
        self._option = mujoco.MjvOption()
        self._option.geomgroup[:] = [g in (*thing.simulator.groups, BACKDROP) for g in range(6)]
        self._option.sitegroup[:] = 1
        model.vis.headlight.active = 0
        self._place()
        self._renderer: Any = mujoco.Renderer(model, image_size, image_size, max_geom=MAX_SHAPES)

    def _add_backdrop(self, spec: Any, name: str) -> None:
        mujoco, full = self.mujoco, f"backdrop-{name}"
        spec.add_texture(name=full, type=mujoco.mjtTexture.mjTEXTURE_2D, file=f"{full}.png")
        material = spec.add_material(name=full, texuniform=True, specular=0.1)
        material.textures[mujoco.mjtTextureRole.mjTEXROLE_RGB] = full
        plane = mujoco.mjtGeom.mjGEOM_PLANE
        spec.worldbody.add_geom(name=full, type=plane, size=[20, 20, 1], material=full, group=BACKDROP)

    def _solids_of_the_thing(self) -> NDArray[np.int64]:
        """Numbers of the solids that are the thing and are drawn."""
        model = self.model
        wanted = {model.body(name).id for name in self.thing.bodies}
        mine = [not wanted]  # by body; the world is first, and parents come before what hangs from them
        for body in range(1, model.nbody):
            mine.append(body in wanted or mine[model.body_parentid[body]])
        shown = np.isin(model.geom_group, self.thing.simulator.groups)
        return np.flatnonzero(np.array(mine)[model.geom_bodyid] & shown & (model.geom_rgba[:, 3] > 0))

    def _place(self) -> None:
        """Put the floor below everything and the wall behind it."""
        model = self.model
        self.set({})
        shown = np.isin(model.geom_group, self.thing.simulator.groups)
        corners = self._points(np.flatnonzero(shown & (model.geom_rgba[:, 3] > 0)))
        self.size = float(np.linalg.norm(np.ptp(corners, axis=0)))
        model.stat.extent, model.stat.center = self.size, corners.mean(axis=0)
        floor, wall = self._backdrop
        model.geom_sameframe[self._backdrop] = int(self.mujoco.mjtSameFrame.mjSAMEFRAME_NONE)  # read their places
        back = turned(np.array([0.0, 1.0, 0.0]), self.thing.facing)
        model.geom_pos[floor] = [*corners.mean(axis=0)[:2], corners[:, 2].min()]
        # A little behind its back, so that one sees through the glass of a window.
        model.geom_pos[wall] = back * ((corners @ back).max() + 0.15 * self.size)
        self.mujoco.mju_quatZ2Vec(model.geom_quat[wall], -back)
        model.mat_texrepeat[model.geom_matid[self._backdrop]] = 0.6 / self.size

    def set(self, state: Mapping[str, float], lit: bool = False) -> None:
        """Bring the thing into a state; `lit` is whether its flame, water or glass is to be seen as on."""
        model, data = self.model, self.data
        data.qpos[:] = model.qpos0
        for joint, (rest, _) in self.thing.joints.items():
            data.qpos[model.jnt_qposadr[model.joint(joint).id]] = state.get(joint, rest)
        model.site_rgba[:, 3] = 0
        self._is_lit = lit
        shine = model.light("backdrop-glow").id
        model.light_diffuse[shine] = model.light_specular[shine] = model.light_ambient[shine] = 0
        if lit:
            model.site_rgba[self._lit, 3] = LIT
        self.mujoco.mj_kinematics(model, data)
        if lit and self._glowing:
            model.light_pos[shine] = data.geom_xpos[self._glowing].mean(axis=0) + [0.0, 0.0, REACH / 4]
            model.light_diffuse[shine] = model.geom_rgba[self._glowing[0], :3]

    def points(self) -> FloatArray:
        """`(n, 3)` points around the thing, as it is set."""
        return self._points(self._solids)

    def _points(self, solids: NDArray[np.int64]) -> FloatArray:
        """Vertices of meshes, and corners of the boxes around other solids."""
        model, signs = self.model, np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)])
        found = []
        for solid in solids:
            points = model.geom_aabb[solid, :3] + signs * model.geom_aabb[solid, 3:]
            if model.geom_type[solid] == int(self.mujoco.mjtGeom.mjGEOM_MESH):
                mesh = model.geom_dataid[solid]
                start = model.mesh_vertadr[mesh]
                points = model.mesh_vert[start : start + model.mesh_vertnum[mesh]]
            found.append(points @ self.data.geom_xmat[solid].reshape(3, 3).T + self.data.geom_xpos[solid])
        return np.concatenate(found)

    def light(self, sun: Sun, shades: FloatArray) -> None:
        """Set the light and the colours `(2, 3)` of floor and wall; the sun is given as seen from the thing's front."""
        model = self.model
        model.mat_rgba[model.geom_matid[self._backdrop], :3] = shades
        side = sun.direction * np.array([-1.0, -1.0, 1.0])
        ways = (sun.direction, side), (sun.color, sun.fill), (np.zeros(3), sun.ambient)
        for light, way, color, ambient in zip(self._lights, *ways, strict=True):
            way = turned(way, self.thing.facing)
            model.light_dir[light], model.light_pos[light] = way, model.stat.center - way * 3 * self.size
            model.light_diffuse[light], model.light_ambient[light] = color, ambient
            model.light_specular[light] = color * 0.5

    def image(self, camera: Camera) -> NDArray[np.uint8]:
        """The stage as `(S, S, 3)` colours, 0 to 255."""
        self._aim(camera)
        pixels: NDArray[np.uint8] = self._renderer.render()
        return pixels

    def mask(self, camera: Camera) -> NDArray[np.bool_]:
        """Where the thing is: `(S, S)`."""
        self._renderer.enable_segmentation_rendering()
        self._aim(camera)
        pixels = self._renderer.render()
        self._renderer.disable_segmentation_rendering()
        geom = pixels[..., 1] == int(self.mujoco.mjtObj.mjOBJ_GEOM)
        found: NDArray[np.bool_] = geom & np.isin(pixels[..., 0], self._solids)
        return found

    def _aim(self, camera: Camera) -> None:
        eye = self.mujoco.MjvCamera()
        eye.distance = 1.0
        eye.lookat = camera.position + camera.forward
        x, y, z = camera.forward
        eye.azimuth, eye.elevation = np.degrees(np.arctan2(y, x)), np.degrees(np.arcsin(z))
        self.model.vis.global_.fovy = camera.field_of_view
        self.mujoco.mj_camlight(self.model, self.data)
        self._renderer.update_scene(self.data, eye, self._option)
        for geom in self._renderer.scene.geoms[: self._renderer.scene.ngeom]:
            if geom.objtype != int(self.mujoco.mjtObj.mjOBJ_GEOM):
                continue
            if geom.objid in self._backdrop:
                geom.category = int(self.mujoco.mjtCatBit.mjCAT_DECOR)  # a floor that shades itself gets specks
            elif self._is_lit and geom.objid in self._glowing:
                geom.emission, geom.rgba = 1.0, [*geom.rgba[:3], LIT]

    def close(self) -> None:
        """Free the renderer."""
        self._renderer.close()


def turned(vector: FloatArray, degrees: float) -> FloatArray:
    """A vector turned about z, counter-clockwise from above."""
    cos, sin = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return np.array([cos * vector[0] - sin * vector[1], sin * vector[0] + cos * vector[1], vector[2]])
