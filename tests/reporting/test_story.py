"""The sentences of the report: right for whatever came out, and from the runs alone."""

from functools import partial

import pytest
from example_runs import run_of

from vocjax.reporting import story
from vocjax.reporting.contests import contests

MEAN, MAJORITY = "mean image", "majority class (frequency)"


def coded(name, mse, baselines=None, code=16, **fields):
    results = {"val": {"mse": mse}, "code": code}
    found = {key: {"val": {"mse": value}} for key, value in (baselines or {MEAN: 0.05}).items()}
    return run_of("reconstruction", name, results | {"baselines": found}, **fields)


def classified(name, accuracy, seed=0, images=100, **fields):
    results = {
        "val": {"elementwise_accuracy": accuracy},
        "baselines": {MAJORITY: {"val": {"elementwise_accuracy": 0.6}}},
    }
    fields = {"data.classes": ["cat", "dog"], "data.split": "official"} | fields
    run = run_of("classification", name, results, seed=seed, **fields)
    run.provenance["images"] = {"train": 100, "val": images}
    return run


def segmented(name, dice, masks="nearest", **fields):
    results = {
        "val": {"hard_dice_per_image_at_threshold": dice, "soft_dice_per_image": dice - 0.1},
        "baselines": {
            "all foreground": {"val": {"hard_dice_per_image": 0.4}},
            "one mask for all": {"val": {"hard_dice_per_image": 0.5}},
        },
    }
    fields = {"model.target": "foreground", "data.masks": masks} | fields
    return run_of("segmentation", name, results, **fields)


def only(*runs):
    (found,) = contests(runs)
    return found


@pytest.mark.parametrize(
    ("value", "words"),
    [(0.04, "better than"), (0.06, "worse than"), (0.05, "the same as"), (0.05001, "the same as")],
)
def test_the_trivial_baseline_is_compared_in_the_digits_shown(value, words):
    contest = only(coded("AE", value, **{"model.name": "autoencoder"}))
    assert f"{words} the mean image (0.0500)" in story.outcome(contest)
    assert f"{words} the mean image (0.0500)" in story.shows(contest)
    assert (contest.gain > 0) == (words == "better than")


def test_a_code_is_compared_with_pca_and_the_cosines_of_its_size():
    baselines = {"PCA, at most 16 components": 0.02, "DCT, 16 coefficients": 0.01, MEAN: 0.05}
    best, other = (coded(name, mse, baselines) for name, mse in (("best", 0.015), ("other", 0.03)))
    text = story.shows(only(other, best))
    assert text.startswith("best is the best of 2 here, with a mean squared error of 0.0150")
    assert (
        "better than the mean image (0.0500) and PCA with at most 16 components (0.0200), but "
        "worse than DCT with 16 coefficients (0.0100)."
    ) in text
    assert "other (16 numbers in the code) has 0.0300, PCA with as many numbers 0.0200." in text


def test_the_studys_figure_stands_beside_that_of_its_recipe():
    fields = {"model.name": "autoencoder", "model.encoder": [256, 128, 64, 32, 16]}
    fields |= {"loss.name": "mse", "optimizer.name": "rmsprop", "epochs": 10}
    text = story.shows(only(coded("AE 256", 0.0472, **fields), coded("ours", 0.01)))
    assert "AE 256 repeats the study's recipe (AE 256): MSE 0.0472 here, 0.029 on" in text
    assert "the study's slides report 0.029 (AE 256" in story.outcome(
        only(coded("a", 0.1, **fields))
    )
    linear = only(coded("PCA", 0.01, **{"model.name": "pca"}))
    assert "study" not in story.outcome(linear) + story.shows(linear)


def test_seeds_are_one_run_with_their_range():
    contest = only(*(classified("net", a, seed) for seed, a in enumerate((0.7, 0.8, 0.9))))
    assert "an accuracy of 0.800 (mean of 3 seeds, 0.700 to 0.900)" in story.shows(contest)


@pytest.mark.parametrize(("accuracy", "chance"), [(0.65, True), (0.9, False), (0.3, False)])
def test_an_accuracy_has_its_standard_error(accuracy, chance):
    text = story.shows(only(classified("net", accuracy)))
    error = (accuracy * (1 - accuracy) / 100) ** 0.5
    assert f"With 100 images one standard error is {error:.3f}" in text
    assert ("can be chance" in text) == chance


def test_what_an_encoder_is_worth_is_said_where_nothing_else_differs():
    begun = partial(classified, "fine-tuned", init_from="runs/ae_0", images=1000)
    scratch = classified("scratch", 0.8, images=1000)
    words = "Begun with the encoder of ae, the same network has {}, {} the 0.800 of random"
    for value, verdict in (
        (0.85, "better than"),
        (0.75, "worse than"),
        (0.8, "the same as"),
        (0.81, "too close to tell from"),
    ):
        expected = words.format(f"{value:.3f}", verdict)
        assert expected in story.shows(only(begun(value), scratch))
    longer = classified("scratch", 0.8, images=1000, epochs=99)
    assert "Begun" not in story.shows(only(begun(0.85), longer))


def test_what_can_be_chance_is_not_called_better():
    contest = only(classified("net", 0.62, images=100))
    assert "too close to tell from the majority class (0.600)" in story.outcome(contest)
    assert story.conclusion({"x": contest}).startswith("No step is better")
    seeds = only(*(classified("net", a, seed, 10**6) for seed, a in enumerate((0.58, 0.7, 0.64))))
    assert "too close to tell from the majority class" in story.outcome(seeds)


def test_validation_comes_before_what_stands_in_for_it():
    tuned = [classified(name, 0.9, **{"data.held_out": 0.25}) for name in ("a", "b")]
    first, second = contests([*tuned, classified("c", 0.8)])
    assert "0.800 on validation images" in story.outcome(first)
    assert "0.900 on held-out photographs of train" in story.outcome(second)


def test_masks_and_targets_do_not_compare_and_honest_masks_come_first():
    runs = [segmented("a", 0.7, "legacy"), segmented("b", 0.45), segmented("c", 0.55, "legacy")]
    honest, legacy = contests(runs)
    assert [entry.run.name for entry in honest.entries] == ["b"]
    assert [entry.run.name for entry in legacy.entries] == ["a", "c"]
    assert "better than all foreground (0.400), but worse than one mask for all" in story.shows(
        honest
    )
    assert "worse than one mask for all (0.500)" in story.outcome(honest)
    assert "which is not the same measure" in story.outcome(legacy)


def test_the_last_sentence_counts_the_steps_that_are_better_than_nothing():
    good, bad = only(segmented("a", 0.7)), only(segmented("b", 0.45))
    assert story.conclusion({"x": good, "y": good}).startswith("All 2 steps are better")
    assert story.conclusion({"x": good}).startswith("The one step is better")
    assert "1 of 2 steps are better" in story.conclusion({"x": good, "y": bad})
    assert "“y” is not" in story.conclusion({"x": good, "y": bad})
    assert story.conclusion({"y": bad}).startswith("No step is better")
    unfinished = run_of("segmentation", "begun")
    assert contests([unfinished]) == []
    assert story.conclusion({}) == ""
