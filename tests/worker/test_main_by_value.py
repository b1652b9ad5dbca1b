"""Code and data of ``__main__``, in a script run in each way that Python knows."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.worker.harness import ROOT

pytestmark = pytest.mark.process

PRELUDE = """
import dataclasses, enum, pickle, sys
from tests.worker.harness import (
    ItemPickler, LocalWorker, Processor, Style, definitions_of, dump_definitions,
)
from knock.pool.failure import rebuild_exception
"""

SCRIPTS = {
    "lambda and closure as function, item and result": """
def adder(n):
    return lambda x: x + n
with LocalWorker(definitions_of(lambda x: x * x)) as worker:
    assert worker.ready().value("job", 12) == 144
with LocalWorker(definitions_of(adder(5))) as worker:
    assert worker.ready().value("job", 12) == 17
with LocalWorker(definitions_of(lambda fn: fn(1))) as worker:
    assert worker.ready().value("job", lambda x: x + 1) == 2
    assert worker.value("job", adder(9)) == 10
    assert worker.value("job", adder) (1) == 2
""",
    "class, enum and exception as item, result and error": """
@dataclasses.dataclass
class Point:
    x: int
    def moved(self):
        return type(self)(self.x + 1)
class Color(enum.Enum):
    RED = 1
    BLUE = 2
class Flag(enum.Flag):
    A = 1
    B = 2
class WrongError(Exception):
    def __init__(self, point, color):
        super().__init__(point, color)
        self.point, self.color = point, color
def work(item):
    point, color = item
    assert color is Color.RED and isinstance(point, Point)
    if point.x < 0:
        raise WrongError(point, color)
    return point.moved(), Color.BLUE, Flag.A | Flag.B
with LocalWorker(definitions_of(work)) as worker:
    point, color, flag = worker.ready().value("job", (Point(1), Color.RED))
    assert point == Point(2) and type(point) is Point
    assert color is Color.BLUE and flag == Flag.A | Flag.B
    ended = worker.run("job", (Point(-1), Color.RED))
    assert ended.error.type_name == "WrongError", ended.error
    try:
        raise rebuild_exception(ended.error)
    except WrongError as exc:
        assert exc.point == Point(-1) and exc.color is Color.RED
        assert "in work" in str(exc.__cause__)
        if globals().get("__file__", "").endswith(".py"):
            assert "    raise WrongError(point, color)" in str(exc.__cause__)
""",
    "classes that only the items know": """
@dataclasses.dataclass(frozen=True)
class Inner:
    x: int
class Outer:
    class Nested:
        def __init__(self, x): self.x = x
        def __eq__(self, other): return type(other) is Outer.Nested and other.x == self.x
with LocalWorker(definitions_of(lambda x: x)) as worker:
    worker.ready()
    items = ItemPickler()
    for item in (Inner(1), [Inner(2), Outer.Nested(3)], {Inner(3): Outer.Nested}):
        assert worker.value("job", item, items) == item
    local = type("Local", (), {"x": 1})
    assert worker.value("job", local, items) is local
    assert type(worker.value("job", local(), items)) is local
""",
    "a global set by the initializer is seen by the jobs": """
counter = 0
helper_calls = []
def initialize(start):
    global counter
    counter = start
def helper():
    global counter
    counter += 1
    helper_calls.append(counter)
def count(_):
    helper()
    return counter, list(helper_calls)
def other(_):
    return counter
processors = {"count": Processor(count, Style.ITEM), "other": Processor(other, Style.ITEM)}
with LocalWorker(dump_definitions(initialize, (100,), processors)) as worker:
    assert worker.ready().value("count", 0) == (101, [101])
    assert worker.value("count", 0) == (102, [101, 102])
    assert worker.value("other", 0) == 102
    assert counter == 0
""",
    "a global that only the initializer makes": """
def initialize():
    global model
    model = {"weights": 3}
def use(x):
    return model["weights"] * x
with LocalWorker(definitions_of(use, initializer=initialize)) as worker:
    assert worker.ready().value("job", 2) == 6
""",
    "recursion, and functions that call each other": """
def fib(n):
    return n if n < 2 else fib(n - 1) + fib(n - 2)
def is_even(n):
    return n == 0 or is_odd(n - 1)
def is_odd(n):
    return n != 0 and is_even(n - 1)
with LocalWorker(definitions_of(lambda n: (fib(n), is_even(n)))) as worker:
    assert worker.ready().value("job", 10) == (55, True)
""",
    "inheritance, super(), class and static methods, properties, slots": """
