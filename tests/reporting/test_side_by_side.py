"""The short table: whose figures stand in which column, and what is said of what is not known."""

from example_runs import DASH, run_of

from vocjax.reporting.side_by_side import side_by_side

STUDY_4 = {
    "model.name": "mirror",
    "model.norm": "none",
    "loss.name": "soft_dice",
    "optimizer.name": "adam",
    "epochs": 10,
}


def segmenter(name, soft, hard, **fields):
    mask = {"soft_dice_per_image": 0.579, "hard_dice_per_image": 0.5791}
    results = {
        "train": {},
        "val": {"soft_dice_per_image": soft, "hard_dice_per_image_at_threshold": hard},
        "baselines": {"all foreground": {"val": {}}, "one mask for all": {"val": mask}},
    }
    return run_of("segmentation", name, results, **fields)


STUDY_256 = {"model.encoder": [256, 128, 64, 32, 16], "optimizer.name": "rmsprop", "epochs": 50}


def classifier(name, accuracy, **fields):
    majority = {"majority class (frequency)": {"val": {"elementwise_accuracy": 0.5}}}
    values = {"elementwise_accuracy": accuracy}
    results = {"train": values, "val": values, "baselines": majority}
    return run_of("classification", name, results, **fields)


def test_each_metric_has_the_study_what_is_trivial_its_recipe_and_ours():
    pairs = [
        (
            [classifier("Theirs", 0.7, **STUDY_256)],
            [classifier("Ours", 0.8), classifier("Ours", 1.0)],
        ),
        ([segmenter("Run 4", 0.57, 0.6, **STUDY_4)], [segmenter("U-Net", 0.7114, 0.7594)]),
    ]
    lines = side_by_side(pairs).splitlines()
    rows = [line.split("  ") for line in lines[:5]]
    cells = [[cell.strip() for cell in row if cell.strip()] for row in rows]
    assert cells == [
        ["metric on val", "study", "trivial", "its recipe", "ours"],
        ["classification", "element-wise accuracy ↑", "0.939", "0.500", "0.700", "0.900"],
        ["log loss ↓", "0.522", *[DASH] * 3],
        ["segmentation", "soft Dice per image ↑", "0.63", "0.579", "0.570", "0.711"],
        ["hard Dice per image, chosen threshold ↑", DASH, "0.579", "0.600", "0.759"],
    ]
    assert len({len(line) for line in lines[:5]}) == 1
    assert "segmentation: one mask for all; Run 4; U-Net" in lines
