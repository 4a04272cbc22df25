"""Uplinks that must not be lost: `Outbox`, a few messages ahead of everything else."""

from micropython import const

from protocols.ticks import ticks_add, ticks_diff

MESSAGES_MAX = const(6)
# Frames are lost to a collision, or to a burst of interference. The first repetition goes at once,
# on another channel than whoever collided with us, for people wait. Two follow within a dozen
# seconds, as a burst lasts about six, a little apart from others; then later and later.
_APART_MS = const(255)  # four frames of an alarm at SF7
_SECOND_MS = const(1000)
_THIRD_MS = const(4000)
_RETRY_S = const(20)  # doubled before the fourth repetition, and again, 16 times at most


class Message:
    """An alarm (confirmed, repeated until `tries` are used up) or an answer."""

    def __init__(
        self, port: int, data: bytes, confirmed: bool, tries: int, due_ms: int, tag: int
    ) -> None:
        self.port = port
        self.data = data
        self.confirmed = confirmed
        self.tries = tries
        self.sent = 0
        self.due_ms = due_ms
        self.tag = tag


class Outbox:
    """`post`, then `due` says which goes next; `landed` after each transmission."""

    def __init__(self) -> None:
        self._messages: list[Message] = []
        self.refused = 0  # posted when it was full of alarms

    def post(self, message: Message, flying: "Message | None") -> bool:
        """Queue a message; an alarm drives out the oldest answer that is not `flying`."""
        if len(self._messages) >= MESSAGES_MAX:
            for old in self._messages:
                if message.confirmed and not old.confirmed and old is not flying:
                    self._messages.remove(old)
                    break
            else:
                self.refused += 1
                return False
        self._messages.append(message)
        return True

    def due(self, now_ms: int) -> "Message | None":
        """The message to send now: an alarm before an answer, the older before the newer."""
        best: Message | None = None
        for message in self._messages:
            if ticks_diff(now_ms, message.due_ms) >= 0 and (
                best is None or (message.confirmed and not best.confirmed)
            ):
                best = message
        return best

    def landed(self, message: Message, is_acknowledged: bool, now_ms: int) -> bool:
        """A transmission of `message` ended; True when it is finished, False: it goes again."""
        done = is_acknowledged or not message.confirmed
        if not done and message.sent < message.tries:
            apart_ms = (now_ms ^ now_ms >> 9) & _APART_MS
            if message.sent == 1:
                delay_ms = 0
            elif message.sent == 2:
                delay_ms = _SECOND_MS + apart_ms
            elif message.sent == 3:
                delay_ms = _THIRD_MS + apart_ms
            else:
                delay_ms = (_RETRY_S << min(message.sent - 3, 4)) * 1000
            message.due_ms = ticks_add(now_ms, delay_ms)
            return False
        self.drop(message)
        return True

    def drop(self, message: Message) -> None:
        """Forget it."""
        self._messages.remove(message)
