"""Sizes of the free dimensions of a model's inputs: as the user gave them, else guessed, else found by trying."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING

from msgspec import Struct

from runoff.records.errors import RunoffError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from runoff.models.own.graph import Tensor

_BATCH = "a batch of one"
_GUESSES = (
    (r"batch|^n$|^b$|^bs$|^none$", 1, _BATCH),
    (r"past|cache", 0, "nothing cached"),
    (r"seq|token|length|^s$|^l$|time|frames", 128, "a sequence"),
    (r"height|width|^h$|^w$", 224, "an image"),
    (r"sample", 16000, "a second of sound"),
)
"""Pattern of a dimension's name, its size, and what that is."""
_CANDIDATES = (512, 256, 224, 320, 640, 576, 1024, 64, 48, 80, 32, 16, 8, 4, 2, 1, 160, 192, 384, 768, 16000)
"""Common sizes; the smallest come late, since many models run on them without doing their work."""
STATE = re.compile(r"state|hidden|^[hc]_?\d?$|past|cache")
"""Pattern of the names of inputs that hold a state, which is passed back in."""
IMAGE_RANK, COLOURS = 4, (1, 3, 4)
_TRIED = "found by trying"
_MOST_ELEMENTS = 2**21
"""Of all inputs, in a try: larger ones could take minutes, or all memory."""


class Sizes(Struct, frozen=True):
    """The shape of every input, and the reason for the size of each free dimension."""

    shapes: dict[str, tuple[int, ...]]
    reasons: dict[str, str]
    """By input, for those with free dimensions."""


def parse_input(name: str, text: str, inputs: Sequence[Tensor]) -> tuple[int, ...]:
    """Return the shape in ``1,128:int64``, which must fit the input called `name`; the dtype may be omitted.

    Raises
    ------
    RunoffError
        If the model has no such input, or shape or dtype do not fit it.
    """
    known = {tensor.name: tensor for tensor in inputs}
    if name not in known:
        raise RunoffError(f"--input {name}: the model has no such input", did_you_mean(name, known))
    sizes, _, dtype = text.partition(":")
    try:
        shape = tuple(int(size) for size in sizes.replace("scalar", "").split(",") if size.strip())
        if any(size < 0 for size in shape):
            raise ValueError(text)  # noqa: TRY301 (the same failure)
    except ValueError:
        raise RunoffError(f"--input {name}={text}: not a shape", f"write it as --input {name}=1,128") from None
    return _checked(known[name], shape, dtype, f"--input {name}={text}")


def _checked(tensor: Tensor, shape: tuple[int, ...], dtype: str, where: str) -> tuple[int, ...]:
    if dtype and dtype != tensor.dtype:
        raise RunoffError(f"{where}: the input is {tensor.dtype}", f"remove :{dtype}, or export the model for it")
    if not fits(tensor, shape):
        raise RunoffError(f"{where}: the model takes {shown(tensor)}", "give each dimension a size: 1,3,224,224")
    return shape


def fits(tensor: Tensor, shape: Sequence[int]) -> bool:
    """Return whether the input takes the shape."""
    if tensor.shape is None:
        return True
    pairs = zip(tensor.shape, shape, strict=False)
    return len(tensor.shape) == len(shape) and all(isinstance(own, str) or own == size for own, size in pairs)


def shown(tensor: Tensor) -> str:
    """Return type and shape of a tensor as text: ``int64 [batch, 128]``."""
    shape = "[" + ", ".join(map(str, tensor.shape)) + "]" if tensor.shape is not None else "of any shape"
    return f"{tensor.dtype} {shape}"


def candidates(inputs: Sequence[Tensor], given: Mapping[str, tuple[int, ...]]) -> Iterator[Sizes]:
    """Yield sizes to try, the best guess first. `given` has the shapes that the user chose.

    Dimensions of the same name get the same size; one without a name is a dimension of its own.
    """
    known, guesses = _known(inputs, given), dict[str, tuple[int, str]]()
    for tensor in inputs:
        for symbol, size, why in _guess(tensor):
            if symbol not in known:
                guesses.setdefault(symbol, (size, why))
    yield _sizes(inputs, given, {**known, **guesses})
    others = [symbol for symbol, (_, why) in guesses.items() if why != _BATCH]
    for size in _CANDIDATES:
        for symbols in ([symbol] for symbol in others), [others] if len(others) > 1 else []:
            for changed in symbols:
                sizes = _sizes(inputs, given, {**known, **guesses, **dict.fromkeys(changed, (size, _TRIED))})
                if sum(map(math.prod, sizes.shapes.values())) <= _MOST_ELEMENTS:
                    yield sizes


def _known(inputs: Sequence[Tensor], given: Mapping[str, tuple[int, ...]]) -> dict[str, tuple[int, str]]:
    """Return the sizes of the free dimensions that the user's shapes determine."""
    return {
        symbol: (size, "as given")
        for tensor in inputs
        if tensor.name in given
        for symbol, size in zip(_symbols(tensor), given[tensor.name], strict=False)
        if symbol
    }


def _symbols(tensor: Tensor) -> list[str]:
    """Return an identifier for each dimension, empty if its size is fixed; without a name, ``dimension 2 of x``."""
    return [
        "" if isinstance(size, int) else f"dimension {place} of {tensor.name}" if size == "?" else size
        for place, size in enumerate(tensor.shape or ())
    ]


def _guess(tensor: Tensor) -> Iterator[tuple[str, int, str]]:
    shape = tensor.shape or ()
    for place, symbol in enumerate(_symbols(tensor)):
        if not symbol:
            continue
        named = None if symbol.startswith("dimension ") else _by_name(symbol)
        if named:
            yield symbol, *named
        elif place == 0 or STATE.search(tensor.name.lower()):
            yield symbol, 1, _BATCH
        elif len(shape) == IMAGE_RANK and (shape[1] in COLOURS or shape[-1] in COLOURS):
            yield symbol, 224, "an image"
        elif len(shape) == IMAGE_RANK and place == 1:
            yield symbol, 3, "colours of an image"
        else:
            yield symbol, 128, "a sequence"


def _by_name(symbol: str) -> tuple[int, str] | None:
    return next((guess for pattern, *guess in _GUESSES if re.search(pattern, symbol.lower())), None)  # type: ignore[return-value]


def _sizes(
    inputs: Sequence[Tensor], given: Mapping[str, tuple[int, ...]], chosen: Mapping[str, tuple[int, str]]
) -> Sizes:
    shapes, reasons = dict(given), {}
    for tensor in inputs:
        if tensor.name in given:
            continue
        symbols = _symbols(tensor)
        fixed = (size if isinstance(size, int) else 0 for size in tensor.shape or ())
        shapes[tensor.name] = tuple(
            chosen[symbol][0] if symbol else size for symbol, size in zip(symbols, fixed, strict=True)
        )
        why = dict.fromkeys(f"{symbol} {chosen[symbol][0]} ({chosen[symbol][1]})" for symbol in symbols if symbol)
        if why:
            reasons[tensor.name] = ", ".join(why)
    return Sizes(shapes, reasons)
