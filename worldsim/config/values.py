"""Plain values of a config (numbers, text, lists, mappings) as the types that a dataclass names.

Every value is refused by its key, with what was given and what was expected. A switch is no
number, a number with a fraction no whole one, and null only what a type says may be None.
"""

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import MISSING, Field, fields, is_dataclass
from functools import cache
from inspect import Parameter, isclass, signature
from numbers import Real
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from worldsim.config.limits import Rule, refused
from worldsim.errors import UsageError, unknown_name

INLINE = "inline"
"""`Annotated[Part, INLINE]`: the part's keys stand in the node of the whole, not in one below."""

_NAMES = {
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    str: "text",
    Path: "a path",
    NoneType: "null",
}


def read_value(kind: Any, value: Any, key: str) -> Any:
    """`value` as `kind`, a type or annotation; a kind that is not known here takes anything.

    Raises:
        UsageError: it is something else; names the key.
    """
    origin, inner = _bare(kind), get_args(kind)
    if get_origin(kind) is Annotated:
        return _read_annotated(kind, value, key)
    if origin in (Union, UnionType):
        arm = next((arm for arm in inner if _fits(arm, value)), None)
        if arm is None:
            raise _misfit(kind, value, key)
        return read_value(arm, value, key)  # whose own reason says more, if it is refused
    if origin is Literal:
        if not any(type(value) is type(one) and value == one for one in inner):
            raise unknown_name(key, _shown(value), [_shown(one) for one in inner])
        return value
    if not _fits(kind, value):
        raise _misfit(kind, value, key)
    if is_dataclass(origin):
        return read_dataclass(kind, value, key) if isinstance(value, Mapping) else value
    if origin in _NAMES:
        return value if kind in (bool, NoneType) else kind(value)
    if _is_mapping(origin):
        item = (inner or (str, Any))[1]
        return {str(name): read_value(item, each, f"{key}.{name}") for name, each in value.items()}
    return _read_sequence(kind, value, key) if _is_sequence(origin) else value


def read_dataclass(cls: Any, data: Mapping[str, Any], where: str) -> Any:
    """An instance of the dataclass `cls` from its keys, nested dataclasses included.

    Raises:
        UsageError: a key is unknown, missing, or its value does not fit.
    """
    known = keys_of(cls)
    for key in data:
        if str(key) not in known:
            raise unknown_name(f"key in {where}" if where else "key", str(key), known)
    values: dict[str, Any] = {}
    for field, kind in _fields(cls):
        key = f"{where}.{field.name}" if where else field.name
        if _is_inline(kind):
            part = get_args(kind)[0]
            own = {name: data[name] for name in keys_of(part) if name in data}
            values[field.name] = read_dataclass(part, own, where)
        elif field.name in data:
            values[field.name] = read_value(kind, data[field.name], key)
        elif field.default is MISSING and field.default_factory is MISSING:
            raise UsageError(f"{key} is missing; expected {expected(kind)}")
    try:
        return cls(**values)
    except (UsageError, TypeError, ValueError) as error:
        raise UsageError(f"{where}: {error}" if where else str(error)) from error


def check_arguments(
    function: Callable[..., Any],
    given: Mapping[str, Any],
    where: str,
    reserved: Collection[str] = (),
) -> None:
    """Hold keys and values to the arguments that a function or constructor names.

    Args:
        function: whose annotations say what is accepted.
        given: values by name.
        where: key of the node that they stand in.
        reserved: arguments that are not a config's to give.

    Raises:
        UsageError: there is no such argument, or a value does not fit it.
    """
    takes = {n: each for n, each in _parameters(function).items() if n not in reserved}
    hints = _hints(function.__init__ if isclass(function) else function)
    open_ended = any(each.kind is Parameter.VAR_KEYWORD for each in takes.values())
    for name, value in given.items():
        if name in takes:
            read_value(hints.get(name, Any), value, f"{where}.{name}")
        elif not open_ended:
            raise unknown_name(f"key in {where}", str(name), takes)


class Checked:
    """Base of dataclasses whose fields hold their limits and choices however they are made.

    A subclass with a `__post_init__` of its own calls this one's first.

    Raises:
        UsageError: a field is outside its limits; names it.
    """

    def __post_init__(self) -> None:
        own: Any = type(self)
        for field, kind in _fields(own):
            if _is_limited(kind):
                read_value(kind, getattr(self, field.name), field.name)


@cache
def keys_of(cls: Any) -> frozenset[str]:
    """Keys that a node of this dataclass may have."""
    found: set[str] = set()
    for field, kind in _fields(cls):
        found |= keys_of(get_args(kind)[0]) if _is_inline(kind) else {field.name}
    return frozenset(found)


