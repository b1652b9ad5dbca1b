"""A module as users write it: a queue at its top level, started and fed on import."""

from knock.pool.job import Job
from knock.queue import Queue

queue = Queue(concurrency=2, retry_delay=0.01)


@queue.process("parent")
def parent(job: Job) -> list[int]:
    return [queue.add("child", job.data), *queue.add_many("child", [1, 2], priority="high")]


@queue.process("child")
def child(job: Job) -> int:
    return 10 * job.data


queue.start()
first = queue.add("child", 7)
queue.join()
