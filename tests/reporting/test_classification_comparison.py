"""What the report draws of task 2's runs together."""

from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

from vocjax.reporting import classification, page
from vocjax.reporting import figures as draw
from vocjax.runs.reader import Run

STUDY = page.read_study()["classification"]["rows"]


def run_of(name, accuracy, seed=0, majority=None):
    results = {"val": {} if accuracy is None else {"elementwise_accuracy": accuracy}}
    if majority is not None:
        values = {"val": {"elementwise_accuracy": majority}}
        results["baselines"] = {"majority class (frequency)": values}
    return Run(Path(name), {"name": name, "seed": seed}, {}, [], results, {})


class TestComparison:
    runs = (
        run_of("Frozen", 0.8),
        run_of("Legacy, from AE 256, sgd", 0.85),
        run_of("Legacy, from AE 256, sgd", 0.95, seed=1),
        run_of("Best", 0.97),
    )

    def axis(self, *more):
        ((self.title, figure),) = classification.comparison([*self.runs, *more], STUDY).items()
        return figure.axes[0]

    def marks(self, axis, marker):
        """{name: accuracies} of one kind of mark."""
        names = [tick.get_text() for tick in axis.get_yticklabels()]
        return {
            names[int(line.get_ydata()[0])]: list(line.get_xdata())
            for line in axis.get_lines()
            if line.get_marker() == marker
        }

    def test_a_dot_a_seed_and_a_line_at_their_mean_best_above(self):
        axis = self.axis()
        dots = {"Frozen": [0.8], "Legacy, from AE 256, sgd": [0.85, 0.95], "Best": [0.97]}
        assert self.marks(axis, "o") == dots
        assert list(self.marks(axis, "o")) == list(dots)
        means = {name: [pytest.approx(np.mean(values))] for name, values in dots.items()}
        assert self.marks(axis, "|") == means

    def test_the_studys_figure_is_a_cross_beside_the_run_of_its_name(self):
        assert self.marks(self.axis(), "x") == {"Legacy, from AE 256, sgd": [0.871]}
        assert "crosses" in self.title
        found = self.marks(self.axis(run_of("Legacy, from AE 256, rmsprop", 0.9)), "x")
        assert found["Legacy, from AE 256, rmsprop"] == [0.939]

    def test_the_majority_class_is_a_dotted_line(self):
        def dotted(axis):
            return [line for line in axis.get_lines() if line.get_linestyle() == ":"]

        assert not dotted(self.axis())
        assert "dotted" not in self.title
        (line,) = dotted(self.axis(run_of("Scratch", 0.84, majority=0.618)))
        assert list(line.get_xdata()) == [0.618, 0.618]
        assert "dotted" in self.title

    def test_fewer_than_three_names_and_unfinished_runs_are_no_comparison(self):
        begun = Run(Path("begun"), {"name": "begun"}, {}, [], None, {})
        few = [*self.runs[:3], begun, run_of("without", None)]
        assert classification.comparison(few, STUDY) == {}

    def test_the_page_draws_it(self):
        assert page.COMPARISONS["classification"] is classification.comparison
        (figure,) = classification.comparison(self.runs, STUDY).values()
        assert isinstance(figure, Figure) and draw.encode_webp(figure)