class Base:
    count = 0
    def __init__(self, name):
        self.name = name
    @classmethod
    def make(cls, name): return cls(name)
    @staticmethod
    def shout(text): return text.upper()
    @property
    def title(self): return "base " + self.name
class Derived(Base):
    def __init__(self, name):
        super().__init__(name)
        type(self).count += 1
    @property
    def title(self): return self.shout(super().title)
class Slotted:
    __slots__ = ("x",)
    def __init__(self, x): self.x = x
@dataclasses.dataclass(slots=True)
class Record:
    y: int = 5
class Mangled(Slotted):
    __slots__ = ("__z", "__dict__")
    def __init__(self, z): self.__z = self.free = z
    def z(self): return self.__z
def work(name):
    assert not hasattr(Slotted(4), "__dict__")
    return Derived.make(name).title, Derived.count, Slotted(4), Record(6), Mangled(7)
with LocalWorker(definitions_of(work)) as worker:
    title, count, slotted, record, mangled = worker.ready().value("job", "ann")
    assert record == Record(6) and mangled.z() == mangled.free == 7
    assert (title, count, slotted.x) == ("BASE ANN", 1, 4) and type(slotted) is Slotted
    assert Derived.count == 0
""",
    "what is defined later does not overwrite what the worker has": """
state = "caller"
class Tally:
    total = 0
def initialize():
    global state
    state = "worker"
def work(item):
    Tally.total += 1
    return state, Tally.total, type(item) is Tally
with LocalWorker(definitions_of(work, initializer=initialize)) as worker:
    assert worker.ready().value("job", None) == ("worker", 1, False)
    assert worker.value("job", Tally()) == ("worker", 2, True)
    blob = dump_definitions(processors={"again": Processor(work, Style.ITEM)})
    worker.define(blob)
    assert worker.value("again", Tally()) == ("worker", 3, True)
    assert worker.value("again", lambda: state) == ("worker", 4, False)
    assert worker.value("job", Tally()) == ("worker", 5, True)
    assert Tally.total == 0
""",
    "local classes keep their identity": """
def make():
    class Local(Exception):
        pass
    return Local
Local = make()
def work(item):
    raise Local(item)
with LocalWorker(definitions_of(work, retry_on=(Local,))) as worker:
    ended = worker.ready().run("job", 3)
    assert ended.retryable
    assert type(rebuild_exception(ended.error)) is Local
""",
    "async function, partial, callable object and bound method": """
import functools
async def later(x):
    return x + 1
class Multiplier:
    def __init__(self, n): self.n = n
    def __call__(self, x): return x * self.n
    def times(self, x): return x * self.n
processors = {
    "async": Processor(later, Style.ITEM),
    "partial": Processor(functools.partial(max, 10), Style.ITEM),
    "object": Processor(Multiplier(3), Style.ITEM),
    "method": Processor(Multiplier(4).times, Style.ITEM),
}
with LocalWorker(dump_definitions(processors=processors)) as worker:
    worker.ready()
    assert [worker.value(name, 5) for name in processors] == [6, 10, 15, 20]
""",
    "cached functions, that call themselves, and methods": """
import functools
calls = []
@functools.cache
def fib(n):
    "Fibonacci."
    return n if n < 2 else fib(n - 1) + fib(n - 2)
fib.note = "mine"
@functools.lru_cache(maxsize=3, typed=True)
def twice(x):
    calls.append(x)
    return 2 * x
class Table:
    @functools.lru_cache
    def row(self, n): return n + 1
def work(n):
    assert [twice(n), twice(n)] == [2 * n] * 2 and calls == [n]
    assert pickle.loads(pickle.dumps(fib)) is fib
    about = fib.__name__, fib.__doc__, fib.note, fib.__module__, twice.cache_parameters()
    return fib(n), fib.cache_info().currsize, about, Table().row(n)
def adder(n):
    return functools.lru_cache(lambda x: x + n)
assert fib(50)
with LocalWorker(definitions_of(work)) as worker:
    found = worker.ready().value("job", 90)
    about = "fib", "Fibonacci.", "mine", "__main__", {"maxsize": 3, "typed": True}
    assert found == (2880067194370816120, 91, about, 91), found
with LocalWorker(definitions_of(fib)) as worker:
    assert worker.ready().value("job", 60) == 1548008755920
with LocalWorker(definitions_of(lambda item: item[0](item[1]))) as worker:
    items = ItemPickler()
    assert worker.ready().value("job", (fib, 20), items) == 6765
    assert worker.value("job", (adder(5), 20), items) == 25
    assert worker.value("job", (functools.cache(functools.partial(max, 30)), 20), items) == 30
    assert worker.value("job", (twice, 20), items) == 40
