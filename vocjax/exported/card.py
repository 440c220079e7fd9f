"""The model card of an exported model: a README.md as model hubs show it."""

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from vocjax.metrics.names import METRIC_NAMES
from vocjax.models.backbones.preprocessing import IDENTITY

PIPELINES = {
    "reconstruction": "image-feature-extraction",
    "classification": "image-classification",
    "segmentation": "image-segmentation",
}
# What the publishers of weights say about their licence.
TERMS = {
    "torchvision": (
        "https://github.com/pytorch/vision#pre-trained-model-license",
        "torchvision says that its weights may have their own licences or terms, derived from the "
        "data that they were trained on, and that it is up to you whether you may use them",
    ),
    "keras": (
        "https://keras.io/api/applications/",
        "each of Keras's weights has the licence of those who trained them",
    ),
}
LOADERS = {
    "safetensors": """```python
import vocjax

print(vocjax.load("FOLDER").predict(["dog.jpg"]))
```

`model.safetensors` has the network's variables by their paths, `params/...` and `batch_stats/...`;
`config.json` has the config that builds the network.
""",
    "stablehlo": """With JAX alone (`pip install jax flatbuffers`):

```python
import jax
import numpy as np

with open("FOLDER/model.stablehlo", "rb") as file:
    function = jax.export.deserialize(bytearray(file.read())).call
outputs = function(np.zeros((3, HEIGHT, WIDTH, CHANNELS), np.DTYPE))
```

`vocjax.load("FOLDER").predict(["dog.jpg"])` reads it, too.
""",
    "onnx": """With onnxruntime (`pip install onnxruntime`):

```python
import numpy as np
import onnxruntime

session = onnxruntime.InferenceSession("FOLDER/model.onnx")
names = [output.name for output in session.get_outputs()]
outputs = session.run(names, {"images": np.zeros((3, HEIGHT, WIDTH, CHANNELS), np.DTYPE)})
```

`vocjax.load("FOLDER").predict(["dog.jpg"])` reads it, too.
""",
}
# What `data.photo.read_photo` does with files of 8 bits.
READING = """
```python
from PIL import Image, ImageOps

photo = ImageOps.exif_transpose(Image.open("dog.jpg"))  # of 8 bits a channel
if photo.has_transparency_data:
    drawn = photo.convert("RGBA")
    photo = Image.alpha_composite(Image.new("RGBA", drawn.size, "white"), drawn)
photo = photo.convert("RGB")
"""
RESIZING = {
    False: """image = photo.resize((WIDTH, HEIGHT), Image.Resampling.LANCZOS)
images = np.asarray(imageGREY, np.uint8)[None]AFTER
```
""",
    True: """factor = min(HEIGHT / photo.height, WIDTH / photo.width)
size = [max(1, round(factor * side)) for side in photo.size]
frame = Image.new("RGB", (WIDTH, HEIGHT), (FILL, FILL, FILL))
frame.paste(photo.resize(size, Image.Resampling.LANCZOS))
images = np.asarray(frameGREY, np.uint8)[None]AFTER
```
""",
}
OWN_SIZE = {
    "whole": "padded to the network's stride",
    "windows": "in windows of this size that overlap, whose logits it blends",
}
FITS = {
    False: "without keeping its aspect",
    True: "keeps its aspect, and lies in the upper left corner of a grey frame",
}


def card(facts: Mapping[str, Any]) -> str:
    """Return the README.md of an exported model from what its config.json says."""
    parts = [
        _front_matter(facts),
        f"# {facts['training']['name']}\n",
        f"{_network(facts)} for {facts['task']}, trained with vocjax.\n",
        f"## Load\n\n{_filled(LOADERS[facts['format']], facts)}",
        _images(facts),
        _outputs(facts),
        _data(facts),
        _figures(facts),
        f"## Licence\n\n{_licence(facts)}\n",
    ]
    return "\n".join(parts)


def _network(facts: Mapping[str, Any]) -> str:
    """Return how the network is called: "deeplab on mobilenet_v2"."""
    backbone = f" on {facts['backbone']}" if facts["backbone"] else ""
    return f"{facts['architecture']}{backbone}"


def _filled(text: str, facts: Mapping[str, Any]) -> str:
    _, height, width, channels = facts["input"]["shape"]
    fields = {"HEIGHT": height, "WIDTH": width, "CHANNELS": channels}
    for name, value in (fields | {"DTYPE": facts["input"]["dtype"]}).items():
        text = text.replace(name, str(value))
    return text


def _front_matter(facts: Mapping[str, Any]) -> str:
    """Return the metadata in YAML, of which JSON is a part."""
    data = (facts["training"]["dataset"] or {}).get("name", "unknown")
    began = facts["training"]["began_from"]
    metrics = [
        {"type": name, "name": METRIC_NAMES.get(name, (name,))[0], "value": value}
        for name, value in facts["results"].get("val", {}).items()
    ]
    result = {
        "task": {"type": PIPELINES[facts["task"]]},
        "dataset": {"name": data, "type": data, "split": "val"},
        "metrics": metrics,
    }
    fields = {
        "library_name": "vocjax",
        "pipeline_tag": PIPELINES[facts["task"]],
        "tags": ["vocjax", "jax", facts["format"], facts["task"], data],
    }
    if began:
        fields |= {"license": "other", "license_name": "see-the-model-card"}
    if metrics:
        fields["model-index"] = [{"name": facts["training"]["name"], "results": [result]}]
    lines = (f"{name}: {json.dumps(value)}" for name, value in fields.items())
    return "\n".join(["---", *lines, "---", ""])


