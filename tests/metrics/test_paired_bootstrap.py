"""The paired bootstrap against every possible draw, a normal approximation and its own coverage."""

import itertools

import numpy as np
import pytest

from vocjax.metrics import classification
from vocjax.metrics.classification import paired_bootstrap


class TestPairedBootstrap:
    a = np.array([1.0, 0, 1, 1, 0])
    b = np.array([0.0, 0, 1, 0.5, 0.75])

    @pytest.mark.parametrize("groups", [None, ["p", "q", "p", "r", "s"]], ids=["images", "photos"])
    def test_its_ends_are_percentiles_of_all_possible_draws(self, groups):
        members = np.arange(5) if groups is None else np.array(groups)
        blocks = [np.flatnonzero(members == name) for name in np.unique(members)]
        possible = []
        for chosen in itertools.product(blocks, repeat=len(blocks)):
            rows = np.concatenate(chosen)
            possible.append(self.a[rows].mean() - self.b[rows].mean())
        found = paired_bootstrap(self.a, self.b, groups and members, draws=20_000, level=0.8)
        assert found.difference == pytest.approx(np.mean(self.a - self.b))
        assert found[1:] == pytest.approx(np.quantile(possible, [0.1, 0.9]))

    def test_what_the_two_share_cancels(self):
        rng = np.random.default_rng(0)
        common, a, b = rng.normal(0, 10, 200), rng.random(200), rng.random(200)
        paired = paired_bootstrap(a + common, b + common, None)
        assert paired == pytest.approx(paired_bootstrap(a, b, None))

    def test_groups_of_equal_values_widen_it_by_the_root_of_their_size(self):
        rng = np.random.default_rng(0)
        a, b = (np.repeat(rng.random(200), 4) for _ in range(2))
        groups = np.repeat(np.arange(200), 4)
        alone, together = (paired_bootstrap(a, b, g) for g in (None, groups))
        ratio = (together.high - together.low) / (alone.high - alone.low)
        assert ratio == pytest.approx(2, rel=0.05)

    def test_drawing_in_parts_leaves_every_draw_in_place(self, monkeypatch):
        whole = paired_bootstrap(self.a, self.b, None, draws=1001)
        monkeypatch.setattr(classification, "DRAWN_AT_ONCE", 50)
        assert paired_bootstrap(self.a, self.b, None, draws=1001) == whole

    def test_the_seed_decides(self):
        first = paired_bootstrap(self.a, self.b, None, draws=99)
        assert first == paired_bootstrap(self.a, self.b, None, draws=99)
        rng = np.random.default_rng(1)
        a, b = rng.random(50), rng.random(50)
        assert paired_bootstrap(a, b, None, seed=1) != paired_bootstrap(a, b, None, seed=2)

    @pytest.mark.parametrize(("n", "level"), [(0, 0.95), (3, 0.0), (3, 1.0), (3, 95)])
    def test_no_images_or_no_level_is_an_error(self, n, level):
        with pytest.raises(ValueError, match="level"):
            paired_bootstrap(np.ones(n), np.ones(n), None, level=level)
