"""Draws lists of solids with MuJoCo's renderer, kept alive from scene to scene.

Making a model or a renderer costs a second; drawing costs milliseconds. So the model holds nothing but meshes, textures
and materials, once, and every picture is drawn from a scene that is filled in by hand (no bodies, no physics).
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data_scripts.rooms.camera import FAR, NEAR, Camera
from data_scripts.rooms.lighting import Sun
from data_scripts.rooms.materials import MATERIALS, textures
from data_scripts.rooms.meshes import FloatArray
from data_scripts.rooms.opengl import load_mujoco
from data_scripts.rooms.pieces import all_meshes
from data_scripts.rooms.shapes import PointLight, Shape

MAX_SHAPES = 1500
MAX_LIGHTS = 8  # what OpenGL's fixed pipeline lights with
SAMPLES = 4  # of a pixel, against jagged edges


@dataclass
class Stage:
    """What is drawn: solids in groups (group k is drawn with segment number k), lights, and where shadows are fine."""

    groups: list[Sequence[Shape]]  # solids by object; group 0 is the room itself
    lights: list[PointLight]  # lamps that are on
    sun: Sun
    focus: FloatArray = field(default_factory=lambda: np.zeros(3))  # middle of the region with sharp shadows
    radius: float = 1.0  # of that region, in metres


class RoomRenderer:
    """An off-screen renderer of square pictures with sides of `image_size` pixels.

    Use one per thread; creating it takes about a second.
    """

    def __init__(self, image_size: int) -> None:
        self.mujoco = mujoco = load_mujoco()
        self.image_size = image_size
        spec = mujoco.MjSpec()
        spec.visual.global_.offwidth = spec.visual.global_.offheight = image_size
        spec.visual.quality.offsamples = SAMPLES
        spec.visual.quality.shadowsize = 2 * image_size  # shadows are drawn for the view only; finer ones cost time
        meshes = all_meshes()
        for name, mesh in meshes.items():
            # MuJoCo moves a mesh into its principal axes; `_undo` takes that back.
            spec.add_mesh(
                name=name,
                uservert=mesh.vertices.ravel(),
                usernormal=mesh.normals.ravel(),
                usertexcoord=mesh.uv.ravel(),
                userface=mesh.faces.ravel().astype(np.int32),
                inertia=mujoco.mjtMeshInertia.mjMESH_INERTIA_SHELL,
            )
        images = textures()
        spec.assets = {f"{name}.png": png for name, png in images.items()}
        for name in images:
            spec.add_texture(name=name, type=mujoco.mjtTexture.mjTEXTURE_2D, file=f"{name}.png")
        for name, material in MATERIALS.items():
            entry = spec.add_material(name=name)
            if material.texture:
                entry.textures[mujoco.mjtTextureRole.mjTEXROLE_RGB] = material.texture
        self.model = spec.compile()
        self.mesh_ids = {name: self.model.mesh(name).id for name in meshes}
        self.material_ids = {name: self.model.material(name).id for name in MATERIALS}
        self._undo = {name: self._principal_frame(i) for name, i in self.mesh_ids.items()}
        self._renderer: Any = mujoco.Renderer(self.model, image_size, image_size, max_geom=MAX_SHAPES)
        self.scene = self._renderer.scene
        self.scene.flags[mujoco.mjtRndFlag.mjRND_SKYBOX] = 0
        self._geoms = list(self.scene.geoms)
        self._context = self._renderer._mjr_context
        self._rect = mujoco.MjrRect(0, 0, image_size, image_size)
        self._prepare_geoms()
        self.seconds = 0.0  # time spent in OpenGL proper, for the benchmark

    def close(self) -> None:
        """Free the context."""
        self._renderer.close()

    def _principal_frame(self, mesh_id: int) -> tuple[FloatArray, FloatArray]:
        rotation = np.zeros(9)
        self.mujoco.mju_quat2Mat(rotation, self.model.mesh_quat[mesh_id])
        return rotation.reshape(3, 3), np.array(self.model.mesh_pos[mesh_id])

    def _prepare_geoms(self) -> None:
        mujoco = self.mujoco
        for geom in self._geoms:
            mujoco.mjv_initGeom(
                geom, mujoco.mjtGeom.mjGEOM_MESH, np.ones(3), np.zeros(3), np.eye(3).ravel(), np.ones(4, np.float32)
            )
            geom.objtype = mujoco.mjtObj.mjOBJ_GEOM
            geom.reflectance = 0.0
            geom.texcoord = 1

    def load(self, stage: Stage) -> None:
        """Fill the scene with a stage's solids and lights."""
        shapes = [(shape, number) for number, group in enumerate(stage.groups) for shape in group]
        if len(shapes) > len(self._geoms):
            raise ValueError(
                f"A room of {len(shapes)} solids exceeds the renderer's {len(self._geoms)}: show fewer objects."
            )
        category = self.mujoco.mjtCatBit
        decoration, solid = int(category.mjCAT_DECOR), int(category.mjCAT_STATIC)
        undo = [self._undo[shape.mesh] for shape, _ in shapes]
        matrices = np.array([shape.matrix for shape, _ in shapes])
        positions = np.array([shape.position for shape, _ in shapes])
        positions += (matrices @ np.array([shift for _, shift in undo])[:, :, None])[:, :, 0]
        matrices = matrices @ np.array([rotation for rotation, _ in undo])
        for (shape, number), geom, position, matrix in zip(shapes, self._geoms, positions, matrices, strict=False):
            material = MATERIALS[shape.material]
            geom.dataid = 2 * self.mesh_ids[shape.mesh]
            geom.matid = self.material_ids[shape.material]
            geom.pos = position
            geom.mat = matrix
            geom.rgba = shape.color
            geom.emission = material.emission
            geom.specular = material.specular
            geom.shininess = material.shininess
            geom.transparent = shape.color[3] < 1.0
            geom.segid = number
            # Walls are seen from inside only; their outside must not keep the light away. Decoration casts no shadow.
            geom.category = decoration if number == 0 and shape.mesh in ("panel", "sheet") else solid
        self.scene.ngeom = len(shapes)
        self._light(stage)

    def _light(self, stage: Stage) -> None:
        scene, mujoco = self.scene, self.mujoco
        self._context.shadowClip = stage.radius
        back = 2.0 * stage.radius + 1.0
        sun, side = scene.lights[0], scene.lights[1]
        side_way = stage.sun.direction * np.array([-1.0, -1.0, 1.0])
        for light, way, color, ambient, shadow in (
            (sun, stage.sun.direction, stage.sun.color, np.zeros(3), 1),
            (side, side_way, stage.sun.fill, stage.sun.ambient, 0),  # what a shadow does not take away
        ):
            light.type = mujoco.mjtLightType.mjLIGHT_DIRECTIONAL
            light.pos, light.dir = stage.focus - way * back, way
            light.diffuse, light.ambient, light.specular = color, ambient, color * 0.5
            light.attenuation, light.cutoff, light.exponent = (1.0, 0.0, 0.0), 90.0, 0.0
            light.castshadow, light.headlight = shadow, 0
        lamps = stage.lights[: MAX_LIGHTS - 2]
        for light, lamp in zip(list(scene.lights)[2:], lamps, strict=False):
            light.type = mujoco.mjtLightType.mjLIGHT_SPOT  # a cone of 180 degrees is a point; that type draws nothing
            light.pos, light.dir = lamp.position, (0.0, 0.0, -1.0)
            light.diffuse, light.ambient, light.specular = lamp.color, np.zeros(3), np.zeros(3)
            light.attenuation, light.cutoff, light.exponent = (1.0, 0.0, 3.0 / lamp.reach**2), 180.0, 0.0
            light.castshadow, light.headlight = 0, 0
        scene.nlight = 2 + len(lamps)

    def _aim(self, camera: Camera) -> None:
        half = NEAR * np.tan(np.radians(camera.field_of_view / 2))
        _, up = camera.axes
        for eye in self.scene.camera:
            eye.pos, eye.forward, eye.up = camera.position, camera.forward, up
            eye.frustum_near, eye.frustum_far, eye.frustum_center = NEAR, FAR, 0.0
            eye.frustum_bottom, eye.frustum_top, eye.frustum_width = -half, half, 0.0
            eye.orthographic = 0

    def image(self, camera: Camera) -> NDArray[np.uint8]:
        """The loaded stage as `(S, S, 3)` colours, 0 to 255."""
        return self._draw(camera, segment=False)

    def segments(self, camera: Camera) -> NDArray[np.int64]:
        """The loaded stage as `(S, S)` group numbers; -1 where nothing is."""
        pixels = self._draw(camera, segment=True).astype(np.int64)
        return pixels[..., 0] + 256 * pixels[..., 1] - 1

    def _draw(self, camera: Camera, segment: bool) -> NDArray[np.uint8]:
        mujoco, flags = self.mujoco, self.scene.flags
        self._aim(camera)
        start = time.perf_counter()
        flags[mujoco.mjtRndFlag.mjRND_SEGMENT] = flags[mujoco.mjtRndFlag.mjRND_IDCOLOR] = int(segment)
        flags[mujoco.mjtRndFlag.mjRND_SHADOW] = int(not segment)
        pixels = np.empty((self.image_size, self.image_size, 3), dtype=np.uint8)
        if self._renderer._gl_context:  # another renderer of this process may have made its own the current one
            self._renderer._gl_context.make_current()
        mujoco.mjr_render(self._rect, self.scene, self._context)
        mujoco.mjr_readPixels(pixels, None, self._rect, self._context)
        self.seconds += time.perf_counter() - start
        return np.ascontiguousarray(pixels[::-1])
