import io
import struct
import zlib

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image

from data_scripts.picture_files import open_picture
from data_scripts.stored_views import BadPictureError, Region, scale_box, single_region, store_pair, stored_size
from modeling_cde.data.transforms import PairTransform
from modeling_cde.models.pictures_cde import MOST_PIXELS
from modeling_cde.models.regions_cde import box_region


def encoded(image: Image.Image, format: str = "PNG", **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def noise(width: int, height: int, seed: int = 0) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))


def pixels(column: dict) -> np.ndarray:
    with Image.open(io.BytesIO(column["bytes"])) as image:
        return np.asarray(image)


@st.composite
def boxed_pictures(draw, smallest: int = 12, largest: int = 90):
    """(width, height), a box in it, with borders and single pixels among them."""
    size = draw(st.integers(smallest, largest)), draw(st.integers(smallest, largest))
    spans = []
    for length in size:
        one, other = draw(st.integers(0, length - 1)), draw(st.integers(0, length - 1))
        spans.append((min(one, other), max(one, other)))
    (x0, x1), (y0, y1) = spans
    return size, (x0, y0, x1, y1)


# The single view's region and the box in it


@given(boxed_pictures(), st.floats(0, 1), st.one_of(st.none(), st.integers(1, 64)))
def test_region_holds_the_box_and_its_margin_and_is_never_scaled_up(picture, margin, image_size):
    size, box = picture
    region = single_region(box, size, margin)
    assert 0 <= region.left <= box[0] and box[2] < region.right <= size[0]
    assert 0 <= region.top <= box[1] and box[3] < region.bottom <= size[1]
    wanted = max(box[2] - box[0] + 1, box[3] - box[1] + 1) * (1 + 2 * margin)
    for axis, length in enumerate((region.right - region.left, region.bottom - region.top)):
        assert min(wanted, size[axis]) <= length + 1e-6 and length < min(wanted, size[axis]) + 2
    stored = stored_size(region, image_size)
    assert stored[0] <= region.right - region.left and stored[1] <= region.bottom - region.top
    if image_size is not None:
        shorter = min(region.right - region.left, region.bottom - region.top)
        assert min(stored) == min(image_size, shorter)


@given(boxed_pictures(largest=60), st.integers(1, 60), st.sampled_from([0.0, 0.1, 0.25, 1.0]))
def test_rewritten_box_is_every_stored_pixel_that_the_box_touches(picture, image_size, margin):
    size, box = picture
    region = single_region(box, size, margin)
    stored = stored_size(region, image_size)
    expected = []
    for axis in (0, 1):
        begin, end = region[axis], region[axis + 2]
        # Stored pixel p covers the originals from p·length/stored to (p+1)·length/stored; in whole numbers.
        length = end - begin
        touched = [
            p
            for p in range(stored[axis])
            for o in range(box[axis] - begin, box[axis + 2] - begin + 1)
            if p * length < (o + 1) * stored[axis] and (p + 1) * length > o * stored[axis]
        ]
        expected.append((min(touched), max(touched)))
    (x0, x1), (y0, y1) = expected
    assert scale_box(box, region, stored) == [x0, y0, x1, y1]


@settings(max_examples=40, deadline=None)
@given(boxed_pictures(smallest=30), st.integers(12, 64), st.sampled_from(["single", "multi"]))
def test_a_marker_drawn_in_the_box_is_found_in_the_stored_box(picture, image_size, view):
    size, box = picture
    image = Image.new("RGB", size)
    image.paste((255, 255, 255), (box[0], box[1], box[2] + 1, box[3] + 1))
    row = store_pair(image, image, box, view=view, image_size=image_size)
    shown = pixels(row["after"])[..., 0]
    x0, y0, x1, y1 = row["box"]
    inside = np.zeros(shown.shape, bool)
    inside[y0 + 3 : max(y1 - 2, 0), x0 + 3 : max(x1 - 2, 0)] = True
    outside = np.ones(shown.shape, bool)
    outside[max(y0 - 2, 0) : y1 + 3, max(x0 - 2, 0) : x1 + 3] = False
    assert (shown[inside] > 225).all() and (shown[outside] < 30).all()  # 3 pixels' room for the filter's slope


