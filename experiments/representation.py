"""Task 1 in full: PCA, linear and convolutional autoencoders, their codes, and the trade-off.

    vocjax experiments run representation --workdir runs/representation

runs it on the embedded toy data set. On the study's split of real data:

    vocjax experiments run representation --workdir runs/voc2009_representation --dataset voc2009

The report shows pictures of the principal runs; those that only make a point of the trade-off curve
stand in its tables, and so does the family of variants, which is trained on the toy set alone. Run
again, it goes on where it was stopped.
"""

import argparse
import sys

from vocjax.runner import Experiment, main

SEEDS = (0, 1, 2)
PCA_SIZES = (16, 32, 64, 128, 256)
LINEAR_SIZES = (64,)
# The last width of AE 256's encoder: 4x4 places times as many numbers.
CONVOLUTIONAL = {16: 1, 1024: 64}
# The lecture's code: 2x2 places of 18 numbers, after a further halving.
SMALLER = (
    "model.encoder=(64, 128, 256, 256)",
    "model.code=18",
    "model.decoder=(256, 256, 128, 64)",
)
WIDTHS = ("model.encoder=(32, 64, 64, 64, 16)", "model.decoder=(64, 64, 64, 32)")
FAMILY = {
    "plain": (),
    "strided": ("model.downsample=stride",),
    "bilinear": ("model.upsample=bilinear",),
    "transposed": ("model.upsample=transposed",),
    "unpooling with switches": ("model.upsample=unpool",),
    "residual": ("model.residual=1",),
    "batch norm": ("model.norm=batch",),  # with Keras's statistics
    "batch norm, debiased": ("model.norm=batch", "model.norm_statistics=debiased"),
    "batch norm, precise": ("model.norm=batch", "model.norm_statistics=precise"),
    "group norm": ("model.norm=group",),
    "gelu": ("model.activation=gelu",),
    "MAE": ("loss.name=mae",),
    "SSIM": ("loss.name=ssim",),
    "denoising": ("loss.noise=0.1",),
}


def plan(options: argparse.Namespace) -> list[Experiment]:
    """Return the task's runs on the data set that the options name."""
    toy = options.dataset == "toy"
    data = (f"data.dataset={options.dataset}", f"data.data_dir={options.objects_dir}")
    # The toy set has a third of the study's images: smaller batches give as many steps.
    trained = ("batch_size=8", "epochs=12") if toy else ()
    largest = 128 if toy else 256  # the toy set is too small for 256 components

    def experiment(name: str, config: str, *changes: str, pictured: bool = True) -> Experiment:
        directory = name.lower().replace(", ", "_").replace(" ", "_")
        return Experiment(directory, config, (f"name={name}", *data, *changes), pictured)

    def seeds(name: str, config: str, *changes: str) -> list[Experiment]:
        runs = (experiment(name, config, f"seed={seed}", *changes) for seed in SEEDS)
        return [run._replace(directory=f"{run.directory}_{i}") for i, run in enumerate(runs)]

    linear = [
        experiment(name, "linear_autoencoder", *changes)
        for name, changes in (
            ("Linear autoencoder 16", ()),
            ("Linear autoencoder 16, tied", ("model.tied=True",)),
        )
    ]
    principal = [
        experiment(f"PCA {largest}", "pca", f"model.components={largest}"),
        *linear,
        *seeds("AE 2048", "autoencoder_2048", *trained),
        *seeds("AE 256", "autoencoder_256", *trained),
        experiment("AE 72", "autoencoder_72", *trained),
    ]
    solver = ("model.solver=streaming", f"model.components={largest}", "batch_size=64")
    points = [
        experiment(f"PCA {largest}, streaming", "pca", *solver),
        *(
            experiment(f"PCA {size}", "pca", f"model.components={size}")
            for size in PCA_SIZES
            if size < largest
        ),
        *(
            experiment(
                f"Linear autoencoder {size}", "linear_autoencoder", f"model.components={size}"
            )
            for size in LINEAR_SIZES
        ),
        *(
            experiment(
                f"AE {size}",
                "autoencoder_256",
                f"model.encoder=(256, 128, 64, 32, {width})",
                *trained,
            )
            for size, width in CONVOLUTIONAL.items()
        ),
        *(
            experiment(
                f"Slim AE 256, {name}",
                "autoencoder_256",
                *WIDTHS,
                "optimizer.name=adam",
                *trained,
                "epochs=10",
                *changes,
            )
            for name, changes in (FAMILY if toy else {}).items()
        ),
    ]
    longer = ("epochs=60",) if toy else ()
    ours = [
        experiment(
            "Transform autoencoder 256", "transform_autoencoder", *(("epochs=30",) if toy else ())
        ),
        *seeds("Convolutional autoencoder 256", "autoencoder_convolutional", *longer),
        *seeds("Convolutional autoencoder 72", "autoencoder_convolutional", *longer, *SMALLER),
    ]
    return [*principal, *(point._replace(pictured=False) for point in points), *ours]


if __name__ == "__main__":
    sys.exit(main(__doc__, plan))
