"""The pickle in a state dict of torch, read by the few opcodes that state dicts use.

No class and no function that a pickle names is looked up, so none can be run: the ones that a state
dict consists of are known by their names, and everything else is refused. Python's own `Unpickler`,
even a restricted one, allocates what a pickle announces and sets attributes of what it makes.
"""

import pickletools
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from vocjax.pretrained.formats.numbers import BFLOAT16

LONGEST = 4 << 20  # bytes; a tensor takes about 700

ORDERED_DICT = "collections OrderedDict"
PARAMETER = "torch._utils _rebuild_parameter"
TENSORS = ("torch._utils _rebuild_tensor", "torch._utils _rebuild_tensor_v2")
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
KNOWN = {ORDERED_DICT, PARAMETER, *TENSORS, *DTYPES}

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


def load(file: BinaryIO) -> Any:
    """Return what the pickle at a file's position holds: `Tensor`s in dicts, lists and tuples.

    Raises ValueError if it asks for anything else, is damaged, or longer than `LONGEST`;
    LookupError, too, if it is damaged.
    """
    stack: list[Any] = []
    marks: list[int] = []
    memo: dict[int, Any] = {}

    def take(opcode: str) -> list[Any]:
        start = len(stack) - TAKEN[opcode] if opcode in TAKEN else marks.pop()
        items = stack[start:]
        del stack[start:]
        return items

    argument: Any
    begin = file.tell()
    for opcode, argument, position in pickletools.genops(file):
        if position is None or position - begin > LONGEST:
            raise ValueError(f"its pickle has more than the {LONGEST} bytes of a state dict")
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
                _of_type(list, stack[-1]).extend(items)
            case "EMPTY_DICT":
                stack.append({})
            case "SETITEM" | "SETITEMS" as name:
                items = take(name)
                _update(stack[-1], list(zip(items[::2], items[1::2], strict=True)))
            case "BINPUT" | "LONG_BINPUT":
                memo[argument] = stack[-1]
            case "MEMOIZE":
                memo[len(memo)] = stack[-1]
            case "BINGET" | "LONG_BINGET":
                stack.append(memo[argument])
            case "GLOBAL":
                stack.append(_global(argument))
            case "STACK_GLOBAL":
                name, module = stack.pop(), stack.pop()
                stack.append(_global(f"{_of_type(str, module)} {_of_type(str, name)}"))
            case "BINPERSID":
                stack.append(_storage(stack.pop()))
            case "REDUCE":
                arguments, function = stack.pop(), stack.pop()
                stack.append(_call(function, arguments))
            case "BUILD":  # attributes of an OrderedDict: the versions of torch's modules
                stack.pop()
                _of_type(dict, stack[-1])
            case "STOP":
                return stack.pop()
            case name:
                raise ValueError(f"its pickle uses {name}, which no state dict does")
    raise ValueError("its pickle has no end")


def _of_type(expected: type, value: Any) -> Any:
    if type(value) is not expected:
        raise ValueError(
            f"its pickle has a {type(value).__name__} where a state dict has a {expected.__name__}"
        )
    return value


def _update(target: Any, items: list[tuple[Any, Any]]) -> None:
    # Hashing a tuple in a tuple in a tuple ... would overflow the C stack.
    if any(type(key) not in (str, int) for key, _ in items):
        raise ValueError("its pickle has a dict whose keys are neither texts nor integers")
    _of_type(dict, target).update(items)


def _global(name: str) -> Global:
    if name not in KNOWN:
        raise ValueError(
            f"its pickle asks for {name[:100]!r}, and a state dict has tensors only (of a whole "
            "model, which is code, save model.state_dict())"
        )
    return Global(name)


def _storage(identity: Any) -> Storage:
    match identity:
        # The sixth is None; in the first versions of torch it could be a part of the storage.
        case ("storage", Global(kind), str(key), str(), int(size), *rest):
            if kind in DTYPES and size >= 0 and rest in ([], [None]):
                return Storage(DTYPES[kind], key, size)
    raise ValueError("its pickle refers to something other than a storage of numbers")


def _call(function: Any, arguments: Any) -> Any:
    """Return what a known function makes of its arguments."""
    name = function.name if isinstance(function, Global) else ""
    match arguments:
        case () if name == ORDERED_DICT:
            return {}
        case (list(items),) if name == ORDERED_DICT:  # as Python 2 wrote it
            ordered: dict[Any, Any] = {}
            _update(ordered, [(key, value) for key, value in items])
            return ordered
        case (Tensor() as tensor, *_) if name == PARAMETER:
            return tensor
        case (Storage() as storage, int(offset), tuple(shape), tuple(strides), *_) if (
            name in TENSORS
        ):
            return Tensor(storage, offset, shape, strides)
    raise ValueError("its pickle calls a function with arguments that no state dict has")
