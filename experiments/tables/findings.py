"""The tables of FINDINGS.md: what of the study comes out again, and what does not."""

from collections.abc import Callable, Mapping, Sequence
from statistics import fmean
from typing import Any

from scipy.stats import norm

from experiments.tables.kept import markdown, read_differences, read_kept
from vocjax.reporting.study import STUDY
from vocjax.runs.reader import Run

DATA = ("toy", "voc2009 subset")
KEPT = ("representation", "classification", "segmentation", "story")
SOFT, HARD = "soft_dice_per_image", "hard_dice_per_image_at_threshold"
ACCURACY = "elementwise_accuracy"
STUDYS_VAL = 139  # images of the legacy split

Cell = Callable[[str], str]  # of a data set


def findings() -> dict[str, str]:
    """Return each finding's table by name."""
    kept = {name: read_kept(name) for name in KEPT}

    def runs(study: str, data: str, start: str) -> list[Run]:
        of_data = kept[study].get(data, [])
        return [run for run in of_data if _begins(run.directory.name, start)]

    def values(study: str, start: str, metric: str) -> Cell:
        return lambda data: spread([_val(run, metric) for run in runs(study, data, start)])

    def baseline(study: str, start: str, kind: str, metric: str) -> Cell:
        def cell(data: str) -> str:
            found = [
                run.baseline(kind).get("val", {}).get(metric) for run in runs(study, data, start)
            ]
            return spread(found[:1])

        return cell

    def paired(study: str, first: str, second: str) -> Cell:
        return lambda data: difference(read_differences(study, data), first, second)

    def table(*rows: tuple[str, str, Cell]) -> str:
        return markdown(
            [["", "study", *DATA], *([what, study, *map(cell, DATA)] for what, study, cell in rows)]
        )

    def segmentation(run: str, protocol: str, metric: str) -> Cell:
        return values("segmentation", f"{protocol}_{run}", metric)

    mse = {size: slides("reconstruction", f"AE {size}", "mse") for size in (256, 2048)}
    runs_of_study = {n: slides("segmentation", f"run {n}", SOFT) for n in (2, 4, 5, 6)}
    found = {
        "PCA against the autoencoder": table(
            ("PCA, as many numbers", "", baseline("representation", "ae_256", "PCA", "mse")),
            ("cosine transform, as many", "", baseline("representation", "ae_256", "DCT", "mse")),
            ("AE 256, the study's recipe", mse[256], values("representation", "ae_256", "mse")),
            (
                "convolutional autoencoder, ours",
                "",
                values("representation", "convolutional_autoencoder_256", "mse"),
            ),
        ),
        "256 against 2048": table(
            ("AE 2048", mse[2048], values("representation", "ae_2048", "mse")),
            ("AE 256", mse[256], values("representation", "ae_256", "mse")),
            (
                "AE 256 minus AE 2048, accuracy, frozen",
                "",
                paired("classification", "AE 256, frozen", "AE 2048, frozen"),
            ),
            (
                "the same, fine-tuned",
                "",
                paired("classification", "AE 256, fine-tuned", "AE 2048, fine-tuned"),
            ),
        ),
        "Dice against cross-entropy": table(
            *(
                (f"run {n}, {loss}: {label}", study, segmentation(run, "legacy", metric))
                for metric, label in ((SOFT, "soft Dice"), (HARD, "hard Dice"))
                for n, run, loss in (
                    (2, "segmentation_bce", "cross-entropy"),
                    (4, "segmentation_dice", "soft Dice"),
                )
                for study in (runs_of_study[n] if metric == SOFT else "",)
            ),
            (
                "run 4 minus run 2: hard Dice",
                "",
                paired("segmentation", "Run 4, soft Dice, legacy", "Run 2, BCE, legacy"),
            ),
            *(
                (
                    f"{name}: soft Dice",
                    "",
                    baseline("segmentation", "legacy_segmentation_bce", name, SOFT),
                )
                for name in ("all foreground", "one mask for all")
            ),
        ),
        "random initialisation": table(
            (
                "AE 256: fine-tuned",
                slides("classification", "from AE 256", ACCURACY, "rmsprop, 50 epochs"),
                values("classification", "ae_256_fine-tuned", ACCURACY),
            ),
            ("AE 256: from scratch", "", values("classification", "ae_256_from_scratch", ACCURACY)),
            ("ours: fine-tuned", "", values("story", "classifier_fine-tuned", ACCURACY)),
            ("ours: from scratch", "", values("story", "classifier_from_scratch", ACCURACY)),
            (
                "ours: fine-tuned minus scratch",
                "",
                paired("story", "Classifier, fine-tuned", "Classifier, from scratch"),
            ),
            ("ours: frozen", "", values("story", "classifier_frozen", ACCURACY)),
        ),
        "917 and 139": table(
            *(
                (
                    f"{name}, legacy split",
                    share(study, STUDYS_VAL),
                    lambda data, start=start: of_share(runs("classification", data, start)),
                )
                for name, start, study in (
                    ("AE 256, rmsprop", "legacy_from_ae_256_rmsprop", 0.939),
                    ("AE 256, sgd", "legacy_from_ae_256_sgd", 0.871),
                    ("AE 2048, rmsprop", "legacy_from_ae_2048_rmsprop", 0.885),
                )
            ),
            (
                "AE 256, rmsprop, official split",
                "",
                lambda data: of_share(runs("classification", data, "ae_256_fine-tuned")),
            ),
        ),
        "void as foreground": table(
            *(
                (
                    f"all foreground, {protocol}: {label}",
                    "",
                    baseline(
                        "segmentation", f"{protocol}_segmentation_dice", "all foreground", metric
                    ),
                )
                for protocol in ("legacy", "sampled", "honest")
                for metric, label in (
                    ("pixel_accuracy", "share of the pixels"),
                    (SOFT, "soft Dice"),
                )
            ),
            *(
                (
                    f"run 4, {protocol}: soft Dice",
                    runs_of_study[4] if protocol == "legacy" else "",
                    segmentation("segmentation_dice", protocol, SOFT),
                )
                for protocol in ("legacy", "sampled", "honest")
            ),
        ),
        "batch norm's momentum": table(
            *(
                (
                    f"run {n}, {how}: soft Dice",
                    runs_of_study[n] if how == "as Keras" else "",
                    segmentation(run, "legacy", SOFT),
                )
                for n, run in ((5, "segmentation_norm"), (6, "segmentation_norm_long"))
                for how, run in (
                    ("as Keras", run),
                    ("momentum .9, dropout .2", f"run_{n}_following"),
                )
            ),
            *(
                (
                    f"{name}: soft Dice",
                    "",
                    baseline("segmentation", "legacy_segmentation_norm", name, SOFT),
                )
                for name in ("all foreground", "one mask for all")
            ),
            (
                "what is left of the beginning in run 5",
                "",
                lambda data: left(runs("segmentation", data, "legacy_segmentation_norm")),
            ),
        ),
    }
    return {f"finding, {name}": text for name, text in found.items()}


