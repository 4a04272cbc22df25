"""What must not be lost is sent first, again, and in a bounded queue."""

from firmware.outbox import MESSAGES_MAX, Message, Outbox
from protocols.ticks import PERIOD_MS, ticks_add


def message(tag, confirmed=True, tries=3, due_ms=0):
    return Message(4, b"x", confirmed, tries, due_ms, tag)


def test_an_alarm_goes_before_an_answer_and_the_older_first():
    outbox = Outbox()
    for tag, confirmed in ((1, False), (2, True), (3, True)):
        outbox.post(message(tag, confirmed), None)
    order = []
    while outbox.due(0):
        first = outbox.due(0)
        order.append(first.tag)
        outbox.landed(first, True, 0)
    assert order == [2, 3, 1]


def test_an_alarm_is_repeated_later_and_later_over_the_wrap_of_ticks():
    outbox = Outbox()
    now = PERIOD_MS - 10_000
    alarm = message(1, True, 6, now)
    outbox.post(alarm, None)
    waits = []
    while True:
        assert outbox.due(now) is alarm
        alarm.sent += 1
        if outbox.landed(alarm, False, now):
            break
        waited = 0
        while outbox.due(now) is None:
            now = ticks_add(now, 100)
            waited += 1
        waits.append(waited)
    assert waits[0] == 0, "the second at once, on another channel: nothing goes between"
    assert 10 <= waits[1] <= 13 and 40 <= waits[2] <= 43, "two more while people wait"
    assert waits[3:] == [400, 800] and outbox.due(now) is None


def test_an_answer_is_sent_once():
    outbox = Outbox()
    answer = message(1, False, 1)
    outbox.post(answer, None)
    answer.sent = 1
    assert outbox.landed(answer, False, 0)


def test_a_full_queue_gives_up_answers_for_alarms_but_not_what_is_flying():
    outbox = Outbox()
    answers = [message(i, False) for i in range(MESSAGES_MAX)]
    for answer in answers:
        assert outbox.post(answer, None)
    assert not outbox.post(message(90, False), None)
    assert outbox.post(message(91), answers[0])
    outbox.landed(answers[0], True, 0)
    left = []
    while outbox.due(0):
        first = outbox.due(0)
        left.append(first.tag)
        outbox.drop(first)
    assert left == [91, 2, 3, 4, 5]
    for i in range(MESSAGES_MAX):
        assert outbox.post(message(i), None)
    assert not outbox.post(message(99), None) and outbox.refused == 2