@given(boxed_pictures(), st.floats(0, 0.25), st.one_of(st.none(), st.integers(24, 64)))
def test_the_models_crop_of_what_is_stored_is_its_crop_of_the_original(picture, crop_margin, image_size):
    size, box = picture
    region = single_region(box, size, 0.25)
    stored = stored_size(region, image_size)
    scale = [stored[0] / (region.right - region.left), stored[1] / (region.bottom - region.top)]
    original = box_region(box, size, (224, 224), crop_margin)
    found = box_region(scale_box(box, region, stored), stored, (224, 224), crop_margin)
    for axis in (0, 1, 2, 3):
        back = found[axis] / scale[axis % 2] + region[axis % 2]
        # Exact where nothing is scaled. Else the box was rounded outwards to stored pixels, up to one on each side, and
        # its margins grow with it, all at one edge where the picture's border holds the other; and the longer side of
        # the picture was rounded to whole pixels.
        room = 0.001 if image_size is None else 2 * (1 + 2 * crop_margin) + 1
        assert abs(back - original[axis]) <= room / min(scale)


def read_whole(region: Region, shown: tuple[float, ...], size: tuple[int, int], axis: int) -> np.ndarray:
    """Which of 16 outputs along an axis (0: x) are made of pixels that are stored, also those of their neighbours.

    The filter reads the pixels whose centres lie less than max(1, scale) from an output's, also past what is shown.
    """
    begin, end = shown[axis], shown[axis + 2]
    scale = (end - begin) / 16
    centers, reach = begin + (np.arange(16) + 0.5) * scale, max(1.0, scale)
    left = (region[axis] == 0) | (centers - reach >= region[axis] - 0.5)
    right = (region[axis + 2] == size[axis]) | (centers + reach <= region[axis + 2] + 0.5)
    return left & right


@settings(max_examples=15, deadline=None)
@given(boxed_pictures(smallest=30, largest=60), st.integers(0, 9))
@example(((30, 30), (0, 1, 1, 1)), 0)  # the pixel below what is stored counts in the last row of the original's crop
@example(((60, 60), (20, 20, 22, 22)), 0)  # the smallest box that has no such row anywhere
def test_the_models_pixels_of_an_unscaled_single_view_are_those_of_the_original(picture, seed):
    size, box = picture
    before, after = noise(*size, seed), noise(*size, seed + 100)
    row = store_pair(before, after, box, view="single", image_size=1000)
    transform = PairTransform((16, 16))
    expected = transform.pixel_values(before, after, box)
    found = transform.pixel_values(row["before"], row["after"], row["box"])
    region, shown = single_region(box, size, 0.25), transform.region(size, box)
    columns, rows = (read_whole(region, shown, size, axis) for axis in (0, 1))
    if max(box[2] - box[0], box[3] - box[1]) >= 2:
        assert columns.all() and rows.all()
    difference = (found - expected).abs()[..., rows, :][..., columns]
    # Of 2: another rounding of the filter's weights at most.
    assert difference.numel() == 0 or difference.max() < 3 / 127.5


# Both pictures alike


@settings(max_examples=25, deadline=None)
@given(
    boxed_pictures(),
    st.sampled_from(["single", "multi"]),
    st.one_of(st.none(), st.integers(5, 50)),
    st.sampled_from(["PNG", "JPEG"]),
)
def test_identical_pictures_stay_identical(picture, view, image_size, format):
    size, box = picture
    content = encoded(noise(*size), format)
    row = store_pair(content, bytes(content), box, view=view, image_size=image_size)
    assert row["before"] == row["after"]
    assert row["before"]["bytes"].startswith(b"\x89PNG" if format == "PNG" else b"\xff\xd8")
    assert row["mask_before"] is None and row["mask_after"] is None


