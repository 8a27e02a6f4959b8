"""Programs, and scripts that test them: what plain Python says of each is the oracle.

Each group is a program and its scripts, divided by lines of `---`. A script passes if plain Python,
which runs the program and then the script in one process, says so.
"""
# ruff: noqa: E501

from typing import NamedTuple


class Group(NamedTuple):
    """A program with scripts that test it."""

    name: str
    program: str
    scripts: tuple[str, ...]


def group(name: str, program: str, scripts: str) -> Group:
    return Group(name, program, tuple(script.strip("\n") for script in scripts.split("\n---\n")))


OPERATORS = """
import math, functools
class V:
    made = 0
    def __init__(self, x): self.x = x; V.made += 1
    def __repr__(self): return f'V({self.x})'
    def __str__(self): return f'<{self.x}>'
    def __format__(self, spec): return f'F{spec}'
    def __eq__(self, o): return isinstance(o, V) and self.x == o.x
    def __hash__(self): return hash(self.x)
    def __lt__(self, o): return self.x < o.x
    def __le__(self, o): return self.x <= o.x
    def __gt__(self, o): return self.x > o.x
    def __ge__(self, o): return self.x >= o.x
    def __add__(self, o): return V(self.x + getattr(o, 'x', o))
    def __radd__(self, o): return V(o + self.x)
    def __sub__(self, o): return V(self.x - o.x)
    def __mul__(self, o): return V(self.x * getattr(o, 'x', o))
    __rmul__ = __mul__
    def __matmul__(self, o): return self.x * o.x
    def __truediv__(self, o): return V(self.x / o.x)
    def __floordiv__(self, o): return V(self.x // o.x)
    def __mod__(self, o): return V(self.x % o.x)
    def __divmod__(self, o): return V(self.x // o.x), V(self.x % o.x)
    def __pow__(self, o, m=None): return V(pow(self.x, o.x, m.x if m else None))
    def __lshift__(self, o): return V(self.x << o.x)
    def __rshift__(self, o): return V(self.x >> o.x)
    def __and__(self, o): return V(self.x & o.x)
    def __or__(self, o): return V(self.x | o.x)
    def __ror__(self, o): return V(o | self.x)
    def __xor__(self, o): return V(self.x ^ o.x)
    def __iadd__(self, o): self.x += o.x; return self
    def __neg__(self): return V(-self.x)
    def __pos__(self): return V(+self.x)
    def __invert__(self): return V(~self.x)
    def __abs__(self): return abs(self.x)
    def __int__(self): return int(self.x)
    def __float__(self): return float(self.x)
    def __complex__(self): return complex(self.x)
    def __index__(self): return self.x
    def __round__(self, n=None): return round(self.x, n)
    def __trunc__(self): return math.trunc(self.x)
    def __floor__(self): return math.floor(self.x)
    def __ceil__(self): return math.ceil(self.x)
    def __bool__(self): return self.x != 0
    def __len__(self): return 3
    def __contains__(self, k): return k == self.x
    def __iter__(self): return iter([self.x] * 3)
    def __reversed__(self): return iter([3, 2])
    def __getitem__(self, k): return (self.x, k)
    def __bytes__(self): return bytes([self.x])
    def __call__(self, *a, **k): return (self.x, a, k)
    def __enter__(self): self.x += 100; return self
    def __exit__(self, kind, error, trace): self.x = kind.__name__ if kind else None; return kind is KeyError
    def __dir__(self): return ['x', 'y']
    def __copy__(self): return V(self.x + 1000)
    @property
    def half(self): return self.x / 2
    @half.setter
    def half(self, v): self.x = 2 * v
    @classmethod
    def zero(cls): return cls(0)
    @staticmethod
    def twice(n): return 2 * n
"""

