"""Encodes values of the standard library as plain JSON data, and decodes them: each side has its own.

Only instances of these very classes cross like this; one of a subclass is an object of the program.
What is decoded may come from a hostile process: nothing here runs code that it names.
"""

import builtins
import collections
import importlib
import sys
import types
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple


class Form(NamedTuple):
    """How to encode and decode the instances of one class.

    Args:
        parts: From a value to the values that make it up.
        make: From the class and those values to a value.
        changes: Whether an instance can be changed in place.
    """

    parts: Callable[[Any], Iterable[Any]]
    make: Callable[..., Any]
    changes: bool = False


def _called(kind: Any, *parts: Any) -> Any:
    return kind(*parts)


def _moment(value: Any) -> list[Any]:
    return [value.hour, value.minute, value.second, value.microsecond, value.tzinfo, value.fold]


def _at(kind: Any, *parts: Any) -> Any:
    *numbers, zone, fold = parts
    return kind(*numbers, tzinfo=zone, fold=fold)


def _defaults(kind: Any, factory: Any, pairs: Any) -> Any:
    return kind(factory, pairs)


def _counter(kind: Any, pairs: Any) -> Any:
    return kind(dict(pairs))


def _namespace(kind: Any, fields: Any) -> Any:
    return kind(**dict(fields))


def _pattern(_kind: Any, text: Any, flags: Any) -> Any:
    return sys.modules["re"].compile(text, flags)


def _view(_kind: Any, items: Any) -> Any:
    return types.MappingProxyType(dict(items))


def _keys(_kind: Any, keys: Any) -> Any:
    return dict.fromkeys(keys).keys()


def _values(_kind: Any, found: Any) -> Any:
    return dict(enumerate(found)).values()


def _pairs(_kind: Any, pairs: Any) -> Any:
    return dict(pairs).items()


def _field(_kind: Any, name: Any, type_name: Any, flags: Any) -> Any:
    """A dataclass's field, for `fields`, `asdict` and `astuple`; without its defaults."""
    dataclasses = sys.modules["dataclasses"]
    init, shown, compared, keyword, sort = flags
    made = dataclasses.field(init=init, repr=shown, compare=compared, kw_only=keyword)
    made.name, made.type = str(name), str(type_name)
    made._field_type = getattr(dataclasses, "_FIELD" if sort == "_FIELD" else "_FIELD_CLASSVAR")
    return made


def _parts_of_field(value: Any) -> list[Any]:
    kind = value.type if isinstance(value.type, str) else getattr(value.type, "__name__", "")
    flags = (value.init, value.repr, value.compare, value.kw_only is True, value._field_type.name)
    return [value.name, kind, flags]


_WHOLE = Form(lambda value: [str(value)], lambda kind, text: kind(str(text)))
_ITEMS = Form(lambda value: [tuple(value)], _called)
_ADDRESS = ["IPv4Address", "IPv6Address", "IPv4Network", "IPv6Network", "IPv4Interface", "IPv6Interface"]
_PATHS = ["PurePosixPath", "PureWindowsPath", "PosixPath"]