def test_equal_pixels_in_other_forms_stay_equal():
    image = noise(40, 30)
    alpha = image.convert("RGBA")
    for image_size in (None, 20, 100):
        row = store_pair(encoded(image), encoded(alpha), (3, 3, 20, 20), view="multi", image_size=image_size)
        assert row["before"] == row["after"]
        jpeg = encoded(image, "JPEG")
        decoded = encoded(Image.open(io.BytesIO(jpeg)))
        row = store_pair(jpeg, decoded, (3, 3, 20, 20), view="multi", image_size=image_size)
        assert np.array_equal(pixels(row["before"]), pixels(row["after"]))


@pytest.mark.parametrize("format", ["PNG", "JPEG", "MPO"])
def test_bytes_are_kept_where_nothing_is_cut_or_scaled(format):
    options = {"quality": 70} | ({"save_all": True, "append_images": [noise(9, 9)]} if format == "MPO" else {})
    before, after = encoded(noise(40, 30), format, **options), encoded(noise(40, 30, 1), format, **options)
    for view, image_size in (("multi", 30), ("multi", 99), ("multi", None), ("single", None)):
        row = store_pair(before, after, (5, 6, 7, 8), view=view, image_size=image_size)
        assert (row["before"]["bytes"], row["after"]["bytes"], row["box"]) == (before, after, [5, 6, 7, 8])
    scaled = store_pair(before, after, (5, 6, 7, 8), view="multi", image_size=29)
    assert scaled["before"]["bytes"] != before


def test_encoding_can_be_chosen_and_jpeg_is_good():
    grey = np.random.default_rng(0).normal(128, 20, (64, 64)).clip(0, 255).astype(np.uint8)
    image = Image.fromarray(grey).convert("RGB")
    row = store_pair(image, image, (1, 1, 9, 9), view="multi", image_size=None, encoding="jpeg")
    with Image.open(io.BytesIO(row["before"]["bytes"])) as stored:
        assert stored.format == "JPEG" and stored.layer[1][1:3] == (1, 1)  # colour at full resolution
        assert np.abs(np.asarray(stored).astype(int) - np.asarray(image)).mean() < 2  # 3.1 at quality 90


def test_metadata_is_left_out():
    image = noise(40, 40)
    content = encoded(image, "JPEG", icc_profile=b"profile", comment=b"who and where")
    row = store_pair(content, content, (1, 1, 9, 9), view="multi", image_size=20)
    assert b"profile" not in row["before"]["bytes"] and b"who and where" not in row["before"]["bytes"]


# Forms of pictures


def test_exif_orientation_is_applied():
    image = noise(40, 30)
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned a quarter clockwise
    turned = encoded(image, "PNG", exif=exif)
    row = store_pair(turned, turned, (29, 39, 29, 39), view="multi", image_size=None)
    assert np.array_equal(pixels(row["before"]), np.rot90(np.asarray(image), -1))
    with Image.open(io.BytesIO(row["before"]["bytes"])) as stored:
        assert not stored.getexif()
    with pytest.raises(BadPictureError, match="outside"):
        store_pair(turned, turned, (30, 0, 30, 0), view="multi", image_size=None)