CORPUS: tuple[Group, ...] = (
    group("operators", OPERATORS, """
assert (V(1) + V(2)).x == 3 and (V(3) - V(2)).x == 1 and (V(3) * V(2)).x == 6
---
assert V(2) @ V(3) == 6
---
assert (V(7) / V(2)).x == 3.5 and (V(7) // V(2)).x == 3 and (V(7) % V(4)).x == 3
---
q, r = divmod(V(7), V(2))
assert (q.x, r.x) == (3, 1)
---
assert (V(2) ** V(5)).x == 32 and pow(V(2), V(5), V(5)).x == 2
---
assert (V(1) << V(3)).x == 8 and (V(8) >> V(2)).x == 2
---
assert (V(6) & V(3)).x == 2 and (V(6) | V(3)).x == 7 and (V(6) ^ V(3)).x == 5
---
assert (-V(2)).x == -2 and (+V(2)).x == 2 and (~V(2)).x == -3
---
assert abs(V(-2)) == 2 and int(V(2)) == 2 and float(V(2)) == 2.0 and complex(V(2)) == 2 + 0j
---
assert [10, 20, 30][V(1)] == 20 and 'abc'[V(2)] == 'c' and range(5)[V(1):V(3)] == range(1, 3)
---
import math
assert round(V(2.567), 2) == 2.57 and round(V(2.5)) == 2 and math.floor(V(2.7)) == 2 and math.ceil(V(2.2)) == 3 and math.trunc(V(2.9)) == 2
---
assert V(3) > V(2) and V(2) < V(3) and V(2) <= V(2) and V(2) >= V(2) and not V(1) > V(2)
---
assert V(2) == V(2) and V(2) != V(3) and not V(2) == V(3)
---
assert V(2) != 2 and V(2) != None and not (V(2) == 'x')
---
assert 2 in V(2) and 3 not in V(2)
---
assert len(V(1)) == 3 and list(V(1)) == [1, 1, 1] and list(reversed(V(1))) == [3, 2]
---
assert bool(V(1)) and not V(0)
---
assert f'{V(1):x}' == 'Fx' and format(V(1), 'abc') == 'Fabc' and str(V(1)) == '<1>' and repr(V(1)) == 'V(1)'
---
assert '%s %r' % (V(1), V(2)) == '<1> V(2)'
---
assert repr([V(1)]) == '[V(1)]'
---
assert bytes(V(5)) == b'\\x05'
---
assert V(5)['k'] == (5, 'k') and V(5)[1:2] == (5, slice(1, 2)) and V(5)[1, 2] == (5, (1, 2))
---
assert V(5)(1, 2, a=3) == (5, (1, 2), {'a': 3})
---
v = V(1)
v += V(2)
assert v.x == 3
---
v = w = V(1)
v += V(2)
assert w.x == 3 and v is w
---
assert (V(2) * 3).x == 6 and (3 * V(2)).x == 6 and (V(2) + 3).x == 5
---
assert sum([V(1), V(2), V(3)]).x == 6
---
assert sum([V(1), V(2)]) == V(3)
---
assert sum([V(1), V(2)], V(10)).x == 13
---
assert (4 | V(3)).x == 7
---
d = {V(1): 'a'}
assert d[V(1)] == 'a' and V(2) not in d
---
assert {V(1), V(1), V(2)} == {V(2), V(1)} and len({V(1), V(1)}) == 1
---
assert hash(V(1)) == hash(V(1)) == hash(1)
---
assert sorted([V(3), V(1), V(2)]) == [V(1), V(2), V(3)]
---
assert min(V(3), V(1)).x == 1 and max([V(3), V(1)]).x == 3
---
assert [v.x for v in sorted([V(3), V(1)], reverse=True)] == [3, 1]
---
a, b, c = V(7)
assert (a, b, c) == (7, 7, 7)
---
first, *rest = V(7)
assert rest == [7, 7]
---
with V(1) as v:
    assert v.x == 101
assert v.x is None
---
with V(1) as v:
    raise KeyError('swallowed')
assert v.x == 'KeyError'
---
try:
    with V(1) as v:
        raise ValueError('not swallowed')
except ValueError:
    pass
assert v.x == 'ValueError'
---
assert dir(V(1)) == ['x', 'y']
---
import copy
assert copy.copy(V(1)).x == 1001 and copy.deepcopy(V(1)).x == 1
---
v = V(4)
assert v.half == 2
v.half = 5
assert v.x == 10
---
assert V.zero().x == 0 and V.twice(4) == 8 and V(1).zero() == V(0)
---
before = V.made
V(1)
assert V.made == before + 1
V.made = 50
assert V(1).made == 51
---
v = V(1)
v.extra = [1, 2]
assert v.extra == [1, 2] and hasattr(v, 'extra')
del v.extra
assert not hasattr(v, 'extra') and getattr(v, 'extra', 7) == 7
---
v = V(1)
setattr(v, 'y', 3)
assert vars(v) == {'x': 1, 'y': 3} and v.__dict__ == {'x': 1, 'y': 3}
---
v = V(1)
assert isinstance(v, V) and type(v) is V and v.__class__ is V and issubclass(V, V) and not isinstance(v, int) and isinstance(v, object)
---
assert V.__name__ == 'V' and type(V(1)).__name__ == 'V' and callable(V) and callable(V(1))
---
assert isinstance(V(1), (int, V)) and not isinstance(1, V)
---
v = V(1)
assert v is v and v in [v] and [v].index(v) == 0 and [v, V(2)].count(V(1)) == 1
---
assert list(map(V.twice, [1, 2])) == [2, 4] and [f(1).x for f in [V]] == [1]
---
assert V(1) == V(1) == V(1) and V(1) < V(2) < V(3)
---
assert not V(2) == V(2)
---
assert V(2) + V(2) == V(5)
---
assert (V(1) + V(1)).x == 3
---
from functools import reduce
assert reduce(lambda a, b: a + b, [V(1), V(2), V(3)]).x == 6
---
import operator
assert operator.add(V(1), V(2)).x == 3 and operator.attrgetter('x')(V(4)) == 4 and operator.itemgetter(2)(V(4)) == (4, 2)
---
match V(3):
    case V(x=3):
        found = True
    case _:
        found = False
assert found
---
match V(3):
    case V(x=4):
        assert False, 'no'
    case V():
        assert True or V
assert V(3).x == 3
---
class W(V):
    def area(self): return self.x * 10
    def __init__(self, x, y):
        super().__init__(x)
        self.y = y
w = W(2, 3)
assert w.area() == 20 and w.y == 3 and isinstance(w, V) and isinstance(w, W) and type(w) is W and not isinstance(V(1), W)
assert issubclass(W, V) and (w + V(1)).x == 3
---
assert V(1).missing == 1
---
assert V(1) @ V(2) == 3
---
assert V(1, 2)
---
assert len(V(1)) == 4
"""),
    group("no operators", """
class P:
    def __init__(self, n): self.n = n
class Eq:
    def __init__(self, n): self.n = n
    def __eq__(self, o): return self.n == o.n
""", """
p = P(1)
assert p == p and p != P(1) and p in {p} and {p: 1}[p] == 1 and bool(p)
---
try:
    P(1) < P(2)
except TypeError:
    failed = True
assert failed
---
try:
    len(P(1))
except TypeError as error:
    assert 'len' in str(error)
else:
    assert False
---
try:
    {Eq(1)}
except TypeError as error:
    assert 'unhashable' in str(error)
else:
    assert False
---
try:
    P(1) + 1
except TypeError:
    pass
else:
    raise AssertionError
---
try:
    iter(P(1))
except TypeError:
    pass
else:
    raise AssertionError
---
try:
    P(1)()
except TypeError as error:
    assert 'callable' in str(error)
else:
    raise AssertionError
---
assert not callable(P(1)) and not hasattr(P(1), '__len__') and not hasattr(P(1), 'x')
---
assert str(P(1)).startswith('<') and 'P object' in repr(P(1))
---
import copy
p = P([1])
q, r = copy.copy(p), copy.deepcopy(p)
assert q.n == [1] and q is not p and isinstance(r, P) and r.n == [1]
---
assert Eq(1) == Eq(1) and Eq(1) != Eq(2)
"""),
    group("dates", """
from datetime import date, datetime, timedelta, time, timezone
def tomorrow(d): return d + timedelta(days=1)
def parse(s): return datetime.strptime(s, '%Y-%m-%d %H:%M')
def gap(a, b): return b - a
def utc(d): return d.astimezone(timezone.utc)
def kind(d): return type(d) is date
def noon(): return time(12, 30)
def week(d): return [d + timedelta(days=i) for i in range(7)]
""", """
from datetime import date
assert tomorrow(date(2024, 2, 28)) == date(2024, 2, 29)
---
import datetime
assert tomorrow(datetime.date(2023, 2, 28)) == datetime.date(2023, 3, 1) and isinstance(tomorrow(datetime.date(2023, 2, 28)), datetime.date)
---
from datetime import datetime
assert parse('2024-01-02 03:04') == datetime(2024, 1, 2, 3, 4)
---
assert parse('2024-01-02 03:04').year == 2024 and parse('2024-01-02 03:04').strftime('%H') == '03'
---
assert gap(date(2024, 1, 1), date(2024, 3, 1)).days == 60
---
assert gap(date(2024, 1, 1), date(2024, 3, 1)) == timedelta(60)
---
from datetime import datetime, timezone, timedelta
there = datetime(2024, 1, 1, 12, tzinfo=timezone(timedelta(hours=2)))
assert utc(there) == datetime(2024, 1, 1, 10, tzinfo=timezone.utc) and utc(there).tzinfo is timezone.utc
---
from datetime import time
assert noon() == time(12, 30) and noon() < time(13)
---
import datetime
assert kind(datetime.date.today()) and not kind(datetime.datetime.now())
---
assert len(week(date(2024, 1, 1))) == 7 and week(date(2024, 1, 1))[-1] == date(2024, 1, 7)
---
assert {date(2024, 1, 1): 1}[tomorrow(date(2023, 12, 31))] == 1
---
assert tomorrow(date(2024, 2, 28)) == date(2024, 3, 1)
"""),
    group("paths, numbers, identifiers", """
import pathlib, uuid, decimal, fractions, re, enum
from decimal import Decimal
from fractions import Fraction
def parent(p): return p.parent
def join(a, b): return pathlib.PurePosixPath(a) / b
def suffixes(paths): return sorted({p.suffix for p in paths})
def ident(n): return uuid.UUID(int=n)
def version(u): return str(u)
def total(prices): return sum(prices, Decimal(0))
def third(): return Fraction(1, 3)
def pattern(): return re.compile(r'(\\d+)-(\\w+)', re.I)
def groups(p, s): return p.match(s).groups()
def found(s): return re.search(r'(?P<n>\\d+)', s)
def lazy(n): return range(n)
def cut(): return slice(1, 3)
def view(b): return bytearray(b)
""", """
from pathlib import Path, PurePosixPath
assert parent(Path('/a/b.txt')) == Path('/a') and str(parent(Path('/a/b.txt'))) == '/a'
---
from pathlib import PurePosixPath
assert join('/a', 'b') == PurePosixPath('/a/b') and join('/a', 'b.py').suffix == '.py'
---
from pathlib import Path
assert suffixes([Path('a.py'), Path('b.txt')]) == ['.py', '.txt']
---
import uuid
assert ident(5) == uuid.UUID(int=5) and ident(5).int == 5 and version(uuid.UUID(int=0)) == '00000000-0000-0000-0000-000000000000'
---
from decimal import Decimal
assert total([Decimal('1.10'), Decimal('2.20')]) == Decimal('3.30') and isinstance(total([]), Decimal)
---
from fractions import Fraction
assert third() == Fraction(1, 3) and third() * 3 == 1 and third().denominator == 3
---
import re
assert groups(re.compile('(a)(b)'), 'ab') == ('a', 'b')
---
assert pattern().match('12-ab').group(2) == 'ab' and pattern().flags & 2
---
assert found('ab12').group('n') == '12' and found('ab12').start() == 2 and found('ab12')['n'] == '12' and found('x') is None
---
assert lazy(3) == range(3) and list(lazy(3)) == [0, 1, 2]
---
assert [1, 2, 3, 4][cut()] == [2, 3]
---
assert view(b'ab') == b'ab' and isinstance(view(b'ab'), bytearray)
---
assert third() == Fraction(1, 2)
"""),
    group("collections", """
import collections
from collections import Counter, defaultdict, OrderedDict, deque, namedtuple, ChainMap
from typing import NamedTuple
from types import SimpleNamespace, MappingProxyType
Point = namedtuple('Point', 'x y')
class Person(NamedTuple):
    name: str
    age: int = 3
    def older(self): return self._replace(age=self.age + 1)
def count(s): return Counter(s)
def merge(a, b): return a + b
def groups(words):
    found = defaultdict(list)
    for w in words: found[w[0]].append(w)
    return found
def ordered(pairs): return OrderedDict(pairs)
def rotate(d, n): d.rotate(n); return d
def last(n): return deque(range(n), maxlen=3)
def origin(): return Point(0, 0)
def shift(p, n): return p._replace(x=p.x + n)
def length(p): return abs(p.x) + abs(p.y)
def space(**k): return SimpleNamespace(**k)
def keys(d): return d.keys()
def frozen(d): return MappingProxyType(d)
def add(d, k):
    d[k] += 1
""", """
from collections import Counter
assert count('aab') == Counter('aab') and count('aab')['z'] == 0 and count('aab').most_common(1) == [('a', 2)]
---
assert count('aab') == {'a': 2, 'b': 1} and isinstance(count(''), dict)
---
from collections import Counter
assert merge(Counter('ab'), Counter('b')) == Counter('abb')
---
assert groups(['ab', 'ac', 'b']) == {'a': ['ab', 'ac'], 'b': ['b']} and groups([])['new'] == []
---
from collections import defaultdict
assert groups([]) == defaultdict(list) and groups([]).default_factory is list
---
from collections import defaultdict
d = defaultdict(int)
add(d, 'k')
add(d, 'k')
assert d == {'k': 2}
---
from collections import OrderedDict
assert ordered([('a', 1), ('b', 2)]) == OrderedDict([('a', 1), ('b', 2)]) and list(ordered([('b', 1), ('a', 2)])) == ['b', 'a']
---
from collections import OrderedDict
assert ordered([('a', 1), ('b', 2)]) != OrderedDict([('b', 2), ('a', 1)])
---
from collections import deque
d = deque([1, 2, 3])
assert rotate(d, 1) == deque([3, 1, 2]) and d == deque([3, 1, 2])
---
from collections import deque
assert last(5) == deque([2, 3, 4]) and last(5).maxlen == 3 and list(last(2)) == [0, 1]
---
assert origin() == (0, 0) and origin().x == 0 and origin() == Point(0, 0) and origin()._fields == ('x', 'y')
---
x, y = origin()
assert isinstance(origin(), tuple) and isinstance(origin(), Point) and x == y == 0 and repr(origin()) == 'Point(x=0, y=0)'
---
assert shift(Point(1, 2), 3) == Point(4, 2) and length(Point(1, -2)) == 3 and Point(1, 2)._asdict() == {'x': 1, 'y': 2}
---
from collections import namedtuple
Q = namedtuple('Q', 'x y')
assert length(Q(3, 4)) == 7 and shift(Q(1, 2), 1) == (2, 2)
---
p = Person('Al')
assert p.name == 'Al' and p.age == 3 and p.older().age == 4 and p == ('Al', 3) and p.older() == Person('Al', 4)
---
match Point(1, 2):
    case Point(x, y):
        assert (x, y) == (1, 2)
---
match Person('Al'):
    case Person(name=n):
        assert n == 'Al'
---
assert sorted([Point(2, 1), Point(1, 2)])[0].x == 1 and {Point(1, 2): 'v'}[(1, 2)] == 'v'
---
assert space(a=1).a == 1 and space(a=1) == space(a=1)
---
assert keys({'a': 1}) == {'a'} and list(keys({'a': 1, 'b': 2})) == ['a', 'b']
---
assert frozen({'a': 1}) == {'a': 1} and frozen({'a': 1})['a'] == 1
---
assert origin().z == 0
"""),
    group("enumerations and dataclasses", """
import enum, dataclasses
from dataclasses import dataclass, field
from enum import Enum, IntEnum, Flag, auto
class Color(Enum):
    RED = 1
    GREEN = 2
    CRIMSON = 1
    def next(self): return Color.GREEN if self is Color.RED else Color.RED
class Level(IntEnum):
    LOW = 1
    HIGH = 5
class Mode(Flag):
    R = auto()
    W = auto()
class Word(str, Enum):
    HI = 'hi'
@dataclass
class Item:
    name: str
    price: float = 1.0
    tags: list = field(default_factory=list)
    def total(self, n): return self.price * n
@dataclass(order=True, frozen=True)
class Version:
    major: int
    minor: int = 0
def paint(c): return c.name.lower()
def favourite(): return Color.GREEN
def level(n): return Level(n)
""", """
assert favourite() == Color.GREEN and favourite() is Color.GREEN and favourite() != Color.RED
---
assert Color.RED.name == 'RED' and Color.RED.value == 1 and Color(2) is Color.GREEN and Color['RED'] is Color.RED
---
assert Color.CRIMSON is Color.RED and Color.RED.next().next() is Color.RED
---
assert [c.name for c in Color] == ['RED', 'GREEN'] and len(Color) == 2 and Color.RED in Color
---
assert list(Color) == [Color.RED, Color.GREEN] and {Color.RED: 'r'}[Color.RED] == 'r'
---
assert paint(Color.RED) == 'red' and str(Color.RED) == 'Color.RED' and isinstance(Color.RED, Color) and type(Color.RED) is Color
---
try:
    Color(9)
except ValueError:
    pass
else:
    assert False
---
assert level(5) == 5 and level(5) is Level.HIGH and level(5).name == 'HIGH' and Level.LOW < Level.HIGH and Level.LOW + 1 == 2
---
assert (Mode.R | Mode.W) & Mode.R == Mode.R and Mode.R in (Mode.R | Mode.W) and not Mode.R & Mode.W
---
assert Word.HI == 'hi' and Word.HI.upper() == 'HI' and Word('hi') is Word.HI
---
match favourite():
    case Color.RED:
        found = 'r'
    case Color.GREEN:
        found = 'g'
assert found == 'g'
---
a, b = Item('x'), Item('x')
assert a == b and a is not b and a != Item('y') and a.total(3) == 3.0 and repr(a) == "Item(name='x', price=1.0, tags=[])"
---
a = Item('x')
a.price = 2
a.name += '!'
assert (a.name, a.price) == ('x!', 2) and a.tags == []
---
import dataclasses
assert dataclasses.asdict(Item('x', 2.0)) == {'name': 'x', 'price': 2.0, 'tags': []} and dataclasses.is_dataclass(Item)
---
from dataclasses import replace, astuple, fields
assert replace(Item('x'), name='y').name == 'y' and astuple(Version(1, 2)) == (1, 2) and [f.name for f in fields(Item)] == ['name', 'price', 'tags']
---
assert Version(1, 2) < Version(1, 3) and max(Version(1), Version(0, 9)) == Version(1, 0) and hash(Version(1)) == hash(Version(1, 0))
---
import dataclasses
try:
    Version(1).major = 2
except dataclasses.FrozenInstanceError:
    pass
else:
    assert False
---
match Item('x', 3):
    case Item(name, price):
        assert (name, price) == ('x', 3)
---
assert Version(1, 2) != (1, 2) and not Version(1, 2) == (1, 2)
---
assert Item('x') == Item('z')
---
assert favourite() is Color.RED
"""),
    group("exceptions", """
import json, decimal
class ShopError(Exception):
    def __init__(self, code, text='bad'):
        super().__init__(text)
        self.code = code
class Sold(ShopError): pass
class Both(KeyError, AttributeError): pass
class Odd(BaseException): pass
def buy(n):
    if n < 0: raise ShopError(7, 'negative')
    if n == 0: raise Sold(code=8)
    if n > 9: raise ValueError('too many', n)
    return n
def chain():
    try: {}['k']
    except KeyError as e: raise RuntimeError('outer') from e
def both(): raise Both('x')
def odd(): raise Odd('o')
def parse(s): return json.loads(s)
def leave(n): raise SystemExit(n)
def interrupt(): raise KeyboardInterrupt
def failing(): assert 1 == 2, 'inner'
def openit(): open('/nothing/here')
def group(): raise ExceptionGroup('g', [ValueError(1), KeyError(2)])
def value(): return ValueError('v')
def note():
    e = ValueError('n'); e.add_note('noted'); raise e
def calls(g):
    try: return g()
    except ZeroDivisionError as e: return str(e)
def safe(g):
    try: g()
    except Exception as e: return type(e).__name__
""", """
try:
    buy(-1)
except ShopError as e:
    assert e.code == 7 and str(e) == 'negative' and e.args == ('negative',)
else:
    assert False
---
try:
    buy(0)
except Sold as e:
    assert isinstance(e, ShopError) and e.code == 8 and type(e) is Sold and type(e).__name__ == 'Sold'
else:
    assert False
---
try:
    buy(0)
except ValueError:
    assert False
except ShopError:
    ok = True
assert ok
---
try:
    buy(10)
except ValueError as e:
    assert e.args == ('too many', 10)
else:
    assert False
---
assert issubclass(Sold, ShopError) and issubclass(ShopError, Exception) and ShopError(1).code == 1
---
import unittest
class T(unittest.TestCase):
    def test(self):
        with self.assertRaises(ShopError) as caught:
            buy(-1)
        self.assertEqual(caught.exception.code, 7)
        with self.assertRaisesRegex(ValueError, 'too'):
            buy(11)
unittest.main(exit=False)
---
try:
    chain()
except RuntimeError as e:
    assert isinstance(e.__cause__, KeyError) and e.__cause__.args == ('k',)
else:
    assert False
---
for kind in (KeyError, AttributeError, Both, LookupError):
    try:
        both()
    except kind:
        pass
    else:
        assert False
assert True == bool(kind)
---
try:
    odd()
except Exception:
    assert False
except BaseException as e:
    assert type(e) is Odd
---
import json
try:
    parse('{')
except json.JSONDecodeError as e:
    assert e.pos == 1 and isinstance(e, ValueError)
else:
    assert False
---
try:
    leave(3)
except SystemExit as e:
    assert e.code == 3
---
try:
    failing()
except AssertionError as e:
    assert str(e) == 'inner'
else:
    raise RuntimeError
---
try:
    openit()
except FileNotFoundError as e:
    assert e.errno == 2 and e.filename == '/nothing/here'
---
try:
    group()
except* ValueError as e:
    assert len(e.exceptions) == 1
except* KeyError:
    pass
---
assert isinstance(value(), ValueError) and value().args == ('v',)
---
try:
    note()
except ValueError as e:
    assert e.__notes__ == ['noted']
---
assert calls(lambda: 1 / 0) == 'division by zero' and calls(lambda: 5) == 5
---
def fail():
    raise ShopError(9)
assert safe(fail) == 'ShopError'
---
class Mine(ValueError):
    pass
def fail():
    raise Mine('m')
assert safe(fail) == 'Mine'
---
class Worse(ShopError):
    pass
try:
    raise Worse(3)
except ShopError as e:
    assert e.code == 3
---
try:
    interrupt()
except KeyboardInterrupt:
    stopped = True
assert stopped
---
failing()
---
leave(0)
---
buy(-1)
assert buy(1) == 1
---
from contextlib import suppress
with suppress(ShopError):
    buy(-1)
assert buy(2) == 2
---
odd()
"""),
    group("iterators", """
import itertools, contextlib
def count(n):
    for i in range(n): yield i
    return 'end'
def echo():
    got = None
    while True: got = yield got
def pairs(a, b): return zip(a, b)
def squares(xs): return map(lambda x: x * x, xs)
def total(xs): return sum(xs)
def first(it): return next(it)
def evens(xs): return filter(lambda x: x % 2 == 0, xs)
class Countdown:
    def __init__(self, n): self.n = n
    def __iter__(self): return self
    def __next__(self):
        if self.n <= 0: raise StopIteration
        self.n -= 1
        return self.n + 1
class Bag:
    def __init__(self, *xs): self.xs = xs
    def __iter__(self): yield from self.xs
class Old:
    def __getitem__(self, i):
        if i > 2: raise IndexError(i)
        return i * 2
@contextlib.contextmanager
def managed(log):
    log.append('in')
    yield 5
    log.append('out')
def apply(f, xs): return [f(x) for x in xs]
def chain(*its): return list(itertools.chain(*its))
def fib():
    a, b = 0, 1
    while True:
        yield a
        a, b = b, a + b
""", """
assert list(count(3)) == [0, 1, 2] and sum(count(4)) == 6 and tuple(count(0)) == ()
---
g = count(2)
assert next(g) == 0 and next(g) == 1 and next(g, 'none') == 'none'
---
g = count(1)
next(g)
try:
    next(g)
except StopIteration as e:
    assert e.value == 'end'
else:
    assert False
---
g = echo()
next(g)
assert g.send(5) == 5 and g.send('x') == 'x'
g.close()
---
import inspect, types
assert inspect.isgenerator(count(1)) and isinstance(count(1), types.GeneratorType) and iter(g := count(2)) is g
---
assert list(pairs([1, 2], 'ab')) == [(1, 'a'), (2, 'b')] and list(squares([1, 2])) == [1, 4] and list(evens(range(5))) == [0, 2, 4]
---
assert total(x for x in range(4)) == 6 and total(iter([1, 2])) == 3 and total({1: 2}.keys()) == 1 and total(map(int, '12')) == 3
---
assert list(Countdown(3)) == [3, 2, 1] and [x for x in Countdown(2)] == [2, 1] and max(Countdown(4)) == 4
---
assert 2 in Bag(1, 2) and 5 not in Bag(1, 2) and sorted(Bag(2, 1)) == [1, 2] and [*Bag(1), *Bag(2)] == [1, 2] and set(Bag(1, 1)) == {1}
---
assert list(Old()) == [0, 2, 4] and 4 in Old() and 3 not in Old()
---
log = []
with managed(log) as five:
    assert five == 5 and log == ['in']
assert log == ['in', 'out']
---
from itertools import islice, takewhile
assert list(islice(fib(), 7)) == [0, 1, 1, 2, 3, 5, 8] and list(takewhile(lambda x: x < 5, fib())) == [0, 1, 1, 2, 3]
---
assert first(iter([4])) == 4 and first(count(3)) == 0
---
it = iter([1, 2, 3])
assert first(it) == 1 and list(it) == [2, 3]
---
assert chain([1], (2,), iter([3]), {4}) == [1, 2, 3, 4]
---
for got, want in zip(count(3), [0, 1, 2]):
    assert got == want
---
assert dict(pairs('ab', [1, 2])) == {'a': 1, 'b': 2} and list(enumerate(count(2))) == [(0, 0), (1, 1)]
---
a, b, *c = count(4)
assert (a, b, c) == (0, 1, [2, 3])
---
assert list(count(3)) == [0, 1, 2, 3]
---
assert any(x == 2 for x in count(3)) and all(x < 3 for x in count(3)) and not any(count(1))
"""),
    group("functions", """
import functools
def make_adder(n):
    def add(x, y=0, *rest, key=None):
        "Adds."
        return x + n + y
    return add
def compose(*fs):
    return lambda x: functools.reduce(lambda v, f: f(v), fs, x)
def memoize(f):
    seen = {}
    @functools.wraps(f)
    def inner(*a):
        if a not in seen: seen[a] = f(*a)
        return seen[a]
    return inner
def repeat(n):
    def wrap(f):
        def inner(*a, **k): return [f(*a, **k) for _ in range(n)]
        return inner
    return wrap
def by(xs, key): return sorted(xs, key=key)
def each(xs, f):
    for x in xs: f(x)
def count_calls(f):
    def inner(*a):
        inner.calls += 1
        return f(*a)
    inner.calls = 0
    return inner
@functools.lru_cache(None)
def fib(n): return n if n < 2 else fib(n - 1) + fib(n - 2)
def annotated(a: int, b: str = 'x') -> bool:
    return True
def swap(a, b): return b, a
def kw(**k): return k
def wants(f, n): return f(n)
def get(obj, name): return getattr(obj, name)
""", """
assert make_adder(3)(4) == 7 and make_adder(1)(1, y=2) == 4 and make_adder(1).__name__ == 'add' and make_adder(1).__doc__ == 'Adds.'
---
assert compose(lambda x: x + 1, lambda x: x * 2)(3) == 8 and compose(str, len)(1234) == 4
---
calls = []
@memoize
def square(n):
    "Squares."
    calls.append(n)
    return n * n
assert square(3) == 9 and square(3) == 9 and calls == [3] and square.__name__ == 'square'
---
@repeat(3)
def hi(name): return 'hi ' + name
assert hi('bo') == ['hi bo'] * 3
---
from functools import cmp_to_key
assert by([3, 1, 2], cmp_to_key(lambda a, b: b - a)) == [3, 2, 1] and by(['b', 'A'], str.lower) == ['A', 'b']
---
from operator import itemgetter, attrgetter
assert by([(1, 'b'), (2, 'a')], itemgetter(1)) == [(2, 'a'), (1, 'b')] and by([1, -2], abs) == [1, -2]
---
seen = []
each([1, 2], seen.append)
assert seen == [1, 2]
---
f = count_calls(lambda x: x)
f(1)
f(2)
assert f.calls == 2
---
assert fib(30) == 832040 and fib.cache_info().hits > 0
fib.cache_clear()
assert fib(1) == 1
---
import inspect
assert list(inspect.signature(annotated).parameters) == ['a', 'b'] and annotated.__annotations__ == {'a': int, 'b': str, 'return': bool}
---
import inspect
assert inspect.isfunction(swap) and callable(swap) and swap.__name__ == 'swap' and swap.__defaults__ is None
---
assert swap(*[1, 2]) == (2, 1) and kw(**{'a': 1}) == {'a': 1} and kw(a=[1])['a'] == [1]
---
from functools import partial
assert wants(partial(pow, 2), 5) == 32 and partial(swap, 1)(2) == (2, 1)
---
class Obj:
    def __init__(self): self.v = 5
    def m(self, n): return n + self.v
    def __call__(self, n): return -n
o = Obj()
assert wants(o.m, 1) == 6 and wants(o, 1) == -1 and get(o, 'v') == 5 and wants(Obj().m, 2) == 7
---
assert list(map(fib, range(5))) == [0, 1, 1, 2, 3] and sorted([3, 1], key=lambda n: -fib(n)) == [3, 1]
---
results = {}
def record(n):
    results[n] = True
    return n
assert wants(record, 3) == 3 and results == {3: True}
---
total = 0
def add(n):
    global total
    total += n
each([1, 2, 3], add)
assert total == 6
---
x = 5
def outer():
    y = []
    def inner(n):
        nonlocal y
        y = y + [n + x]
    each([1], inner)
    return y
assert outer() == [6]
---
from unittest.mock import Mock
cb = Mock(return_value=4)
assert wants(cb, 3) == 4
cb.assert_called_once_with(3)
---
from unittest.mock import Mock
cb = Mock(side_effect=[1, 2])
assert [wants(cb, 0), wants(cb, 0)] == [1, 2] and cb.call_count == 2
---
swapped = swap
assert swapped is swap and swap == swapped and swap in [swap]
---
assert make_adder(3)(4) == 8
"""),
    group("arguments changed in place", """
def append(xs, v): xs.append(v)
def sort_rows(g): g.sort()
def reverse_rows(g):
    for row in g: row.reverse()
def swap(g): g[0], g[1] = g[1], g[0]
def rename(d): d['b'] = d.pop('a')
def deep(d): d['k'][0]['x'].add(3)
def clear(*xs):
    for x in xs: x.clear()
def same(x): return x
def inner(g): return g[0]
def fail(xs):
    xs.append(1)
    raise ValueError
def kw(*, xs): xs.append(7)
def extend(b): b.extend(b'c')
def grow(d): d.appendleft(0)
def count(c): c['a'] += 1
def fill(s): s.update({1, 2})
def alias(a, b): a.append(b); b.append(1)
""", """
a = [1]
assert append(a, 2) is None and a == [1, 2]
---
g = [[3], [1], [2]]
first = g[0]
sort_rows(g)
assert g == [[1], [2], [3]] and g[2] is first and first == [3]
---
g = [[1, 2], [3, 4]]
row = g[1]
reverse_rows(g)
assert g == [[2, 1], [4, 3]] and row == [4, 3]
---
g = [[1], [2]]
a, b = g
swap(g)
assert g[0] is b and g[1] is a
---
d = {'a': [1]}
inside = d['a']
rename(d)
assert d == {'b': [1]} and d['b'] is inside
---
d = {'k': [{'x': {1}}]}
inside = d['k'][0]['x']
deep(d)
assert inside == {1, 3} and d == {'k': [{'x': {1, 3}}]}
---
a, b, c = [1], {1: 2}, {3}
clear(a, b, c)
assert (a, b, c) == ([], {}, set())
---
a = [1]
assert same(a) is a and same([a])[0] is a
---
g = [[1], [2]]
assert inner(g) is g[0]
inner(g).append(5)
assert g == [[1, 5], [2]]
---
a = []
try:
    fail(a)
except ValueError:
    pass
assert a == [1]
---
a = []
kw(xs=a)
assert a == [7]
---
b = bytearray(b'ab')
extend(b)
assert b == b'abc'
---
from collections import deque, Counter, OrderedDict, defaultdict
d, c = deque([1]), Counter()
grow(d)
count(c)
assert d == deque([0, 1]) and c == {'a': 1}
---
t = ([1], {'a': [2]})
append(t[0], 5)
append(t[1]['a'], 6)
assert t == ([1, 5], {'a': [2, 6]})
---
s = set()
fill(s)
assert s == {1, 2}
---
a, b = [], []
alias(a, b)
assert a == [[1]] and a[0] is b
---
a = [1]
append(a, 2)
assert a == [1]
---
class Board(list):
    pass
b = Board([2, 1])
sort_rows(b)
assert b == [1, 2] and isinstance(b, Board)
"""),
    group("containers that are kept", """
class Solver:
    def __init__(self, grid): self.grid = grid
    def solve(self):
        for row in self.grid:
            for i, x in enumerate(row): row[i] = x + 1
    def get(self): return self.grid
class Tree:
    def __init__(self, v): self.v, self.children, self.by = v, [], {}
    def total(self): return self.v + sum(c.total() for c in self.children)
    def names(self): return sorted(self.by)
def keep(log):
    def add(x): log.append(x)
    return add
cache = {}
def store(k, v): cache[k] = v
def stored(k): return cache[k]
def each(xs, f):
    for x in xs:
        xs[0] = f(x)
def new(): return []
def later(xs):
    xs.append(1)
    yield
    xs.append(2)
class Bag:
    items = []
    def __init__(self): self.own = {'k': set()}
shared = [1]
def get_shared(): return shared
def many(n): return [[i] for i in range(n)]
""", """
g = [[1, 2], [3]]
s = Solver(g)
s.solve()
assert g == [[2, 3], [4]] and s.get() is g and s.grid[0] is g[0]
---
g = [[1]]
s = Solver(g)
g.append([5])
g[0][0] = 7
s.solve()
assert g == [[8], [6]] and s.grid == [[8], [6]]
---
t = Tree(1)
t.children.append(Tree(2))
t.children.append(Tree(3))
t.children[0].children.append(Tree(4))
t.by['x'] = 1
assert t.total() == 10 and t.names() == ['x'] and len(t.children) == 2
---
log = []
add = keep(log)
add(1)
add('b')
assert log == [1, 'b']
log.clear()
add(2)
assert log == [2]
---
v = [1]
store('k', v)
v.append(2)
assert stored('k') == [1, 2] and stored('k') is v
---
xs = [1, 2]
seen = []
each(xs, lambda x: seen.append(list(xs)) or x * 10)
assert xs == [20, 2] and seen == [[1, 2], [10, 2]]
---
a, b = new(), new()
assert a is not b and a == b
a.append(1)
assert b == []
---
xs = []
for _ in later(xs):
    assert xs == [1]
assert xs == [1, 2]
---
Bag.items.append(4)
b = Bag()
b.own['k'].add(1)
assert Bag().items == [4] and b.own == {'k': {1}} and Bag().own == {'k': set()}
---
get_shared().append(2)
assert get_shared() == [1, 2] and shared == [1, 2] and shared is get_shared()
shared[0] = 5
assert get_shared()[0] == 5
---
xs = many(300)
for x in xs:
    x.append(0)
assert all(x == [i, 0] for i, x in enumerate(xs)) and len(many(5000)) == 5000
---
g = [[0] * 2] * 3
Solver(g).solve()
assert g == [[3, 3]] * 3
---
g = [[1]]
Solver(g).solve()
assert g == [[1]]
"""),
    group("prints and input", """
import sys, random
def hello(name): print('hello', name); return name
def warn(text): print(text, file=sys.stderr)
def ask(): return int(input('n? ')) + int(input())
def lines(): return [line.strip() for line in sys.stdin]
def all_in(): return sys.stdin.read()
def noisy(n):
    for i in range(n):
        print(i, end=' ')
        yield i
def through(f):
    print('before')
    f()
    print('after')
def draw(n): return [random.randint(0, 100) for _ in range(n)]
def shuffled(xs): random.shuffle(xs); return xs
def write(s): sys.stdout.write(s); sys.stdout.flush()
def read(f): return [line.rstrip() for line in f]
def save(f, text): f.write(text)
def load(f):
    import json
    return json.load(f)
def with_rng(rng): return rng.random()
""", """
import io, contextlib
out = io.StringIO()
with contextlib.redirect_stdout(out):
    assert hello('bo') == 'bo'
assert out.getvalue() == 'hello bo\\n'
---
import io, sys
old, sys.stdout = sys.stdout, io.StringIO()
hello('x')
write('y')
text, sys.stdout = sys.stdout.getvalue(), old
assert text == 'hello x\\ny'
---
import io, contextlib
err = io.StringIO()
with contextlib.redirect_stderr(err):
    warn('w')
assert err.getvalue() == 'w\\n'
---
import io, contextlib
out = io.StringIO()
with contextlib.redirect_stdout(out):
    through(lambda: print('inside'))
assert out.getvalue().split() == ['before', 'inside', 'after']
---
import io
from contextlib import redirect_stdout
with redirect_stdout(io.StringIO()) as out:
    list(noisy(3))
assert out.getvalue() == '0 1 2 '
---
from unittest.mock import patch
with patch('builtins.input', side_effect=['3', '4']):
    assert ask() == 7
---
import builtins
answers = iter(['1', '2'])
builtins.input = lambda prompt='': next(answers)
assert ask() == 3
---
import io, sys
sys.stdin = io.StringIO('5\\n6\\n')
assert ask() == 11
---
import io, sys
from unittest import mock
with mock.patch('sys.stdin', io.StringIO('a\\nb\\n')):
    assert lines() == ['a', 'b']
---
import io, sys
sys.stdin = io.StringIO('text')
assert all_in() == 'text'
---
from unittest.mock import patch
import io
with patch('sys.stdout', new_callable=io.StringIO) as out:
    hello('you')
assert out.getvalue() == 'hello you\\n'
---
def input(prompt=''):
    return '10'
assert ask() == 20
---
import random
random.seed(7)
wanted = [random.randint(0, 100) for _ in range(5)]
random.seed(7)
assert draw(5) == wanted
---
import random
random.seed(1)
a = draw(3)
random.seed(1)
assert draw(3) == a and sorted(shuffled([1, 2, 3])) == [1, 2, 3]
---
import random
xs = list(range(20))
random.seed(3)
wanted = xs[:]
random.shuffle(wanted)
random.seed(3)
assert shuffled(xs) == wanted == xs
---
import io
assert read(io.StringIO('a\\nb\\n')) == ['a', 'b']
---
import io
f = io.StringIO()
save(f, 'text')
assert f.getvalue() == 'text'
---
import io
assert load(io.StringIO('{"a": [1]}')) == {'a': [1]}
---
import random
assert with_rng(random.Random(5)) == random.Random(5).random()
---
import io, contextlib
with contextlib.redirect_stdout(io.StringIO()) as out:
    hello('bo')
assert out.getvalue() == 'hello b'
---
import random
random.seed(5)
assert draw(3) == [1, 2, 3]
"""),
    group("coroutines", """
import asyncio
async def double(n):
    await asyncio.sleep(0)
    return 2 * n
async def gather(*ns): return await asyncio.gather(*(double(n) for n in ns))
async def ticks(n):
    for i in range(n):
        await asyncio.sleep(0)
        yield i
class Session:
    def __init__(self): self.open = False
    async def __aenter__(self): self.open = True; return self
    async def __aexit__(self, *a): self.open = False
    async def get(self, n): return await double(n)
class Numbers:
    def __init__(self, n): self.n = n
    def __aiter__(self): return self
    async def __anext__(self):
        if self.n == 0: raise StopAsyncIteration
        self.n -= 1
        return self.n
async def failing(): raise ValueError('async')
async def call(f, n): return await f(n)
""", """
import asyncio
assert asyncio.run(double(4)) == 8
---
import asyncio
assert asyncio.run(gather(1, 2)) == [2, 4]
---
import asyncio
async def main():
    return [await double(1), *await asyncio.gather(double(2), double(3))]
assert asyncio.run(main()) == [2, 4, 6]
---
import asyncio
async def main():
    return [x async for x in ticks(3)]
assert asyncio.run(main()) == [0, 1, 2]
---
import asyncio
async def main():
    async with Session() as s:
        assert s.open
        n = await s.get(5)
    assert not s.open
    return n
assert asyncio.run(main()) == 10
---
import asyncio
async def main():
    found = []
    async for n in Numbers(2):
        found.append(n)
    return found
assert asyncio.run(main()) == [1, 0]
---
import asyncio
try:
    asyncio.run(failing())
except ValueError as e:
    assert str(e) == 'async'
else:
    assert False
---
import asyncio
async def triple(n):
    return 3 * n
assert asyncio.run(call(triple, 4)) == 12
---
import asyncio
assert asyncio.new_event_loop().run_until_complete(double(1)) == 2
---
import asyncio, inspect
coro = double(1)
assert inspect.iscoroutine(coro) and asyncio.iscoroutine(coro)
assert asyncio.run(coro) == 2
---
import unittest
class T(unittest.IsolatedAsyncioTestCase):
    async def test(self):
        self.assertEqual(await double(2), 4)
unittest.main(exit=False)
---
import asyncio
assert asyncio.run(double(4)) == 9
---
import asyncio
async def main():
    return await asyncio.wait_for(double(4), 5)
assert asyncio.run(main()) == 8
"""),
    group("subclasses of built-ins", """
from collections import OrderedDict, UserDict, UserList, deque
class Stack(list):
    def push(self, x): self.append(x)
    def peek(self): return self[-1]
class LRU(OrderedDict):
    def __init__(self, n): super().__init__(); self.n = n
    def put(self, k, v):
        self[k] = v
        self.move_to_end(k)
        if len(self) > self.n: self.popitem(last=False)
class Vec(tuple):
    def __new__(cls, *xs): return super().__new__(cls, xs)
    def __add__(self, o): return Vec(*(a + b for a, b in zip(self, o)))
    def dot(self, o): return sum(a * b for a, b in zip(self, o))
class Text(str):
    def shout(self): return self.upper() + '!'
class Money(int):
    def cents(self): return self * 100
    def __add__(self, o): return Money(int(self) + int(o))
class Low(dict):
    def __getitem__(self, k): return super().__getitem__(k.lower())
class Users(UserDict): pass
class Unique(set):
    def add_all(self, *xs): self.update(xs)
def text(): return Text('hi')
def stack(): return Stack([1, 2])
def plain(): return [Stack([1])]
""", """
s = Stack()
s.push(1)
s.push(2)
assert s == [1, 2] and s.peek() == 2 and len(s) == 2 and s[0] == 1 and isinstance(s, list) and s.pop() == 2 and s == [1]
---
s = Stack([1])
s.append(4)
s[0] = 9
s += [5]
assert list(s) == [9, 4, 5] and s.index(4) == 1 and 9 in s and [*s] == [9, 4, 5] and sorted(s) == [4, 5, 9]
---
assert stack() == [1, 2] and stack().peek() == 2 and type(stack()) is Stack and plain() == [[1]] and stack() + [3] == [1, 2, 3]
---
c = LRU(2)
c.put('a', 1)
c.put('b', 2)
c.put('c', 3)
assert list(c) == ['b', 'c'] and 'a' not in c and c['b'] == 2 and dict(c) == {'b': 2, 'c': 3} and c.get('z') is None
---
v = Vec(1, 2)
assert v == (1, 2) and v + Vec(3, 4) == Vec(4, 6) and v.dot((3, 4)) == 11 and v[0] == 1 and hash(v) == hash((1, 2))
---
assert text() == 'hi' and text().shout() == 'HI!' and text().upper() == 'HI' and text() + '!' == 'hi!' and isinstance(text(), str) and 'h' in text()
---
assert Text('ab') in ['ab'] and ' '.join([Text('a'), Text('b')]) == 'a b' and f'{text():>4}' == '  hi'
---
m = Money(5)
assert m == 5 and m.cents() == 500 and m + Money(1) == 6 and m < 6 and isinstance(m + Money(1), Money) and [0] * m == [0] * 5
---
d = Low({'a': 1})
assert d['A'] == 1 and d == {'a': 1} and 'a' in d
---
u = Users(a=1)
u['b'] = 2
assert u['a'] == 1 and len(u) == 2 and 'b' in u and dict(u) == {'a': 1, 'b': 2} and u.get('z', 0) == 0
---
q = Unique([1])
q.add_all(1, 2)
assert q == {1, 2} and q | {3} == {1, 2, 3} and isinstance(q, set)
---
s = Stack([3])
s.push(1)
s.sort()
assert s == [1, 3]
s.clear()
assert not s
---
assert text().shout() == 'hi'
"""),
    group("inheritance", """
from abc import ABC, abstractmethod
from typing import Protocol, Generic, TypeVar
from collections.abc import Iterable, Mapping, MutableSequence
class Shape(ABC):
    sides = 0
    def __init__(self, name='shape'): self.name = name
    @abstractmethod
    def area(self): ...
    def describe(self): return f'{self.name}: {self.area()}'
    @classmethod
    def create(cls, *a): return cls(*a)
class Square(Shape):
    sides = 4
    def __init__(self, a): super().__init__('square'); self.a = a
    def area(self): return self.a ** 2
    def __lt__(self, o): return self.area() < o.area()
class Base:
    registry = []
    def __init_subclass__(cls, **k):
        super().__init_subclass__()
        Base.registry.append(cls.__name__)
    def hook(self): return 'base'
    def run(self): return self.hook() + '!'
T = TypeVar('T')
class Box(Generic[T]):
    def __init__(self, v: T): self.v = v
class Grid(Mapping):
    def __init__(self, d): self.d = d
    def __getitem__(self, k): return self.d[k]
    def __iter__(self): return iter(self.d)
    def __len__(self): return len(self.d)
class Slots:
    __slots__ = ('a',)
class Meta(type):
    def __call__(cls, *a):
        if not hasattr(cls, 'one'): cls.one = super().__call__(*a)
        return cls.one
class Single(metaclass=Meta): pass
class Node:
    def __init__(self, v, nxt=None): self.v, self.nxt = v, nxt
def reverse(head):
    before = None
    while head: head.nxt, before, head = before, head, head.nxt
    return before
def total(shapes): return sum(s.area() for s in shapes)
def values(n): return [n.v] + values(n.nxt) if n else []
""", """
s = Square(3)
assert s.area() == 9 and s.describe() == 'square: 9' and isinstance(s, Shape) and Square.sides == 4 and s.sides == 4
---
try:
    Shape()
except TypeError as e:
    assert 'abstract' in str(e)
else:
    assert False
---
class Circle(Shape):
    def __init__(self, r):
        super().__init__('circle')
        self.r = r
    def area(self):
        return 3 * self.r ** 2
c = Circle(2)
assert c.describe() == 'circle: 12' and isinstance(c, Shape) and total([c, Square(1)]) == 13 and c.sides == 0
---
class Dot(Shape):
    sides = 1
    def area(self): return 0
assert Dot.create('d').name == 'd' and Dot().sides == 1 and Dot.sides == 1 and type(Dot.create()) is Dot
---
class Loud(Base):
    def hook(self): return super().hook().upper()
assert Loud().run() == 'BASE!' and Loud().hook() == 'BASE' and Base.registry == ['Loud'] and Base().run() == 'base!'
---
class Wide(Square):
    def __init__(self, a, b):
        super().__init__(a)
        self.b = b
    def area(self):
        return super().area() + self.b
    @property
    def double(self):
        return 2 * self.area()
    @staticmethod
    def unit():
        return Wide(1, 0)
w = Wide(2, 5)
assert w.area() == 9 and w.double == 18 and Wide.unit().area() == 1 and w.describe() == 'square: 9' and w < Wide(9, 9)
---
assert Box(3).v == 3 and Box[int](4).v == 4 and isinstance(Box(1), Box)
---
g = Grid({'a': 1})
assert g['a'] == 1 and 'a' in g and g.get('b') is None and list(g.items()) == [('a', 1)] and dict(g) == {'a': 1} and {**g} == {'a': 1}
---
from collections.abc import Mapping, Iterable, Sized
assert isinstance(Grid({}), Mapping) and isinstance(Grid({}), Iterable) and not isinstance(Box(1), Iterable) and isinstance(Grid({}), Sized)
---
s = Slots()
s.a = 1
try:
    s.b = 2
except AttributeError:
    pass
else:
    assert False
assert s.a == 1
---
assert Single() is Single() and isinstance(Single(), Single)
---
n = reverse(Node(1, Node(2, Node(3))))
assert values(n) == [3, 2, 1] and n.nxt.v == 2 and n.nxt.nxt.nxt is None
---
n = Node(1)
n.nxt = Node(2)
n.nxt.v = 5
assert values(n) == [1, 5] and n.nxt is n.nxt
---
from unittest.mock import patch
with patch.object(Square, 'area', return_value=50):
    assert Square(2).describe() == 'square: 50'
assert Square(2).area() == 4
---
class Tree:
    def __init__(self, v, nxt=None): self.v, self.nxt = v, nxt
assert values(Tree(1, Tree(2))) == [1, 2]
---
assert sorted([Square(3), Square(1)])[0].a == 1 and min(Square(2), Square(5)).a == 2 and [Square(2)][0].a == 2
---
assert Square(3).area() == 10
"""),
    group("plain values", """
def f(x): return x
def big(): return 10 ** 50
def nan(): return float('nan')
def nested(n): return [n, (n, {n: {n}}), frozenset({n})]
def nothing(): return None
def text(): return 'h\\u00e9 \\ud83d\\ude00'
def many(*a, **k): return a, k
def ell(): return ...
def kind(x): return type(x)
def cls(): return int
def ops(): return [max, len, sum]
CONSTANT = [1, 2]
table = {'a': 1}
""", """
assert f(1) == 1 and f('x') == 'x' and f([1, {2: (3,)}]) == [1, {2: (3,)}] and f(None) is None and f(True) is True
---
assert big() == 10 ** 50 and f(-10 ** 40) == -10 ** 40 and big() // 10 ** 49 == 10
---
import math
assert math.isnan(nan()) and nan() != nan() and f(math.inf) == math.inf
---
assert nested(1) == [1, (1, {1: {1}}), frozenset({1})]
---
assert nothing() is None and not nothing() and text() == 'h\\u00e9 \\U0001f600' or len(text()) == 5
---
assert many(1, [2], a=b'x') == ((1, [2]), {'a': b'x'}) and ell() is ... and f(3 + 4j) == 3 + 4j
---
assert kind(1) is int and kind([]) is list and cls() is int and cls()('5') == 5 and isinstance(1, cls())
---
assert ops()[0](1, 2) == 2 and ops()[1]([1]) == 1 and ops()[0] is max
---
assert CONSTANT == [1, 2] and table['a'] == 1
---
import math
assert math.isclose(f(0.1) + f(0.2), 0.3) and abs(f(0.1) - 0.1) < 1e-9 and round(f(2.567), 2) == 2.57
---
assert sorted(f([3, 1])) == [1, 3] and set(f('aab')) == {'a', 'b'} and f({'a': 1}).get('a') == 1 and f('ab').upper() == 'AB'
---
assert 3 in f([1, 2, 3]) and 'a' in f({'a': 1}) and f([1])[0] == 1 and len(f('abc')) == 3
---
assert f(1) == 2
---
assert f([1, 2]) == [2, 1]
---
assert f(1) in (2, 3)
---
assert not f([])
---
assert undefined(1) == 1
---
import unittest
unittest.TestCase().assertEqual(f(1), 1)
---
import unittest
unittest.TestCase().assertAlmostEqual(f(0.1), 0.2)
"""),
    group("tests of every form", """
def f(x): return x
def g(x): return -x
""", """
def test_f():
    assert f(1) == 1
test_f()
---
import unittest
class T(unittest.TestCase):
    def setUp(self): self.x = 3
    def test_f(self): self.assertEqual(f(self.x), 3)
    def test_sub(self):
        for i in range(3):
            with self.subTest(i=i):
                self.assertEqual(f(i), i)
unittest.TextTestRunner().run(unittest.defaultTestLoader.loadTestsFromTestCase(T))
---
if __name__ == '__main__':
    assert f(1) == 1
---
if f(1) != 1:
    raise ValueError('wrong')
---
if g(1) != 1:
    raise ValueError('wrong')
---
import sys
if g(1) != -1:
    sys.exit(1)
---
try:
    f()
    raise SystemError('no error')
except TypeError:
    pass
---
def check(candidate):
    assert candidate(1) == 1
check(f)
---
def check(candidate):
    assert candidate(1) == 1
check(g)
---
cases = [(1, 1), (2, 2)]
for given, want in cases:
    assert f(given) == want, f'{given}'
---
assert [f(x) for x in range(3)] == [0, 1, 2] and all(f(x) == x for x in range(5))
---
assert (lambda: f(2))() == 2
---
class Checker:
    def run(self, value):
        assert f(value) == value
Checker().run(5)
---
while True:
    assert f(0) == 0
    break
---
from functools import partial
def expect(want, function, *given):
    if function(*given) != want:
        raise AssertionError(f'{want}')
expect(1, f, 1)
---
def test_f(value=2):
    assert f(value) == value
test_f()
"""),
)  # fmt: skip
