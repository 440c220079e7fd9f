"""The story: an autoencoder, a classifier and a segmenter, each with the encoder handed on.

    vocjax experiments run story --workdir runs/story

runs it on the embedded toy data set. On real data (autoencoder and classifiers want dogs and
aeroplanes; where these are object crops, `--objects_dir` says where they lie):

    vocjax experiments run story --workdir runs/voc2009_story --dataset voc2009

A convolutional autoencoder learns from pixels. Its encoder begins the classifiers: frozen below a
regularised linear probe, and fine-tuned; the same network from scratch stands beside them. The
encoder of the autoencoder, or of the fine-tuned classifier of the same seed, begins the segmenters,
again beside the same network from scratch. Run again, it goes on where it was stopped.
"""

import argparse
import sys

from vocjax.runner import Experiment, main

CLASSIFIERS, SEGMENTERS = range(5), range(3)  # seeds; all begin from one autoencoder
# Of the three stages the first has the lowest log-loss by cross-validation on train.
FROZEN = (
    "model.encoder=(64,)",
    "epochs=0",  # the fit is the whole run
    "optimizer.warmup_steps=0",
    "optimizer.phases=((0, (('encoder/.*', 0.0), ('head/.*', 1.0))),)",
)
# The toy set has a third of the images: smaller batches, and more epochs, give as many steps.
TOY = {
    "autoencoder": ("epochs=60",),
    "classifier": ("batch_size=16", "epochs=24", "evaluate_every_epochs=24"),
    "segmentation": ("epochs=24", "evaluate_every_epochs=24"),
}


def plan(options: argparse.Namespace) -> list[Experiment]:
    """Return the story's runs on the data set that the options name."""
    shortened = TOY if options.dataset == "toy" else {}

    def of_task(task: str) -> tuple[str, ...]:
        home = options.data_dir if task == "segmentation" else options.objects_dir
        data = (f"data.dataset={options.dataset}", f"data.data_dir={home}")
        return (*data, *shortened.get(task, ()))

    def seeded(name: str, task: str, seed: int, *changes: str) -> Experiment:
        directory = f"{name.lower().replace(', ', '_').replace(' ', '_')}_{seed}"
        fields = (f"name={name}", f"seed={seed}", *of_task(task), *changes)
        return Experiment(directory, f"{task}_convolutional", fields, pictured=seed == 0)

    def begun(directory: str) -> tuple[str, ...]:
        return (f"init_from={options.workdir / directory}",)

    of_pixels = begun("autoencoder")
    classifiers = {"from scratch": (), "frozen": (*of_pixels, *FROZEN), "fine-tuned": of_pixels}
    return [
        Experiment("autoencoder", "autoencoder_convolutional", of_task("autoencoder")),
        *(
            seeded(f"Classifier, {how}", "classifier", seed, *changes)
            for how, changes in classifiers.items()
            for seed in CLASSIFIERS
        ),
        *(seeded("Segmenter, from scratch", "segmentation", seed) for seed in SEGMENTERS),
        *(
            seeded("Segmenter, from autoencoder", "segmentation", seed, *of_pixels)
            for seed in SEGMENTERS
        ),
        *(
            seeded(
                "Segmenter, from classifier",
                "segmentation",
                seed,
                *begun(f"classifier_fine-tuned_{seed}"),
            )
            for seed in SEGMENTERS
        ),
    ]


if __name__ == "__main__":
    sys.exit(main(__doc__, plan))