def test_other_modes_become_rgb():
    colours = noise(16, 16)
    array = np.asarray(colours)
    grey = Image.fromarray(array[..., 0])
    wide = Image.fromarray((array[..., 0].astype(np.uint16) << 8) | 0xAB)
    alpha = Image.fromarray(np.dstack([array, np.full((16, 16), 255, np.uint8)]))
    alpha.putpixel((3, 4), (200, 100, 50, 0))
    expected_alpha = array.copy()
    expected_alpha[4, 3] = 0
    palette = colours.quantize(8)
    see_through = encoded(palette, transparency=0)
    expected_palette = np.asarray(palette.convert("RGB")).copy()
    expected_palette[np.asarray(palette) == 0] = 0
    keyed = encoded(colours, transparency=tuple(int(value) for value in array[0, 0]))
    expected_keyed = array.copy()
    expected_keyed[(array == array[0, 0]).all(axis=2)] = 0
    three = np.repeat(array[..., :1], 3, axis=2)
    cases = {
        "grey": (encoded(grey), three),
        "16-bit grey": (encoded(wide), three),
        "palette": (encoded(palette), np.asarray(palette.convert("RGB"))),
        "transparent palette": (see_through, expected_palette),
        "transparent colour": (keyed, expected_keyed),
        "alpha": (encoded(alpha), expected_alpha),
        "one bit": (encoded(grey.convert("1")), np.asarray(grey.convert("1").convert("RGB"))),
        "BMP": (encoded(colours, "BMP"), array),
        "WebP": (encoded(colours, "WEBP", lossless=True), array),
        "TIFF": (encoded(colours, "TIFF"), array),
    }
    for name, (content, expected) in cases.items():
        row = store_pair(content, content, (0, 0, 15, 15), view="multi", image_size=None)
        with Image.open(io.BytesIO(row["before"]["bytes"])) as stored:
            assert (stored.format, stored.mode, stored.info.get("transparency")) == ("PNG", "RGB", None), name
            assert np.array_equal(np.asarray(stored), expected), name


def test_cmyk_jpeg_becomes_rgb_jpeg():
    content = encoded(Image.new("CMYK", (16, 16), (0, 255, 255, 0)), "JPEG")
    row = store_pair(content, content, (0, 0, 15, 15), view="multi", image_size=None)
    with Image.open(io.BytesIO(row["before"]["bytes"])) as stored:
        assert (stored.format, stored.mode) == ("JPEG", "RGB")
        assert np.abs(np.asarray(stored).astype(int) - [255, 0, 0]).max() < 6


# Masks


@settings(max_examples=30, deadline=None)
@given(boxed_pictures(smallest=16), st.sampled_from(["single", "multi"]), st.integers(8, 64))
def test_masks_follow_their_pictures(picture, view, image_size):
    size, box = picture
    mask = np.zeros((size[1], size[0]), np.uint8)
    mask[box[1] : box[3] + 1, box[0] : box[2] + 1] = 255
    image, content = noise(*size), encoded(Image.fromarray(mask))
    row = store_pair(image, image, box, content, content, view=view, image_size=image_size)
    stored = pixels(row["mask_after"])
    assert stored.shape == pixels(row["after"]).shape[:2] and set(np.unique(stored)) <= {0, 255}
    region = single_region(box, size, 0.25) if view == "single" else Region(0, 0, *size)
    scale = stored.shape[1] / (region.right - region.left), stored.shape[0] / (region.bottom - region.top)
    assert row["mask_before"] == row["mask_after"]
    # A pixel is on where half of it is: the area is kept up to half a pixel along the border.
    area = (box[2] - box[0] + 1) * scale[0], (box[3] - box[1] + 1) * scale[1]
    assert abs((stored > 0).sum() - area[0] * area[1]) <= area[0] + area[1] + 2
    x0, y0, x1, y1 = row["box"]
    outside = stored.copy()
    outside[y0 : y1 + 1, x0 : x1 + 1] = 0
    assert not outside.any()


@pytest.mark.parametrize("highest", [1, 200, 255])
def test_masks_of_any_height_become_0_and_255(highest):
    on = np.random.default_rng(0).random((20, 20)) > 0.5
    image = noise(20, 20)
    mask = Image.fromarray((on * highest).astype(np.uint8))
    row = store_pair(image, image, (0, 0, 5, 5), encoded(mask), mask, view="multi", image_size=None)
    for name in ("mask_before", "mask_after"):
        assert np.array_equal(pixels(row[name]), on * np.uint8(255))