FORMS: dict[tuple[str, str], Form] = {
    ("builtins", "range"): Form(lambda value: [value.start, value.stop, value.step], _called),
    ("builtins", "slice"): Form(lambda value: [value.start, value.stop, value.step], _called),
    ("builtins", "bytearray"): Form(lambda value: [bytes(value)], _called, True),
    ("builtins", "ellipsis"): Form(lambda _: [], lambda _: ...),
    ("builtins", "NotImplementedType"): Form(lambda _: [], lambda _: NotImplemented),
    ("builtins", "dict_keys"): Form(lambda value: [tuple(value)], _keys),
    ("builtins", "dict_values"): Form(lambda value: [tuple(value)], _values),
    ("builtins", "dict_items"): Form(lambda value: [tuple(value)], _pairs),
    ("builtins", "mappingproxy"): Form(lambda value: [tuple(value.items())], _view),
    ("collections", "deque"): Form(lambda value: [tuple(value), value.maxlen], _called, True),
    ("collections", "Counter"): Form(lambda value: [tuple(value.items())], _counter, True),
    ("collections", "OrderedDict"): Form(lambda value: [tuple(value.items())], _called, True),
    ("collections", "defaultdict"): Form(
        lambda value: [value.default_factory, tuple(value.items())], _defaults, True
    ),
    ("collections", "ChainMap"): Form(lambda value: value.maps, _called),
    ("types", "SimpleNamespace"): Form(lambda value: [tuple(vars(value).items())], _namespace, True),
    ("array", "array"): Form(lambda value: [value.typecode, value.tobytes()], _called, True),
    ("decimal", "Decimal"): _WHOLE,
    ("fractions", "Fraction"): Form(lambda value: [value.numerator, value.denominator], _called),
    ("uuid", "UUID"): _WHOLE,
    ("re", "Pattern"): Form(lambda value: [value.pattern, value.flags], _pattern),
    ("datetime", "date"): Form(lambda value: [value.year, value.month, value.day], _called),
    ("datetime", "datetime"): Form(lambda value: [value.year, value.month, value.day, *_moment(value)], _at),
    ("datetime", "time"): Form(_moment, _at),
    ("datetime", "timedelta"): Form(lambda value: [value.days, value.seconds, value.microseconds], _called),
    ("datetime", "timezone"): Form(
        lambda value: [value.utcoffset(None), value.tzname(None)],
        lambda kind, offset, name: kind(offset, name) if offset else kind.utc,
    ),
    ("zoneinfo", "ZoneInfo"): Form(lambda value: [value.key], _called),
    ("dataclasses", "Field"): Form(_parts_of_field, _field),
    **{("pathlib", name): _WHOLE for name in _PATHS},
    **{("ipaddress", name): _WHOLE for name in _ADDRESS},
}

_CALCULATING = "abs all any bin callable chr divmod format hash hex iter len max min next oct ord pow"
BUILTINS: dict[str, Any] = {
    name: value
    for name, value in vars(builtins).items()
    if (isinstance(value, type) and name not in ("type", "super"))
    or name in f"{_CALCULATING} repr round sorted sum".split()
}
"""Built-ins sent by name, so that each side uses its own; none of them makes code or reads files."""

MODULES = ("math", "cmath", "operator", "_operator", "statistics")
"""Modules whose functions only calculate; these too are sent by name."""


def name_of(value: Any) -> tuple[str, str] | None:
    """Module and name of a function that only calculates."""
    module, name = str(getattr(value, "__module__", "")), str(getattr(value, "__name__", ""))
    if module == "builtins" and BUILTINS.get(name) is value:
        return module, name
    known = module in MODULES and getattr(sys.modules[module], name, None) is value
    return (module, name) if known else None


def named(module: str, name: str) -> Any:
    """The function or built-in class of that name.

    Raises:
        LookupError: If it is none of those.
    """
    if module == "builtins":
        return BUILTINS[name]
    found = getattr(importlib.import_module(module), name) if module in MODULES else None
    if not isinstance(found, (types.BuiltinFunctionType, types.FunctionType)):
        raise LookupError(name)
    return found


def form_of(value: Any) -> tuple[str, str, Form] | None:
    """Module, name and form of a value's class; None for a class without a form."""
    kind = type(value)
    module, name = kind.__module__, kind.__qualname__
    if type(module) is not str or type(name) is not str:
        return None
    module = module.partition(".")[0]  # newer versions keep paths in a part of their module
    form = FORMS.get((module, name))
    if form is None or class_of(module, name) not in (kind, None):
        return None
    if form.make is _at and value.tzinfo is not None and form_of(value.tzinfo) is None:
        return None  # Its time zone is an object of the program.
    return module, name, form


def written(value: Any) -> tuple[str, str, Form]:
    """Module, name and form of a value's class.

    Raises:
        TypeError: If it is not written here.
    """
    found = form_of(value)
    if found is None:
        raise TypeError(type(value))
    return found


def class_of(module: str, name: str) -> type | None:
    """A class that is written here; None if no module has it under its name.

    Raises:
        KeyError: If it is not written here.
    """
    _ = FORMS[module, name]
    return getattr(importlib.import_module(module), name, None)


def named_tuple(name: str, fields: list[Any], items: list[Any]) -> Any:
    """Makes a named tuple like one of the other side."""
    return collections.namedtuple(name, [str(field) for field in fields], rename=True)(*items)
