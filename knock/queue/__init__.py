"""The queue: jobs go in, are run by supervised workers, and can be asked for."""

from knock.queue.handlers import EventHandler
from knock.queue.instance import Queue
from knock.queue.intake import AddOptions
from knock.queue.policy import PolicyOptions
from knock.queue.stats import QueueStats
from knock.supervisor.messages import QueueEvent

# One class under both names of the original: a queue is given a storage, or the URL of one.
QueueInstance = Queue

__all__ = [
    "AddOptions",
    "EventHandler",
    "PolicyOptions",
    "Queue",
    "QueueEvent",
    "QueueInstance",
    "QueueStats",
]
