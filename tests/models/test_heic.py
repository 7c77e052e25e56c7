"""Pictures of an iPhone: read where pillow-heif is installed, and else refused with what to install."""

import importlib
import io

import numpy as np
import pytest
from PIL import Image

from modeling_cde.models import pictures_cde
from modeling_cde.models.pictures_cde import BadPictureError, load_picture


@pytest.fixture
def photo(tmp_path):
    """A white corner, left above as the camera held it; its file says to turn it by 90 degrees clockwise."""
    heif = pytest.importorskip("pillow_heif")
    heif.register_heif_opener(thumbnails=False)
    shown = Image.new("RGB", (40, 30))
    shown.paste((255, 255, 255), (0, 0, 10, 10))
    turned = Image.Exif()
    turned[0x0112] = 6
    shown.info["exif"] = turned.tobytes()
    shown.save(tmp_path / "photo.heic", quality=95)
    return tmp_path / "photo.heic"


def test_a_photo_is_read_upright(photo):
    found = load_picture(photo)
    pixels = np.asarray(found)
    assert found.mode == "RGB" and found.size == (30, 40)
    assert pixels[:8, -8:].min() > 200 and pixels[12:].max() < 60
    assert np.array_equal(pixels, np.asarray(load_picture(Image.open(photo))))


def test_a_built_data_set_needs_no_reader_of_them(photo):
    from data_scripts.stored_views import store_pair

    stored = store_pair(photo.read_bytes(), photo.read_bytes(), None, view="multi", image_size=None)
    image = Image.open(io.BytesIO(stored["before"]["bytes"]))
    assert image.format == "PNG" and image.size == (30, 40) and not image.getexif()


def test_a_damaged_photo_is_one_sentence(photo):
    with pytest.raises(BadPictureError, match="broken cannot be read as an image: it is damaged"):
        pictures_cde.upright_rgb(pictures_cde.open_picture(photo.read_bytes()[:400], "broken"), "broken")


def test_without_the_library_the_sentence_says_what_to_install(photo, monkeypatch):
    def missing(name):
        raise ImportError(name)

    monkeypatch.setattr(importlib, "import_module", missing)
    with pytest.raises(BadPictureError, match="pip install pillow-heif, or save it as JPEG"):
        load_picture(photo)
