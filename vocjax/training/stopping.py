"""Early stopping: a run ends when validation has become no better for long enough."""

import math
from collections.abc import Sequence
from typing import Any

from ml_collections import ConfigDict


def why_stop(config: ConfigDict, epochs: Sequence[dict[str, Any]]) -> str:
    """Return why a run ends after the epochs that it has evaluated, "" where it goes on.

    `config.stop_early` names a metric of val, whether less (`min`) or more (`max`) of it is better,
    and in how many evaluations at the end of `epochs`, lines of metrics.jsonl, nothing was better
    than before them. An equal value is no better, and neither is one that is not finite. The answer
    depends on nothing else, so that a continued run ends where one without a stop does.
    """
    metric, mode, patience = (config.stop_early[name] for name in ("metric", "mode", "patience"))
    sign = 1 if mode == "min" else -1
    values = [sign * epoch["val"].get(metric, math.nan) for epoch in epochs]
    finite = [value for value in values if math.isfinite(value)]
    best = values.index(min(finite)) if finite else -1
    if not patience or len(values) - 1 - best < patience:
        return ""
    counted = f"{patience} evaluation{'s' * (patience > 1)}"
    since = f", since epoch {epochs[best]['epoch']}" if finite else ""
    return f"{metric} on val has become no better in {counted}{since}"