def _begins(directory: str, start: str) -> bool:
    """Whether a directory is that of a run, perhaps with its seed."""
    return directory == start or directory.removeprefix(f"{start}_").isdigit()


def _val(run: Run, metric: str) -> float | None:
    return (run.results or {})["val"].get(metric)


def spread(values: Sequence[float | None]) -> str:
    """Return `mean [lowest, highest]` of seeds, one value alone, and "" for none."""
    known = [value for value in values if value is not None]
    digits = 4 if known and max(known) < 0.1 else 3
    if len(known) < 2:
        return "".join(f"{value:.{digits}f}" for value in known)
    ends = f"[{min(known):.{digits}f}, {max(known):.{digits}f}]"
    return f"{fmean(known):.{digits}f} {ends}"


def slides(task: str, name: str, metric: str, setting: str = "") -> str:
    """Return what the study's slides have for a run, on validation."""
    rows = STUDY[task]["rows"]
    row = next(row for row in rows if row["name"] == name and setting in row["setting"])
    return str(row["val"][metric])


def difference(by_data: Mapping[str, Sequence[Mapping[str, Any]]], first: str, second: str) -> str:
    """Return a paired difference with its 95 % interval, "" where it was not kept."""
    for pairs in by_data.values():
        for pair in pairs:
            sign = {(first, second): 1, (second, first): -1}.get(tuple(pair["names"]))
            if sign:
                ends = sorted(sign * pair[end] for end in ("low", "high"))
                return f"{sign * pair['difference']:+.3f} [{ends[0]:+.3f}, {ends[1]:+.3f}]"
    return ""


def share(right: float, images: int) -> str:
    """Return a share with its 95 % interval (Wilson 1927), as if it were of so many images.

    An element-wise accuracy need not be a whole number of them.
    """
    z = float(norm.ppf(0.975))
    middle = (right + z**2 / (2 * images)) / (1 + z**2 / images)
    inner = right * (1 - right) / images + z**2 / (4 * images**2)
    half = z * inner**0.5 / (1 + z**2 / images)
    return f"{right:.3f} [{middle - half:.3f}, {middle + half:.3f}] of {images}"


def of_share(runs: Sequence[Run]) -> str:
    """Return the accuracy of the first run with its interval, "" for none."""
    for run in runs:
        accuracy = _val(run, ACCURACY)
        if accuracy is not None:
            return share(accuracy, run.provenance["images"]["val"])
    return ""


def left(runs: Sequence[Run]) -> str:
    """Return the share of their initial values that running statistics still hold."""
    return "".join(f"{0.99 ** run.results['step']:.0%}" for run in runs[:1] if run.results)
