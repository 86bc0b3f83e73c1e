"""What a file says of a step → the typed arguments of a function; a mistake is told with its key and its place."""

from __future__ import annotations

import dataclasses
import difflib
import functools
import inspect
import keyword
import re
import typing
from collections.abc import Callable, Mapping
from typing import Any, TypeVar, cast

import msgspec

T = TypeVar('T')


def configured(function: Callable[..., T]) -> Callable[..., T]:
    """Makes a step of Beam YAML of a function whose arguments are typed: what a file gives is checked first.

    A data class is written as a mapping with its arguments; a trailing underscore, where Python needs one, is left out.

    Raises:
        ValueError: (of the step) there is no such key, one is missing, or a value is of another type.

    Example:
        >>> @configured
        ... def read(path: str, limit: int = 10) -> beam.PTransform: ...
        >>> read(path='a', limt=3)
        ValueError: there is no key 'limt'; did you mean 'limit'?
    """

    @functools.wraps(function)
    def checked(**given: Any) -> T:
        return made(function, given)

    return checked


def made(maker: Callable[..., T], given: Mapping[str, Any], place: str = '') -> T:
    """What a function, or a class, makes of what was given.

    Args:
        maker: a data class, or anything else whose arguments are typed.
        given, place: see `convert`.

    Raises:
        ValueError: see `convert`.
    """
    if dataclasses.is_dataclass(maker):
        return cast(T, convert(given, maker, place))
    return maker(**msgspec.structs.asdict(convert(given, _arguments(maker), place)))


@functools.cache
def _arguments(maker: Callable[..., Any]) -> type[msgspec.Struct]:
    """The arguments of a function or class, as a struct."""
    hints = typing.get_type_hints(maker.__init__ if isinstance(maker, type) else maker)  # type: ignore[misc]
    fields = [
        (name, hints[name], *([] if p.default is inspect.Parameter.empty else [p.default]))
        for name, p in inspect.signature(maker).parameters.items()
    ]
    return msgspec.defstruct(maker.__name__, fields, kw_only=True)


def convert(given: Any, form: type[T], place: str = '') -> T:
    """What was given, as a struct or data class.

    Args:
        given: of dicts, lists, texts, numbers, booleans and None.
        form: the class.
        place: the keys on the way to it, for messages.

    Raises:
        ValueError: it does not fit; the message names the key.
    """
    named = _named(given, msgspec.inspect.type_info(form), place)
    try:
        return msgspec.convert(named, form)
    except msgspec.ValidationError as e:
        raise ValueError(_told(str(e), place)) from None


def chosen(given: Mapping[str, Any], makers: Mapping[str, Callable[..., T]], place: str) -> T:
    """What is made of what was given by that of several which its key ``type`` names.

    Raises:
        ValueError: there is no such type, or see `convert`.
    """
    kind, rest = given.get('type'), {key: value for key, value in given.items() if key != 'type'}
    if kind is None:
        raise ValueError(f'{place}.type is missing: use one of {", ".join(makers)}')
    if kind not in makers:
        raise ValueError(f'{place}.type: there is no {kind!r}{_nearest(kind, makers)}')
    return made(makers[kind], rest, place)


def _named(given: Any, kind: msgspec.inspect.Type, place: str) -> Any:
    """What was given under the names of Python.

    Raises:
        ValueError: there is no such name.
    """
    for option in kind.types if isinstance(kind, msgspec.inspect.UnionType) else (kind,):
        if isinstance(given, Mapping) and isinstance(
            option, (msgspec.inspect.DataclassType, msgspec.inspect.StructType)
        ):
            fields = {field.name.rstrip('_'): field for field in option.fields}
            for key in given:
                if key not in fields:
                    where = f'{place}: ' if place else ''
                    raise ValueError(f'{where}there is no key {key!r}{_nearest(key, fields)}')
            return {
                fields[key].name: _named(value, fields[key].type, _below(place, key)) for key, value in given.items()
            }
        if isinstance(given, list) and hasattr(option, 'item_type'):
            return [_named(item, option.item_type, f'{place}[{i}]') for i, item in enumerate(given)]
    return given


def _nearest(key: Any, known: Mapping[str, Any]) -> str:
    """What was probably meant; else all that there is."""
    found = difflib.get_close_matches(str(key), known, 1)
    return f'; did you mean {found[0]!r}?' if found else f'; use one of {", ".join(known)}'


def _below(place: str, key: str) -> str:
    return f'{place}.{key}' if place else key


def _told(message: str, place: str) -> str:
    """What msgspec says, with the place in front."""
    what, _, path = message.partition(' - at `$')
    where = (place + _as_written(path.rstrip('`'))).lstrip('.')
    if missing := re.fullmatch('Object missing required field `(.+)`', what):
        return f'{_below(where, _as_written(missing[1]))} is missing'
    if wrong := re.fullmatch('Expected `(.+)`, got `(.+)`', what):
        return f'{where} must be {_in_yaml(wrong[1])}, not {_in_yaml(wrong[2])}'
    return f'{where}: {what}' if where else what


def _as_written(names: str) -> str:
    """Names of Python as a file has them."""
    return re.sub(r'\b(\w+)_\b', lambda m: m[1] if keyword.iskeyword(m[1]) else m[0], names)


_YAML = {
    'str': 'text',
    'int': 'a whole number',
    'float': 'a number',
    'bool': 'true or false',
    'array': 'a list',
    'object': 'a mapping',
    'null': 'empty',
}


def _in_yaml(kinds: str) -> str:
    """Names of types as people who write YAML call them."""
    *others, last = [_YAML.get(kind, kind) for kind in kinds.split(' | ') if kind != 'null' or kinds == 'null']
    return f'{", ".join(others)} or {last}' if others else last
