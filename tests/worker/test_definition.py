"""What travels to the workers; the scripts in ``test_main_by_value.py`` show the rest."""

import linecache
import pickle
import random
import threading
from types import SimpleNamespace
from typing import Any

import pytest

from knock.errors import QueueClosedError, ResultDecodeError, SerializationError
from knock.pool.definition import ItemPickler, dump_definitions, load_definitions, load_result
from knock.pool.job import call_supervisor, current_job, in_worker
from knock.pool.process import reseed
from tests.worker import jobs
from tests.worker.harness import run_one


def test_plain_items_stay_plain_pickles() -> None:
    items = ItemPickler()
    for item in ([1, "x"], "if __name__ == '__main__':", jobs.divide, [2, "y"]):
        assert items.dumps(item) == pickle.dumps(item, 5)
    assert items.take_definitions() == []


def test_what_is_loaded_later_leaves_a_known_class_as_it_is() -> None:
    class Local:
        total = 0

    blob = dump_definitions(print, (Local,))
    Local.total = 5
    assert load_definitions(blob).initargs == (Local,)
    assert Local.total == 5


@pytest.mark.process
def test_traceback_of_a_notebook_cell_shows_its_lines() -> None:
    name, source = "<cell 7 of a test>", "def fail(x):\n    return x / 0  # the line\n"
    linecache.cache[name] = (len(source), None, source.splitlines(keepends=True), name)
    namespace: dict[str, Any] = {"__name__": "no_such_module"}
    exec(compile(source, name, "exec"), namespace)
    error = run_one(namespace["fail"], 1).error
    assert error is not None
    assert f'File "{name}", line 2, in fail\n    return x / 0  # the line\n' in error.traceback


def test_result_that_cannot_be_unpickled_here_is_a_typed_error() -> None:
    data = pickle.dumps(jobs.divide).replace(b"divide", b"divine")
    with pytest.raises(ResultDecodeError, match="cannot unpickle the result here: AttributeError"):
        load_result(data)
    with pytest.raises(ResultDecodeError):
        load_result(b"")


def test_forked_generators_get_states_of_their_own() -> None:
    state = random.getstate()
    try:
        random.seed(1)
        reseed()
        drawn = random.random()
        random.seed(1)
        assert random.random() != drawn
    finally:
        random.setstate(state)


def test_outside_of_a_worker_there_is_no_job() -> None:
    assert current_job() is None
    assert not in_worker()
    with pytest.raises(QueueClosedError):
        call_supervisor("add", b"")


def test_namespaces_and_other_objects_travel() -> None:
    items = ItemPickler()
    item = SimpleNamespace(fn=lambda x: x + 1)
    assert pickle.loads(items.dumps(item)).fn(1) == 2


def test_the_way_to_what_cannot_be_pickled_is_told_in_short() -> None:
    deep: object = threading.Lock()
    for _ in range(30):
        deep = [deep]
    with pytest.raises(
        SerializationError, match=r"cannot pickle item(\[0\]){7}\.\.\.\[0\]: _thread\.lock"
    ):
        ItemPickler().dumps(deep)
