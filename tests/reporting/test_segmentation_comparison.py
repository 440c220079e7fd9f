"""What the report draws of task 3's runs together."""

from pathlib import Path

import pytest
from readable import assert_readable

from vocjax.reporting import page, segmentation
from vocjax.runs.reader import Run

STUDY = page.read_study()["segmentation"]["rows"]


def run_of(name, soft, hard=None, seed=0, protocol="legacy", trivial=None):
    values = {"soft_dice_per_image": soft, "hard_dice_per_image_at_threshold": hard}
    values["hard_dice_per_image"] = hard and hard - 0.1  # at .5
    results = {"val": {name: value for name, value in values.items() if value is not None}}
    if trivial is not None:
        results["baselines"] = {"all foreground": {"val": {"soft_dice_per_image": trivial}}}
    config = {"name": name, "seed": seed, "data": {"masks": protocol}}
    return Run(Path(f"{name}{seed}"), config, {}, [], results, {})


class TestComparison:
    runs = (
        run_of("U-Net", 0.7, 0.75),
        run_of("Run 4, soft Dice", 0.6, 0.64),
        run_of("Run 4, soft Dice", 0.62, 0.66, seed=1),
        run_of("Run 2, BCE", 0.5, 0.65),
        run_of("Run 2, BCE", 0.4, 0.55, protocol="nearest"),
    )

    def drawn(self, *more):
        ((title, figure),) = segmentation.comparison([*self.runs, *more], STUDY).items()
        return title, figure

    def marks(self, axis, label):
        """{name: values} of one kind of mark."""
        names = [tick.get_text().replace("\n", " ") for tick in axis.get_yticklabels()]
        return {
            names[round(line.get_ydata()[0])]: pytest.approx(list(line.get_xdata()))
            for line in axis.get_lines()
            if line.get_label().startswith(label)
        }

    def test_a_panel_for_each_protocol_and_the_studys_runs_above(self):
        _, figure = self.drawn()
        legacy, honest = figure.axes
        assert legacy.get_title(loc="left").startswith("Legacy")
        assert honest.get_title(loc="left").startswith("Honest")
        names = ["Run 2, BCE", "Run 4, soft Dice", "U-Net"]
        assert list(self.marks(legacy, "soft")) == names
        assert list(self.marks(honest, "soft")) == names[:1]
        assert legacy.yaxis_inverted()

    def test_dots_are_the_means_of_seeds_and_lines_their_span(self):
        legacy, honest = self.drawn()[1].axes
        soft = {"Run 2, BCE": [0.5], "Run 4, soft Dice": [0.61], "U-Net": [0.7]}
        hard = {"Run 2, BCE": [0.65], "Run 4, soft Dice": [0.65], "U-Net": [0.75]}
        assert self.marks(legacy, "soft") == soft
        assert self.marks(legacy, "hard") == hard
        assert self.marks(honest, "hard") == {"Run 2, BCE": [0.55]}
        spans = [
            list(line.get_xdata()) for line in legacy.get_lines() if line.get_marker() == "None"
        ]
        assert [0.6, 0.62] in spans and [0.64, 0.66] in spans

    def test_the_studys_value_is_a_cross_beside_the_run_that_repeats_it(self):
        title, figure = self.drawn()
        crosses = {"Run 2, BCE": [0.54], "Run 4, soft Dice": [0.63]}
        assert self.marks(figure.axes[0], "study") == crosses
        assert "crosses" in title
        ours = [run_of(f"Net {i}", 0.5, 0.5) for i in range(3)]
        ((title, figure),) = segmentation.comparison(ours, STUDY).items()
        assert not self.marks(figure.axes[0], "study")
        assert "crosses" not in title
        assert len(figure.axes) == 1

    def test_it_says_where_the_studys_conclusion_survives(self):
        told = "Legacy: +0.110 soft, +0.000 hard: the study's conclusion does not survive"
        title, _ = self.drawn()
        assert title.endswith(f"Run 4, soft Dice, against run 2, cross-entropy. {told}")
        title, _ = self.drawn(run_of("Run 4, soft Dice", 0.45, 0.56, protocol="nearest"))
        told += "; Honest: +0.050 soft, +0.010 hard: the study's conclusion survives"
        assert title.endswith(told)
        without = [run_of(f"Net {i}", 0.5, 0.5) for i in range(3)]
        assert "conclusion" not in next(iter(segmentation.comparison(without, STUDY)))

    def test_all_foreground_is_a_dotted_line_of_its_protocol(self):
        _, figure = self.drawn(run_of("Net", 0.3, 0.3, protocol="nearest", trivial=0.378))
        legacy, honest = (
            [line for line in axis.get_lines() if line.get_label() == "all foreground"]
            for axis in figure.axes
        )
        assert not legacy
        assert list(honest[0].get_xdata()) == [0.378, 0.378]

    def test_runs_without_values_and_fewer_than_three_are_no_comparison(self):
        begun = Run(Path("begun"), {"name": "begun"}, {}, [], None, {})
        few = [*self.runs[:3], begun, run_of("older", None, 0.5)]
        assert segmentation.comparison(few, STUDY) == {}

    def test_a_softmax_has_the_dice_of_its_decisions_and_a_run_without_any_its_soft_one(self):
        softmax = run_of("Softmax", 0.4)
        softmax.results["val"]["hard_dice_per_image"] = 0.3
        axis = self.drawn(softmax, run_of("Older", 0.4))[1].axes[0]
        assert self.marks(axis, "hard")["Softmax"] == [0.3]
        assert "Older" in self.marks(axis, "soft")
        assert "Older" not in self.marks(axis, "hard")

    def test_names_and_legend_are_readable(self):
        more = [
            run_of("Run 6, soft Dice, norm, 30 epochs", 0.5, 0.6, seed, protocol, 0.3)
            for protocol in ("legacy", "nearest")
            for seed in (0, 1)
        ]
        title, figure = self.drawn(*more)
        assert_readable(figure, title)