def takes_text(cls: Any, path: Sequence[str]) -> bool:
    """Whether text or a path, and no number, stands at a key of a node of this dataclass."""
    for field, kind in _fields(cls):
        if _is_inline(kind) and path[0] in keys_of(part := get_args(kind)[0]):
            return takes_text(part, path)
        if field.name == path[0] and is_dataclass(kind) and len(path) > 1:
            return takes_text(kind, path[1:])
        if field.name == path[0]:
            arms = get_args(kind) if get_origin(kind) in (Union, UnionType) else (kind,)
            bare = [get_args(arm)[0] if get_origin(arm) is Annotated else arm for arm in arms]
            return len(path) == 1 and set(bare) <= {str, Path, NoneType}
    return False


def expected(kind: Any) -> str:
    """What a type takes, in words."""
    origin, inner = get_origin(kind) or kind, get_args(kind)
    if origin is Annotated:
        words = " and ".join(item.words for item in kind.__metadata__ if isinstance(item, Rule))
        number = inner[0] in (int, float)
        return f"{expected(inner[0])} {words}".strip() if number else words or expected(inner[0])
    if origin in (Union, UnionType):
        return " or ".join(expected(arm) for arm in inner)
    if origin is Literal:
        return f"one of {', '.join(map(_shown, inner))}" if len(inner) > 1 else _shown(inner[0])
    if origin is tuple and inner and inner[-1] is not Ellipsis:
        return f"a list of {len(inner)}"
    if _is_mapping(origin):
        return "a mapping"
    return "a list" if _is_sequence(origin) else _NAMES.get(origin, str(kind))


@cache
def _fields(cls: Any) -> tuple[tuple[Field[Any], Any], ...]:
    hints = _hints(cls)
    return tuple((field, hints[field.name]) for field in fields(cls) if field.init)


@cache
def _parameters(function: Any) -> Mapping[str, Parameter]:
    return signature(function).parameters


@cache
def _hints(thing: Any) -> dict[str, Any]:
    return get_type_hints(thing, include_extras=True)


def _is_mapping(origin: Any) -> bool:
    return is_dataclass(origin) or (isclass(origin) and issubclass(origin, Mapping))


def _is_sequence(origin: Any) -> bool:
    return isclass(origin) and issubclass(origin, Sequence) and origin not in _NAMES


def _is_limited(kind: Any) -> bool:
    """Whether a type, or one of a union, has limits or choices."""
    if get_origin(kind) in (Union, UnionType):
        return any(map(_is_limited, get_args(kind)))
    limits = getattr(kind, "__metadata__", ())
    return get_origin(kind) is Literal or any(isinstance(item, Rule) for item in limits)


def _is_inline(kind: Any) -> bool:
    return get_origin(kind) is Annotated and INLINE in kind.__metadata__


def _read_annotated(kind: Any, value: Any, key: str) -> Any:
    inner = get_args(kind)[0]
    if inner in _NAMES and not _fits(inner, value):
        raise _misfit(kind, value, key)
    read = read_value(inner, value, key)
    for item in kind.__metadata__:
        if isinstance(item, Rule):
            item.check(read, key)
    return read


def _bare(kind: Any) -> Any:
    """The class of a type, without its parameters and limits."""
    bare = get_args(kind)[0] if get_origin(kind) is Annotated else kind
    return get_origin(bare) or bare


def _fits(kind: Any, value: Any) -> bool:
    """Whether a value is a scalar, a list or a mapping where `kind` is one."""
    origin = _bare(kind)
    number = isinstance(value, Real) and not isinstance(value, bool)
    if origin is int:
        return number and math.isfinite(value) and value == int(value)
    if origin is float:
        return number and math.isfinite(value)
    if origin is Path:
        return isinstance(value, Path) or (isinstance(value, str) and bool(value.strip()))
    if origin in _NAMES:
        return isinstance(value, origin)
    if origin is Literal:
        return any(type(value) is type(one) for one in get_args(kind))
    if _is_mapping(origin):
        return isinstance(value, Mapping) or (isclass(origin) and isinstance(value, origin))
    return _is_list(value) if _is_sequence(origin) else True


def _read_sequence(kind: Any, value: Any, key: str) -> Any:
    """A tuple for a tuple, else a list."""
    inner, is_tuple = get_args(kind), _bare(kind) is tuple
    if not is_tuple or inner[-1:] in ((), (Ellipsis,)):
        inner = (inner[0] if inner else Any,) * len(value)
    if len(inner) != len(value):
        raise _misfit(kind, value, key)
    pairs = enumerate(zip(inner, value, strict=True))
    read = [read_value(item, each, f"{key}[{i}]") for i, (item, each) in pairs]
    return tuple(read) if is_tuple else read


def _is_list(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str | bytes)


def _misfit(kind: Any, value: Any, key: str) -> UsageError:
    """The error of a value of another type, with how to write it where that is not plain."""
    origin, hint = _bare(kind), ""
    if _is_mapping(origin):
        hint = f", as in '{key}.NAME=VALUE'"
    elif _is_sequence(origin) and not _is_list(value) and value not in (None, ""):
        hint = f", as in '{key}=[{_shown(value)}]'"
    return refused(value, key, expected(kind) + hint)


def _shown(value: Any) -> str:
    return (
        str(value).lower() if isinstance(value, bool) else "null" if value is None else str(value)
    )
