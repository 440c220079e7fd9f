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
FROZEN = (
    "model.head_init=logistic",
    "epochs=0",  # the fit is the whole run
    "optimizer.warmup_steps=0",
    "optimizer.phases=((0, (('encoder/.*', 0.0), ('head/.*', 1.0))),)",
)
TOY = {"autoencoder": (), "classifier": (), "segmentation": ()}


def plan(options: argparse.Namespace) -> list[Experiment]:
    """Return the story's runs on the data set that the options name."""
    toy = options.dataset == "toy"

    def experiment(name: str, task: str, seed: int, *changes: str) -> Experiment:
        directory = f"{name.lower().replace(', ', '_').replace(' ', '_')}_{seed}"
        home = options.data_dir if task == "segmentation" else options.objects_dir
        data = (f"data.dataset={options.dataset}", f"data.data_dir={home}")
        fields = (f"name={name}", f"seed={seed}", *data, *(TOY[task] if toy else ()), *changes)
        return Experiment(directory, f"{task}_convolutional", fields, pictured=seed == 0)

    def begun(directory: str) -> str:
        return f"init_from={options.workdir / directory}"

    handed_on = {
        "from scratch": lambda seed: (),
        "from autoencoder": lambda seed: (begun("autoencoder_0"),),
        "from classifier": lambda seed: (begun(f"classifier_fine-tuned_{seed}"),),
    }
    of_pixels = handed_on["from autoencoder"](0)
    classifiers = {"from scratch": (), "frozen": (*of_pixels, *FROZEN), "fine-tuned": of_pixels}
    return [
        experiment("Autoencoder", "autoencoder", 0),
        *(
            experiment(f"Classifier, {how}", "classifier", seed, *changes)
            for how, changes in classifiers.items()
            for seed in CLASSIFIERS
        ),
        *(
            experiment(f"Segmenter, {how}", "segmentation", seed, *changes(seed))
            for how, changes in handed_on.items()
            for seed in SEGMENTERS
        ),
    ]


if __name__ == "__main__":
    sys.exit(main(__doc__, plan))
