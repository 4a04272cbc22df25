"""Who sounds, and did it: `SirenDesk`, the decisions of the siren act without any I/O.

Alarms come in, `Do`s come out: sound, or tell people. An order is open until its siren proved that
it sounded. A node that says nothing gets the same order again (its number makes that harmless); no
proof in time, or proof of silence, is answered by one retry, then by the backup sirens in turn.
The alarm "siren-silent" is raised when a siren failed, and escalated when no siren is left.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from gateway.acts.siren.settings import RuleSettings, SirenSettings
from gateway.model import CLEARED, ESCALATED, LOWERED, RAISED, Alarm

PROVED, FAILED = "proved", "failed"
_TRIES = 2  # orders to one siren
_KEEP_MS = 7 * 86_400_000  # incidents that never cleared


@dataclass(slots=True)
class Order:
    """One siren is to sound; open until it is proved or given up."""

    siren: str
    pattern: int
    duration_s: int
    level: int
    gauge: str
    incident: str
    made_ms: int
    backup: list[str] = field(default_factory=list[str])
    tries: int = 1
    sent_ms: int = 0  # of the first copy of this try
    resends: int = 0
    number: int = 0  # the command's, 0 before it has one
    is_heard: bool = False  # the node answered


@dataclass(frozen=True, slots=True, kw_only=True)
class Sound:
    """Send this order now; `is_new` wants a fresh command number."""

    order: Order
    is_new: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Tell:
    """Raise this alarm."""

    alarm: Alarm


Do = Sound | Tell


class SirenDesk:
    """All sirens of a gateway."""

    def __init__(self, settings: SirenSettings) -> None:
        self._settings = settings
        self._by_name = {one.name: one for one in settings.unit}
        self.orders: list[Order] = []
        self._sounded: dict[str, dict[str, list[int]]] = {}  # incident -> siren -> level, count
        self._seen_ms: dict[str, int] = {}  # incident -> last alarm
        self.silent: dict[str, tuple[str, int]] = {}  # siren -> incident and level of its alarm
        self.counters = dict.fromkeys(("ordered", "proved", "failed", "old", "drills", "limit"), 0)

    def to_state(self) -> dict[str, Any]:
        """What must survive a restart, as JSON."""
        return {
            "orders": [asdict(one) for one in self.orders],
            "sounded": self._sounded,
            "seen_ms": self._seen_ms,
            "silent": self.silent,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take up where `to_state` left off; orders of sirens that are no more are dropped."""
        self.orders = [Order(**one) for one in state["orders"] if one["siren"] in self._by_name]
        self._sounded = {key: dict(value) for key, value in state["sounded"].items()}
        self._seen_ms = dict(state["seen_ms"])
        self.silent = {key: (one[0], one[1]) for key, one in state["silent"].items()}

    # --- alarms ---------------------------------------------------------------------------------

    def alarm(self, alarm: Alarm, now_ms: int) -> list[Do]:
        """A stage changed: the sirens that its rules order, where it is a rise."""
        if alarm.kind != "stage":
            return []
        if alarm.values.get("is_drill"):
            self.counters["drills"] += 1
            return []
        self._forget(now_ms)
        if alarm.event == CLEARED:
            self._sounded.pop(alarm.incident, None)
            self._seen_ms.pop(alarm.incident, None)
            return []
        sounded = self._sounded.setdefault(alarm.incident, {})
        self._seen_ms[alarm.incident] = now_ms
        if alarm.event == LOWERED:
            for one in sounded.values():
                one[0] = min(one[0], alarm.level)
            return []
        if now_ms - alarm.decided_ms > self._settings.max_age_s * 1000:
            self.counters["old"] += 1
            return []
        doing: list[Do] = []
        for siren, rule in self._wanted(alarm).items():
            level, count = sounded.get(siren, (0, 0))
            if rule.level <= level:
                continue
            if count >= self._settings.max_soundings:
                self.counters["limit"] += 1
                continue
            sounded[siren] = [rule.level, count + 1]
            pattern, duration_s = rule.sound
            backup = [one for one in rule.backup if one != siren]
            order = Order(
                siren, pattern, duration_s, rule.level, alarm.device, alarm.incident, now_ms, backup
            )
            doing += self._open(order, now_ms)
        return doing

    def _wanted(self, alarm: Alarm) -> dict[str, RuleSettings]:
        """By siren, the highest rule that this alarm reaches."""
        found: dict[str, RuleSettings] = {}
        for rule in sorted(self._settings.rule, key=lambda one: one.level):
            if alarm.device in rule.gauges and rule.level <= alarm.level:
                found |= dict.fromkeys(rule.sirens, rule)
        return found

    def _forget(self, now_ms: int) -> None:
        for incident in [k for k, t in self._seen_ms.items() if now_ms - t > _KEEP_MS]:
            self._sounded.pop(incident, None)
            del self._seen_ms[incident]

    def order(self, siren: str, pattern: int, duration_s: int, now_ms: int) -> list[Do]:
        """A person wants a siren to sound; it is demanded proof like any other."""
        incident = f"{siren}/order/{now_ms}"
        return self._open(Order(siren, pattern, duration_s, 0, "", incident, now_ms), now_ms)

    def silence(self, siren: str) -> None:
        """A person silenced a siren: nothing is demanded of it any more."""
        self.orders = [one for one in self.orders if one.siren != siren]

    def _open(self, order: Order, now_ms: int) -> list[Do]:
        # One siren, one order: the higher takes over, and a lower leaves it alone.
        for other in [one for one in self.orders if one.siren == order.siren]:
            if other.level > order.level:
                return []
            self.orders.remove(other)
        order.sent_ms = now_ms
        self.orders.append(order)
        self.counters["ordered"] += 1
        return [Sound(order=order, is_new=True)]

    # --- what came of it ------------------------------------------------------------------------

    def sent(self, order: Order, number: int) -> None:
        """The order left, with this command number."""
        order.number = number

    def heard(self, siren: str, number: int, is_refused: bool, now_ms: int) -> list[Do]:
        """The node answered a command; a refusal is as good as silence."""
        for order in self.orders:
            if order.siren == siren and order.number == number:
                order.is_heard = True
                if is_refused:
                    return self._failed(order, now_ms)
        return []

    def proof(self, siren: str, number: int, is_proved: bool, now_ms: int) -> list[Do]:
        """A siren told how it went, with the number of the command that it obeyed."""
        if is_proved:
            doing = self._mended(siren, now_ms)
            for order in [o for o in self.orders if o.siren == siren and o.number == number]:
                self.orders.remove(order)
                self.counters["proved"] += 1
            return doing
        for order in self.orders:
            if order.siren == siren and order.number == number:
                order.is_heard = True
                return self._failed(order, now_ms)
        return []

    def step(self, now_ms: int) -> list[Do]:
        """What is overdue."""
        doing: list[Do] = []
        settings = self._settings
        for order in tuple(self.orders):
            if now_ms - order.sent_ms >= settings.proof_s * 1000:
                doing += self._failed(order, now_ms)
            elif not order.is_heard and now_ms >= self._again_ms(order):
                order.resends += 1
                # Without a number it could not be queued, or we were ended before.
                doing.append(Sound(order=order, is_new=order.number == 0))
        return doing

    def due_ms(self) -> int | None:
        """When `step` is of use."""
        times = [order.sent_ms + self._settings.proof_s * 1000 for order in self.orders]
        times += [self._again_ms(order) for order in self.orders if not order.is_heard]
        return round(min(times)) if times else None

    def _again_ms(self, order: Order) -> float:
        """Soon at first, for people wait; then rarer, for a gateway that sends hears nothing."""
        return order.sent_ms + ((2 << order.resends) - 1) * self._settings.answer_s * 1000

    def _failed(self, order: Order, now_ms: int) -> list[Do]:
        is_old = now_ms - order.made_ms > self._settings.max_age_s * 1000
        if order.tries < _TRIES and not is_old:
            order.tries += 1
            order.resends = order.number = 0
            order.sent_ms = now_ms
            order.is_heard = False
            return [Sound(order=order, is_new=True)]
        self.orders.remove(order)
        self.counters["failed"] += 1
        busy = {one.siren for one in self.orders}
        left = [] if is_old else [one for one in order.backup if one != order.siren]
        doing: list[Do] = []
        if left:
            following = Order(
                left[0],
                order.pattern,
                order.duration_s,
                order.level,
                order.gauge,
                order.incident,
                order.made_ms,
                left[1:],
            )
            # One that sounds already, for this or another gauge, is no second siren to order.
            doing += self._open(following, now_ms) if left[0] not in busy else []
        doing.append(Tell(alarm=self._silent(order, left[0] if left else "", now_ms)))
        return doing

    def _silent(self, order: Order, following: str, now_ms: int) -> Alarm:
        before = self.silent.get(order.siren)
        level = 2 if following else 3
        event = RAISED if before is None else ESCALATED
        if before is None:
            before = f"{order.siren}/siren-silent/{now_ms}", level
        incident, level = before[0], max(before[1], level)
        self.silent[order.siren] = incident, level
        text_id = f"Sirene {order.siren} tidak terbukti berbunyi. "
        text_en = f"Siren {order.siren} gave no proof of sound. "
        if following:
            text_id += f"Sirene {following} diperintahkan."
            text_en += f"Siren {following} is ordered instead."
        else:
            place = order.gauge or order.siren
            text_id += f"Kirim orang ke {place} sekarang: warga belum diperingatkan."
            text_en += f"Send a person to {place} now: nobody there has been warned."
        return self._alarm(order.siren, event, level, incident, now_ms, (text_id, text_en))

    def _mended(self, siren: str, now_ms: int) -> list[Do]:
        before = self.silent.pop(siren, None)
        if before is None:
            return []
        texts = (f"Sirene {siren} berbunyi lagi.", f"Siren {siren} sounds again.")
        return [Tell(alarm=self._alarm(siren, CLEARED, 0, before[0], now_ms, texts))]

    def _alarm(
        self,
        siren: str,
        event: str,
        level: int,
        incident: str,
        now_ms: int,
        texts: tuple[str, str],
    ) -> Alarm:
        return Alarm(
            incident=incident,
            device=self._by_name[siren].device or siren,
            kind="siren-silent",
            event=event,
            level=level,
            name="siren silent",
            time_ms=now_ms,
            decided_ms=now_ms,
            sequence=0,
            values={},
            text_id=texts[0],
            text_en=texts[1],
        )