with LocalWorker(definitions_of(lambda item: fib)) as worker:
    assert worker.ready().value("job", 1) is fib
""",
    "new types and single dispatch": """
import functools, typing
class Shape: pass
class Circle(Shape): pass
Id = typing.NewType("Id", int)
OfShape = typing.NewType("OfShape", Shape)
@functools.singledispatch
def name(shape):
    return "something"
@name.register
def _(shape: Shape):
    return "shape"
@name.register(list)
def _(shapes):
    return [name(shape) for shape in shapes]
def work(item):
    assert Id.__supertype__ is int and OfShape.__supertype__ is Shape
    assert pickle.loads(pickle.dumps(Id)) is Id and repr(Id) == "__main__.Id"
    return name([Circle(), 1, [Shape()]]), Id, name.__name__
with LocalWorker(definitions_of(work)) as worker:
    expected = ["shape", "something", ["shape"]], Id, "name"
    assert worker.ready().value("job", None) == expected
    assert worker.value("job", [Id, OfShape, name]) == expected
with LocalWorker(definitions_of(lambda x: x)) as worker:
    items = ItemPickler()
    assert worker.ready().value("job", (Id, 1), items) == (Id, 1)
    assert worker.value("job", (name, 1), items) == (name, 1)
with LocalWorker(definitions_of(name)) as worker:
    assert worker.ready().value("job", [Circle(), 1]) == ["shape", "something"]
""",
    "what is only a name is refused in the caller": """
from knock.errors import SerializationError
class Missing:
    def __reduce__(self): return "MISSING"
MISSING = Missing()
def work(x):
    return MISSING
for attempt in (
    lambda: definitions_of(work),
    lambda: ItemPickler().dumps({"a": [MISSING]}),
    lambda: ItemPickler().dumps({"a": [MISSING, Missing]}),
):
    try:
        attempt()
    except SerializationError as exc:
        assert "'MISSING' of __main__" in str(exc), exc
        assert "global 'MISSING'" in str(exc) or "item['a'][0]" in str(exc), exc
    else:
        raise AssertionError("not refused")
""",
    "source lines of a notebook cell": """
import linecache
source = "def fail(x):\\n    raise ValueError(x)  # in the cell\\n"
name = "/tmp/ipykernel_0/1234.py"
linecache.cache[name] = (len(source), None, source.splitlines(True), name)
exec(compile(source, name, "exec"))
with LocalWorker(definitions_of(fail)) as worker:
    ended = worker.ready().run("job", 1)
    assert "# in the cell" in ended.error.traceback, ended.error.traceback
""",
    "pickle and a pool inside a job": """
import multiprocessing, warnings
@dataclasses.dataclass
class Item:
    x: int
def double(item):
    return Item(item.x * 2)
def work(x):
    assert pickle.loads(pickle.dumps(Item(x))) == Item(x)
    assert pickle.loads(pickle.dumps(double)) is double
    with multiprocessing.get_context("fork").Pool(1) as pool:
        return pool.map(double, [Item(x)])
with LocalWorker(definitions_of(work)) as worker:
    assert worker.ready().value("job", 4) == [Item(8)]
""",
    "what is imported stays by reference": """
import collections, json, math
import xml.dom
def work(x):
    return math.sqrt(x), collections.Counter, xml.dom.__name__
with LocalWorker(definitions_of(work)) as worker:
    assert worker.ready().value("job", 9) == (3.0, collections.Counter, "xml.dom")
    assert worker.value("job", 16)[0] == 4.0
with LocalWorker(definitions_of(json.dumps)) as worker:
    assert worker.ready().value("job", [1]) == "[1]"
""",
}


@pytest.mark.parametrize("way", ["file", "stdin", "-c", "-m"])
@pytest.mark.parametrize("title", SCRIPTS)
def test_definitions_of_a_script_work_in_a_worker(title: str, way: str, tmp_path: Path) -> None:
    text = PRELUDE + SCRIPTS[title] + "\nprint('done')\n"
    path = tmp_path / "a_script.py"
    path.write_text(text)
    command = {"file": [str(path)], "stdin": ["-"], "-c": ["-c", text], "-m": ["-m", "a_script"]}
    done = subprocess.run(
        [sys.executable, *command[way]],
        input=text if way == "stdin" else "",
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([ROOT, str(tmp_path)])},
        check=False,
    )
    assert done.stderr == ""
    assert done.stdout == "done\n"
