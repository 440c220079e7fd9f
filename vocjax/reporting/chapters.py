"""The chapters of the report: the steps of the story, and what the page shows of each."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from matplotlib.figure import Figure

from vocjax.reporting import classification, reconstruction, segmentation
from vocjax.reporting.hover import Drawn
from vocjax.reporting.table import LINEAR
from vocjax.runs.reader import Run


class Chapter(NamedTuple):
    """A step: its idea, which runs belong to it, and how they are shown.

    `lead` draws what several runs have in common, side by side; `figures` draws a run; `comparison`
    draws the values of runs on the same data. `metrics` are the columns of the table.
    """

    id: str
    title: str
    idea: str
    note: str
    task: str
    models: Callable[[str], bool]
    metrics: Sequence[str]
    lead: Callable[[Sequence[Run]], Drawn]
    figures: Callable[[Run], Drawn]
    comparison: Callable[[Sequence[Run]], Mapping[str, Figure]]

    def takes(self, run: Run) -> bool:
        """Whether a run belongs to this step."""
        return run.task == self.task and self.models(str(run.field("model.name")))


ERRORS = (
    "Errors are those of intensities in [0, 1]: each image has its own, and the table has their "
    "mean. The PSNR is a mean, too; the PSNR of the MSE is that of the data set."
)
CHAPTERS = (
    Chapter(
        "linear-code",
        "A linear code",
        "An image is a long list of numbers: a point in a space with many axes. PCA finds the few "
        "directions along which the images differ most, and keeps only the coordinates along them. "
        "That is the code. The image that comes back is the mean image and a weighted sum of the "
        "same few pictures. A linear autoencoder learns the same subspace by gradient steps. On "
        "the images that it is fitted to, no linear code of this size has a smaller error.",
        ERRORS,
        "reconstruction",
        lambda model: model in LINEAR,
        ("mse", "mae", "psnr", "ssim"),
        reconstruction.side_by_side,
        reconstruction.figures,
        reconstruction.comparison,
    ),
    Chapter(
        "convolutional-code",
        "A convolutional code that decodes",
        "The encoder is a stack of small filters with a non-linearity after each of them. It "
        "halves the image step by step until a few hundred numbers remain: the code. The decoder "
        "doubles it again and paints the image from the code alone. No label is needed: the "
        "difference between the image that goes in and the one that comes out trains both.",
        ERRORS,
        "reconstruction",
        lambda model: model not in LINEAR,
        ("mse", "mae", "psnr", "ssim"),
        reconstruction.side_by_side,
        reconstruction.figures,
        reconstruction.comparison,
    ),
    Chapter(
        "classifier",
        "The encoder, cut off and given a head",
        "The decoder is cut off. In its place the encoder gets a small head, which turns the code "
        "into a probability for each class. The encoder can stay as it is (frozen), learn on "
        "(fine-tuned), or begin with random numbers (from scratch). If the code knows what an "
        "image shows, and not only its colours, the first two are better than the last.",
        "Element-wise accuracy is the share of an image's classes that are right, averaged over "
        "images; the log loss is averaged in the same way, in nats. Exact match is the share of "
        "images of which all classes are right; argmax accuracy is the share of images whose "
        "likeliest class is present; balanced accuracy is the mean over classes. Average precision "
        "is VOC's, by the 11-point rule of 2007 to 2009 and by every point; ECE is the expected "
        "calibration error. All are of the whole split.",
        "classification",
        lambda _: True,
        ("elementwise_accuracy", "log_loss", "balanced_accuracy", "map_11_points", "ece"),
        classification.side_by_side,
        classification.figures,
        classification.comparison,
    ),
    Chapter(
        "segmenter",
        "A decoder of pixels",
        "The encoder gets a decoder again, but this one paints what each pixel belongs to, not its "
        "colour. The deepest maps know what is there, but only coarsely where. Skips hand the "
        "finer maps of the encoder to the decoder, so that the outlines can follow the objects.",
        "Dice is that of the foreground, all classes together: per image, then averaged, or of "
        "the set, all its pixels at once; soft from probabilities, hard from decisions. With "
        "sigmoids a pixel is foreground if its probability exceeds .5, or exceeds the threshold "
        "that is best on train, which full size uses; with a softmax the likeliest class "
        "decides. IoU of set is the foreground's; the mean IoU is over the classes that occur, "
        "background among them. At full size a prediction is resized to its image and compared "
        "with the mask there, as VOC does; boundary F rates the outlines. Void pixels count "
        "nowhere, except that the legacy masks have them as object; full size does not use "
        "those masks.",
        "segmentation",
        lambda _: True,
        (
            "soft_dice_per_image",
            "soft_iou_per_image",
            "hard_dice_per_image_at_threshold",
            "hard_dice_per_image_full_size",
            "mean_iou_full_size",
            "boundary_f_full_size",
        ),
        segmentation.side_by_side,
        segmentation.figures,
        segmentation.comparison,
    ),
)
