"""Painting on arrays: masks, heat maps and legends."""

import numpy as np
import pytest
from PIL import Image

from vocjax import painting
from vocjax.data.classes import PALETTE as VOCS

PALETTE = np.array([[0, 0, 0], [200, 0, 0], [0, 100, 0]], np.uint8)


class TestOverlay:
    image = np.full((1, 4, 3), 100, np.uint8)
    mask = np.array([[0, 1, 2, 255]])

    @pytest.mark.parametrize(
        ("alpha", "one", "two"),
        [
            (0, (100, 100, 100), (100, 100, 100)),
            (0.5, (150, 50, 50), (50, 100, 50)),
            (1, (200, 0, 0), (0, 100, 0)),
        ],
    )
    def test_background_stays_classes_mix_and_void_is_outlined(self, alpha, one, two):
        painted = painting.overlay(self.image, self.mask, PALETTE, alpha)
        assert painted.dtype == np.uint8
        np.testing.assert_array_equal(painted[0], [(100, 100, 100), one, two, painting.OUTLINE])

    def test_a_batch_is_painted_image_by_image_and_left_alone(self):
        images = np.stack([self.image, self.image // 2])
        before = images.copy()
        painted = painting.overlay(images, np.stack([self.mask, self.mask[:, ::-1]]), PALETTE)
        alone = painting.overlay(images[1], self.mask[:, ::-1], PALETTE)
        np.testing.assert_array_equal(painted[1], alone)
        np.testing.assert_array_equal(images, before)

    def test_an_index_without_a_colour_is_an_error_and_void_has_the_devkits(self):
        with pytest.raises(IndexError):
            painting.overlay(self.image, self.mask + 2, PALETTE)
        np.testing.assert_array_equal(VOCS[painting.VOID], painting.OUTLINE)


class TestHeatMap:
    def test_red_is_for_blue_against_and_no_evidence_leaves_the_image(self):
        values = np.array([[[4, 0], [0, -4]], [[2, 2], [2, 2]]], np.float32)
        heat = painting.heat_map(np.full((2, 16, 16, 3), 128, np.uint8), values)
        assert (heat.shape, heat.dtype) == ((2, 16, 16, 3), np.uint8)
        (red, _, blue), against = heat[0, 0, 0].astype(int), heat[0, -1, -1].astype(int)
        assert red > 128 > blue
        assert against[2] > 128 > against[0]
        assert heat[0, 0, -1].tolist() == [128] * 3
        weaker = heat[1, 5, 5].astype(int)  # half as much: one scale for all images
        assert red > weaker[0] > 128 > weaker[2] > blue

    def test_one_image_without_any_evidence_is_left_alone(self):
        image = np.random.default_rng(0).integers(0, 256, (4, 4, 3), np.uint8)
        heat = painting.heat_map(image, np.zeros((2, 2), np.float16))
        np.testing.assert_array_equal(heat, image)


def test_floats_are_intensities_and_are_clipped():
    shown = painting.as_bytes(np.array([-1.0, 0.0, 0.6, 1.0, 7.0]))
    assert shown.dtype == np.uint8 and shown.tolist() == [0, 0, 153, 255, 255]
    assert painting.as_bytes(shown) is shown


def test_grey_is_the_mean_of_the_channels_of_bytes_and_of_floats():
    colours = np.array([[10, 20, 61]], np.uint8)
    assert painting.grey(colours).tolist() == painting.grey(colours / 255).tolist() == [[30] * 3]
    half = np.full((1, 3), 0.5, np.float16)
    assert painting.grey(half).tolist() == painting.grey(half[:, :1]).tolist() == [[128] * 3]


def test_a_grid_has_its_images_in_rows_with_white_gaps_between_them():
    images = np.arange(6, dtype=np.uint8).repeat(2).reshape(2, 3, 2, 1, 1)
    shown = painting.grid(images, 1)
    white = [255] * 5
    row, below = [0, 255, 1, 255, 2], [3, 255, 4, 255, 5]
    assert shown[..., 0].tolist() == [row, row, white, below, below]
    assert painting.grid(images, 0)[..., 2].tolist() == [row[::2]] * 2 + [below[::2]] * 2


def test_a_legend_names_every_colour_below_the_picture():
    picture = Image.new("RGB", (90, 20), (1, 2, 3))
    assert painting.with_legend(picture, {}) is picture
    colours = {"dog": (64, 0, 128), "diningtable": (192, 128, 0), "cat": (64, 0, 0)}
    whole = np.asarray(painting.with_legend(picture, colours))
    np.testing.assert_array_equal(whole[:20, :90], np.asarray(picture))
    for colour in colours.values():
        assert (whole[20:] == colour).all(axis=-1).sum() > 50
    assert whole.shape[0] > 20 + 18  # they take several lines


@pytest.mark.parametrize("letters", ["éü", "γδ", "жю"])
def test_a_legend_has_the_letters_of_other_languages(letters):
    picture = Image.new("RGB", (90, 20))
    one, other = (painting.with_legend(picture, {letter: (0, 0, 0)}) for letter in letters)
    assert one.tobytes() != other.tobytes()  # as two boxes would be


def test_large_pictures_are_painted_in_bands(monkeypatch):
    rng = np.random.default_rng(0)
    images, mask = rng.integers(0, 256, (2, 7, 5, 3), np.uint8), rng.integers(0, 3, (2, 7, 5))
    values = rng.normal(size=(2, 3, 3))

    def paint():
        return painting.overlay(images, mask, PALETTE), painting.heat_map(images, values)

    whole = paint()
    monkeypatch.setattr(painting, "PIXELS_AT_ONCE", 11)
    np.testing.assert_array_equal(paint(), whole)