def test_masks_keep_bytes_stay_empty_and_have_to_fit():
    image = noise(20, 20)
    good = encoded(Image.fromarray(np.eye(20, dtype=np.uint8) * 255), compress_level=2)
    empty = Image.new("L", (20, 20))
    row = store_pair(image, image, (0, 0, 5, 5), good, empty, view="multi", image_size=50)
    assert row["mask_before"]["bytes"] == good and not pixels(row["mask_after"]).any()
    with pytest.raises(BadPictureError, match="after mask has 19x20 pixels, its picture 20x20"):
        store_pair(image, image, (0, 0, 5, 5), None, Image.new("L", (19, 20)), view="multi", image_size=50)


# What is refused


def huge_png(width: int, height: int) -> bytes:
    """A few bytes that declare a huge picture."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


@pytest.mark.parametrize("shape", [(8001, 8000), (30_000, 30_000), (2**31 - 1, 2**31 - 1)])
def test_huge_pictures_are_refused_before_they_are_decoded(shape, recwarn):
    assert shape[0] * shape[1] > MOST_PIXELS
    with pytest.raises(BadPictureError, match="before picture cannot be read .* 64 million") as refused:
        store_pair(huge_png(*shape), noise(8, 8), (0, 0, 1, 1), view="multi", image_size=8)
    assert refused.value.reason == "picture too large" and not recwarn.list


def test_broken_pictures_are_refused():
    whole = encoded(noise(50, 50))
    for content in (b"", b"no picture", whole[: len(whole) // 2], whole[:20], b"%!PS-Adobe-3.0 EPSF-3.0\n"):
        with pytest.raises(BadPictureError, match="after picture cannot be read as an image") as refused:
            store_pair(whole, content, (0, 0, 1, 1), view="multi", image_size=8)
        assert refused.value.reason == "broken picture"
    damaged = bytearray(whole)
    damaged[len(damaged) // 2] ^= 0xFF
    with pytest.raises(BadPictureError, match="damaged"):
        store_pair(bytes(damaged), whole, (0, 0, 1, 1), view="multi", image_size=None)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_damaged_bytes_end_in_a_picture_or_in_one_sentence(data):
    content = bytearray(encoded(noise(9, 9), data.draw(st.sampled_from(["PNG", "JPEG", "GIF", "TIFF", "BMP", "WEBP"]))))
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    try:
        assert open_picture(bytes(content)).pixels.mode == "RGB"
    except BadPictureError:
        pass


@pytest.mark.parametrize(
    ("box", "reason"),
    [
        ((0, 0, 20, 5), "box outside the picture"),
        ((0, 0, 5, 10), "box outside the picture"),
        ((-1, 0, 5, 5), "box outside the picture"),
        ((5, 5, 4, 6), "empty box"),
        ((0, 0, 5), "bad box"),
        ((0, 0, 5, 5.5), "bad box"),
    ],
)
def test_bad_boxes_are_refused(box, reason):
    with pytest.raises(BadPictureError) as refused:
        store_pair(noise(20, 10), noise(20, 10), box, view="single", image_size=8)
    assert refused.value.reason == reason


def test_pictures_of_different_sizes_and_missing_boxes_are_refused():
    with pytest.raises(BadPictureError, match="20x10 before and 10x20 after"):
        store_pair(noise(20, 10), noise(10, 20), (0, 0, 1, 1), view="single", image_size=8)
    with pytest.raises(BadPictureError, match="no box"):
        store_pair(noise(20, 10), noise(20, 10), None, view="single", image_size=8)
    assert store_pair(noise(20, 10), noise(20, 10), None, view="multi", image_size=8)["box"] is None


@pytest.mark.parametrize(
    "wrong", [{"view": "both"}, {"image_size": 0}, {"margin": -0.1}, {"margin": float("nan")}, {"encoding": "gif"}]
)
def test_wrong_arguments_are_errors(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))) as refused:
        store_pair(noise(9, 9), noise(9, 9), (0, 0, 1, 1), **({"view": "multi", "image_size": 8} | wrong))
    assert not isinstance(refused.value, BadPictureError)
