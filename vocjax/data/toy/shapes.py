"""Who draws which class.

Every function draws its view, pose, proportions and colours from the generator that it is given,
and from it alone, and faces to the right where it faces anywhere. The scene scales, mirrors, tilts
and lights what it gets.
"""

from collections.abc import Callable

from vocjax.data.toy import aircraft, animals, indoor, people, pets, vehicles
from vocjax.data.toy.parts import Random, Shape

Draw = Callable[[Random], Shape]

SHAPES: dict[str, Draw] = {
    "aeroplane": aircraft.aeroplane,
    "bicycle": vehicles.bicycle,
    "bird": animals.bird,
    "boat": vehicles.boat,
    "bottle": indoor.bottle,
    "bus": vehicles.bus,
    "car": vehicles.car,
    "cat": pets.cat,
    "chair": indoor.chair,
    "cow": animals.cow,
    "diningtable": indoor.diningtable,
    "dog": pets.dog,
    "horse": animals.horse,
    "motorbike": vehicles.motorbike,
    "person": people.person,
    "pottedplant": indoor.pottedplant,
    "sheep": animals.sheep,
    "sofa": indoor.sofa,
    "train": vehicles.train,
    "tvmonitor": indoor.tvmonitor,
}

# Close-ups, which the lower edge of the image cuts off.
PORTRAITS: dict[str, Draw] = {
    "cat": pets.cat_portrait,
    "dog": pets.dog_portrait,
    "person": people.person_portrait,
}
