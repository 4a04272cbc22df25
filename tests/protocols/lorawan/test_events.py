"""The event queue: order, overflow, and one buffer of data lent to one event at a time."""

from protocols.lorawan.events import EventQueue
from protocols.lorawan.interface import EV_ACK, EV_DOWNLINK, EV_SENT


def test_events_come_in_order_and_only_once():
    queue = EventQueue()
    assert queue.next() is None
    for value in range(5):
        queue.emit(EV_SENT, value)
    assert [queue.next().value for _ in range(5)] == [0, 1, 2, 3, 4]
    assert queue.next() is None and queue.lost == 0


def test_a_full_queue_counts_what_it_loses_and_keeps_the_oldest():
    queue = EventQueue()
    for value in range(11):
        queue.emit(EV_SENT, value)
    assert queue.lost == 3
    assert [queue.next().value for _ in range(8)] == [0, 1, 2, 3, 4, 5, 6, 10]


def test_a_downlink_needs_room_for_all_its_events():
    queue = EventQueue()
    for _ in range(4):
        assert queue.has_room()
        queue.emit(EV_SENT)
    assert queue.has_room()
    queue.emit(EV_SENT)
    assert not queue.has_room()
    queue.next()
    assert queue.has_room()


def test_data_is_lent_until_the_next_event_is_asked_for():
    queue = EventQueue()
    queue.emit(EV_ACK)
    queue.emit(EV_DOWNLINK)
    assert not queue.has_room()
    assert queue.next().kind == EV_ACK and not queue.has_room()
    assert queue.next().kind == EV_DOWNLINK and not queue.has_room()
    assert queue.next() is None and queue.has_room()
