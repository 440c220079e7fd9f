"""The pickle in a file of torch, read opcode by opcode; what it asks for is never looked up.

No class and no function that a pickle names is imported or called. Those that tensors and state
dicts consist of are known by their names; everything else becomes an inert `Unknown`, which has no
attributes. So a checkpoint gives its tensors whatever stands beside them. Python's own `Unpickler`,
even a restricted one, allocates what a pickle announces and sets attributes of what it makes.
"""

import io
import pickletools
from typing import Any, NamedTuple

import numpy as np

from vocjax.pretrained.formats.numbers import BFLOAT16

LONGEST = 16 << 20  # bytes; a tensor takes about 700, and a checkpoint has an optimizer's, too

ORDERED_DICT = "collections OrderedDict"
PARAMETERS = ("torch._utils _rebuild_parameter", "torch._utils _rebuild_parameter_with_state")
TENSORS = ("torch._utils _rebuild_tensor", "torch._utils _rebuild_tensor_v2")
FROM_TYPE = "torch._tensor _rebuild_from_type_v2"  # of a tensor with attributes
DTYPES = {
    "torch DoubleStorage": np.dtype("<f8"),
    "torch FloatStorage": np.dtype("<f4"),
    "torch HalfStorage": np.dtype("<f2"),
    "torch BFloat16Storage": BFLOAT16,
    "torch LongStorage": np.dtype("<i8"),
    "torch IntStorage": np.dtype("<i4"),
    "torch ShortStorage": np.dtype("<i2"),
    "torch CharStorage": np.dtype("<i1"),
    "torch ByteStorage": np.dtype("<u1"),
    "torch BoolStorage": np.dtype("<b1"),
}
KNOWN = {ORDERED_DICT, FROM_TYPE, *PARAMETERS, *TENSORS, *DTYPES}

CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
LITERALS = (
    *("BINUNICODE", "SHORT_BINUNICODE", "BINSTRING", "SHORT_BINSTRING"),  # the latter of Python 2
    *("BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT"),
)
# How many items of the stack an opcode takes; without an entry, all down to the last mark.
TAKEN = {"EMPTY_TUPLE": 0, "TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3, "APPEND": 1, "SETITEM": 2}


class Global(NamedTuple):
    """A class or function that a pickle names."""

    name: str


class Storage(NamedTuple):
    """Numbers in another part of the file."""

    dtype: np.dtype
    key: str
    size: int


class Tensor(NamedTuple):
    """A view of a storage; offset and strides count its numbers."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


class Unknown(dict[Any, Any]):
    """What stands for an object of another class: its items, where it is a dict of some kind."""


class Loaded(NamedTuple):
    """What a pickle holds."""

    value: Any  # `Tensor`s in dicts, lists and tuples
    dtypes: dict[str, np.dtype]  # of all storages that it refers to, by key
    strange: list[str]  # the classes and functions that it names, without those of state dicts


def load(file: io.BytesIO) -> Loaded:
    """Read the pickle at a file's position, and go to its end.

    Raises ValueError if it is damaged, longer than `LONGEST`, or has a storage of another kind;
    LookupError, too, if it is damaged.
    """
    stack: list[Any] = []
    marks: list[int] = []
    memo: dict[int, Any] = {}
    dtypes: dict[str, np.dtype] = {}
    strange: dict[str, None] = {}

    def take(opcode: str) -> list[Any]:
        start = len(stack) - TAKEN[opcode] if opcode in TAKEN else marks.pop()
        items = stack[start:]
        del stack[start:]
        return items

    def named(name: str) -> Global:
        if name not in KNOWN:
            strange[name[:100]] = None
        return Global(name)

    argument: Any
    begin = file.tell()
    for opcode, argument, position in pickletools.genops(file):
        if position is None or position - begin > LONGEST:
            raise ValueError(f"its pickle has more than the {LONGEST} bytes of a checkpoint")
        match opcode.name:
            case "PROTO" | "FRAME":
                pass
            case name if name in LITERALS:
                stack.append(argument)
            case name if name in CONSTANTS:
                stack.append(CONSTANTS[name])
            case "MARK":
                marks.append(len(stack))
            case "EMPTY_TUPLE" | "TUPLE1" | "TUPLE2" | "TUPLE3" | "TUPLE" as name:
                stack.append(tuple(take(name)))
            case "EMPTY_LIST":
                stack.append([])
            case "APPEND" | "APPENDS" as name:
                items = take(name)
                if not isinstance(stack[-1], Unknown):
                    _of_type(list, stack[-1]).extend(items)
            case "EMPTY_DICT":
                stack.append({})
            case "SETITEM" | "SETITEMS" as name:
                items = take(name)
                _update(stack[-1], list(zip(items[::2], items[1::2], strict=True)))
            case "BINPUT" | "LONG_BINPUT" | "PUT":
                memo[argument] = stack[-1]
            case "MEMOIZE":
                memo[len(memo)] = stack[-1]
            case "BINGET" | "LONG_BINGET" | "GET":
                stack.append(memo[argument])
            case "GLOBAL":
                stack.append(named(argument))
            case "STACK_GLOBAL":
                name, module = stack.pop(), stack.pop()
                stack.append(named(f"{_of_type(str, module)} {_of_type(str, name)}"))
            case "BINPERSID":
                storage = _storage(stack.pop())
                if isinstance(storage, Storage):
                    dtypes[storage.key] = storage.dtype
                stack.append(storage)
            case "REDUCE":
                arguments, function = stack.pop(), stack.pop()
                stack.append(_call(function, arguments))
            case "BUILD":  # attributes: of a module's state dict, for instance, the versions
                stack.pop()
            case "STOP":
                return Loaded(stack.pop(), dtypes, list(strange))
            case _:  # of other objects; what they take from the stack, and leave there, is known
                before = opcode.stack_before
                if pickletools.markobject in before:
                    del stack[marks.pop() :]
                    before = before[: before.index(pickletools.markobject)]
                for _ in before:
                    stack.pop()
                stack += [Unknown() for _ in opcode.stack_after]
    raise ValueError("its pickle has no end")


def _of_type(expected: type, value: Any) -> Any:
    if type(value) is not expected:
        raise ValueError(
            f"its pickle has a {type(value).__name__} where a state dict has a {expected.__name__}"
        )
    return value


def _update(target: Any, items: list[tuple[Any, Any]]) -> None:
    """Put items into a dict, those by name: other keys, as an optimizer's, name no array."""
    # Hashing a tuple in a tuple in a tuple ... would overflow the C stack.
    named = {key: value for key, value in items if type(key) is str}
    (target if isinstance(target, Unknown) else _of_type(dict, target)).update(named)


def _storage(identity: Any) -> Storage | Global | Unknown:
    match identity:
        # The sixth is None; in the first versions of torch it could be a part of the storage.
        case ("storage", Global(kind), str(key), str(), int(size), *rest):
            if size >= 0 and rest in ([], [None]):
                return Storage(DTYPES[kind], key, size) if kind in DTYPES else Unknown()
        case ("module", Global() as module, *_):  # with its source, in the older format
            return module
    raise ValueError("its pickle refers to something other than a storage of numbers")


def _call(function: Any, arguments: Any) -> Any:
    """Return what a known function makes of its arguments; `Unknown` for all others."""
    name = function.name if isinstance(function, Global) else ""
    match arguments:
        case () if name == ORDERED_DICT:
            return {}
        case (list(items),) if name == ORDERED_DICT:  # as Python 2 wrote it
            ordered: dict[Any, Any] = {}
            _update(ordered, [(key, value) for key, value in items])
            return ordered
        case (Tensor() as tensor, *_) if name in PARAMETERS:
            return tensor
        case (Storage() as storage, int(offset), tuple(shape), tuple(strides), *_) if (
            name in TENSORS
        ):
            return Tensor(storage, offset, shape, strides)
        case (Global(inner), _, tuple(given), *_) if name == FROM_TYPE and inner != FROM_TYPE:
            return _call(Global(inner), given)
    return Unknown()
