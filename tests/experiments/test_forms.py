"""The forms of a convolution are timed in all directions, and the chosen ones are named."""

from experiments import forms
from vocjax.models.convolution import PATCHES, WINOGRAD, XLA, forms_of
from vocjax.models.pads import SAME


def test_every_form_of_a_layer_is_timed(monkeypatch, capsys):
    monkeypatch.setattr(forms, "LAYERS", ((1, 4, 2, 3, 3), (1, 4, 2, 3, 2)))
    monkeypatch.setattr(forms, "keep_memory", lambda: None)  # it would last beyond this test
    assert forms.main() == 0
    _, *lines, last = capsys.readouterr().out.splitlines()
    directions = ["output", "input's", "kernel's"]
    assert [line.split()[5] for line in lines] == directions * 2
    counts = [len([word for word in line.split() if "." in word]) for line in lines]
    assert counts == [2, 2, 3, 1, 1, 2]  # Winograd's form is of 3x3 kernels
    assert all(line.endswith(XLA) for line in lines[:2])
    assert lines[2].endswith(PATCHES)
    assert last.startswith("slower than another form: ")


def test_the_choice_by_shape():
    def chosen(side, channels, features, kernel=3, dilation=1):
        shape = (kernel, kernel, channels, features)
        return tuple(forms_of((8, side, side, channels), shape, SAME, dilation))

    assert chosen(32, 256, 128) == (WINOGRAD, WINOGRAD)
    assert chosen(14, 256, 256) == (XLA, WINOGRAD)
    assert chosen(7, 512, 512) == chosen(32, 256, 192, dilation=2) == (XLA, XLA)
    assert chosen(32, 32, 48) == (XLA, XLA)  # narrow on both sides
    assert chosen(32, 48, 128) == chosen(32, 256, 128, dilation=2) == (XLA, PATCHES)
    assert chosen(32, 3, 16) == chosen(32, 256, 32) == (XLA, PATCHES)
