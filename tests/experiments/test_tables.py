"""Tables of the documents, of small records: what they say where something is missing."""

from experiments.tables.backbones import backbones_table


def test_a_table_of_backbones_tells_what_is_not_measured_from_what_there_is_not():
    records = [
        {
            "backbone": "vgg16",
            "pixels": 224,
            "size": {"parameters": 138_357_544, "multiply_adds": 15_470_615_552},
            "torchvision": {"error": 1.123e-06, "version": "0.29"},
            "keras": {"error": 0.0, "version": "3.12"},
            "speed": {"batch": 8, "forward": 3.14159, "training": 0.5},
        },
        {"backbone": "xception", "pixels": 299, "size": None, "keras": None, "speed": None},
    ]
    _, _, first, second = backbones_table(records).splitlines()
    assert first == "| vgg16 | 224 | 138,357,544 | 15.47 | 1.1e-06 | 0 | 3.1 | 0.5 |"
    no = "not measured"
    assert second == f"| xception | 299 | {no} | {no} |  | {no} | {no} | {no} |"