def _images(facts: Mapping[str, Any]) -> str:
    entry, before = facts["input"], facts["preprocessing"]["before"]
    inside = facts["preprocessing"]["inside"]
    low, high = entry["range"]
    sentence = (
        f"`images` are {entry['dtype']} [batch, height, width, channels] = "
        f"{_shape(entry['shape'])} from {low} to {high}, {before['channels']}, of any batch size. "
        "A photo is turned upright, as its EXIF orientation says, what is transparent is laid over "
        f"{before['transparency']}, and it is resized to {before['height']} x {before['width']}, "
        f"by Pillow's Lanczos filter, {FITS[before['keep_aspect']]}. All else is in the model"
    )
    if inside == IDENTITY._asdict():
        sentence += f": values become those from {low} to 1." if high > 1 else "."
    else:
        sentence += (
            f": of x in [0, 1], with the channels in the order {inside['order']}, (x * "
            f"{inside['white']:g} - mean) * scale, mean {_numbers(inside['mean'])} and scale "
            f"{_numbers(inside['scale'])}."
        )
    if facts["format"] == "safetensors":
        sentence += " vocjax does all of it."
    else:
        grey = before["channels"] != "RGB"
        after = "" if entry["dtype"] == "uint8" else ".astype(np.float32) / 255"
        text = _filled(READING + RESIZING[before["keep_aspect"]], facts)
        text = text.replace("FILL", str(before["padding"]))
        text = text.replace("GREY", '.convert("L")' * grey)
        text = text.replace("AFTER", "[..., None]" * grey + after)
        sentence += f"\n{text.rstrip()}"
    if (seen := facts["config"]["evaluation"]["images"]) != "fitted":
        seen = "windows" if facts["format"] != "safetensors" else seen  # a function has one size
        sentence += f"\n\nvocjax sees a photo at its own size, {OWN_SIZE[seen]}."
    return f"## Images\n\n{sentence}\n"


def _shape(sides: Sequence[Any]) -> str:
    return f"[{', '.join(map(str, sides))}]"


def _numbers(values: Any) -> str:
    return "(" + ", ".join(f"{value:.6g}" for value in values) + ")"


def _outputs(facts: Mapping[str, Any]) -> str:
    lines = ["## Outputs", "", "| name | type | shape | what |", "|---|---|---|---|"]
    lines += [
        f"| `{name}` | {of['dtype']} | {_shape(of['shape'])} | {of['meaning']} |"
        for name, of in facts["outputs"].items()
    ]
    if "classes" in facts:
        names = ", ".join(f"{index} {name}" for index, name in facts["id2label"].items())
        lines += ["", f"Classes, by {facts['activation']}: {names}."]
    if "threshold" in facts:
        lines += ["", f"A pixel is of a class where its probability exceeds {facts['threshold']}."]
    return "\n".join([*lines, ""])


def _data(facts: Mapping[str, Any]) -> str:
    trained = facts["training"]
    data, images = trained["dataset"] or {}, trained["images"] or {}
    counts = ", ".join(f"{count} in {split}" for split, count in images.items())
    partial = ", a part of it" if data.get("partial") else ""
    lines = [
        "## Data",
        "",
        f"Trained on `{data.get('name', 'unknown')}`{partial} (fingerprint "
        f"`{str(data.get('fingerprint'))[:16]}`): images: {counts or 'unknown'}. "
        f"{trained['epochs']} epochs, seed {trained['seed']}, the {facts['checkpoint']} checkpoint "
        f"of step {facts['step']}. The whole config is in config.json.",
        "",
    ]
    return "\n".join(lines)


def _figures(facts: Mapping[str, Any]) -> str:
    splits = [split for split in ("train", "val") if split in facts["results"]]
    names = list(dict.fromkeys(n for split in splits for n in facts["results"][split]))
    if not names:
        return "## Figures\n\nNone was measured of this checkpoint.\n"
    lines = ["## Figures", "", f"| metric | {' | '.join(splits)} |", "|---|" + "---|" * len(splits)]
    for name in names:
        label = METRIC_NAMES.get(name, (name,))[0]
        cells = (_cell(facts["results"][split].get(name)) for split in splits)
        lines.append(f"| {label} | {' | '.join(cells)} |")
    return "\n".join([*lines, ""])


def _cell(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, int | float) and math.isfinite(value) else ""


def _licence(facts: Mapping[str, Any]) -> str:
    began = facts["training"]["began_from"]
    if not began:
        return (
            "The weights were trained from scratch. Their licence is yours to choose, as far as "
            "the data allow: add `license: NAME` to the metadata above."
        )
    if "source" not in began:
        return (
            "The weights began from those of another run that is not there any more. Say here "
            "where that one began."
        )
    file, source = began["file"], began["source"]
    link, terms = TERMS.get(source, ("", "look up its terms where you got it"))
    where = f" ({link})" if link else ""
    return (
        f"The backbone began from published weights of {began['backbone']}, the file "
        f"`{file['name']}` (SHA-256 `{file['sha256']}`) with the names of {source}: "
        f"{terms}{where}. They hold for these weights, too."
    )
