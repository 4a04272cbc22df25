"""Frames on their way to a gateway's antenna, and what became of them: `Transmitter`.

The best gateway that is online and has airtime left gets a frame with its windows; if its front
end reports a failure, the next best gets the same frame while there is time.
"""

from dataclasses import replace
from functools import partial

from gateway.lorawan.model import DownlinkReport
from gateway.lorawan.queues import Queues
from gateway.lorawan.radio import SENT, Instant, Outcome, RadioFrame, Transmission, Window
from gateway.lorawan.records import LoggedFrame
from gateway.lorawan.state import InFlight, Outgoing, State, usable

_AGAIN_MS = 150  # a class C frame that found the gateway busy sending
_APART_MS = 100  # what two gateways may differ in when they begin to send


class Transmitter:
    """Chooses the gateway, keeps the airtime account, follows outcomes."""

    def __init__(self, state: State, queues: Queues) -> None:
        self._state = state
        self._queues = queues
        self._on_air: dict[int, int] = {}  # frequency -> until when (mono) class C is sent on it

    def class_c_free_ms(self, freq_hz: int) -> int:
        """When (mono) the next class C frame may be sent on a frequency.

        All sirens of a city listen on one: two orders at once, from two gateways, would destroy
        each other, and so would their repetitions.
        """
        return self._on_air.get(freq_hz, 0)

    def emit(self, outgoing: Outgoing, now: Instant) -> bool:
        """Give the frame to the best gateway that may send it; False if there is none."""
        counters = self._state.counters
        if not outgoing.windows:
            counters["answer_late"] += 1
            return False
        refused = "downlink_no_gateway"
        for index, frame in enumerate(outgoing.ranked):
            if frame.gateway not in self._state.online:
                continue
            allowed = self._allowed(outgoing, frame.gateway, now)
            if allowed:
                rest = replace(outgoing, ranked=outgoing.ranked[index + 1 :])
                self._launch(rest, frame, allowed, now)
                counters[f"down_{outgoing.what}"] += 1
                return True
            refused = "downlink_duty"
        counters[refused] += 1
        return False

    def _allowed(self, outgoing: Outgoing, gateway: str, now: Instant) -> list[Window]:
        """The windows for which the gateway has airtime left."""
        state, size = self._state, len(outgoing.phy)
        return [
            one
            for one in outgoing.windows
            if state.budget.may(
                gateway,
                one.freq_hz,
                state.plan.airtime_us(one, size),
                now.mono_ms,
                outgoing.is_urgent,
            )
        ]

    def _launch(
        self, outgoing: Outgoing, frame: RadioFrame, windows: list[Window], now: Instant
    ) -> None:
        state, device, first = self._state, outgoing.device, windows[0]
        airtime = state.plan.airtime_us(first, len(outgoing.phy))
        state.budget.spend(frame.gateway, first.freq_hz, airtime, now.mono_ms)
        state.on_undo(partial(state.budget.refund, frame.gateway, first.freq_hz, airtime))
        transmission = Transmission(
            id=state.number(),
            gateway=frame.gateway,
            phy=outgoing.phy,
            windows=tuple(windows),
            power_dbm=state.plan.power_dbm,
            context=frame.context,
            dev_eui=device.record.dev_eui,
            is_class_c=first.delay_s == 0,
        )
        if transmission.is_class_c:
            self._on_air[first.freq_hz] = now.mono_ms + airtime // 1000 + _APART_MS
        state.flights[transmission.id] = InFlight(transmission, outgoing, first.freq_hz, airtime)
        device.in_flight += 1
        state.on_undo(partial(self._forget, transmission.id))
        state.out.transmissions.append(transmission)
        state.store.log_frame(
            LoggedFrame(
                now.unix_ms,
                "down",
                device.record.dev_eui,
                outgoing.what,
                f_cnt=outgoing.f_cnt,
                f_port=outgoing.item.f_port if outgoing.item is not None else -1,
                size=len(outgoing.phy),
                dr=first.dr,
                sf=first.sf,
                freq_hz=first.freq_hz,
                gateway=frame.gateway,
                detail="" if len(windows) > 1 else "one window",
            )
        )

    def _land(self, number: int) -> InFlight | None:
        flight = self._state.flights.pop(number, None)
        if flight is not None:
            flight.outgoing.device.in_flight -= 1
        return flight

    def _forget(self, number: int) -> None:
        self._land(number)

    def outcome(self, outcome: Outcome, now: Instant) -> None:
        """What a front end reports of a transmission."""
        state = self._state
        flight = self._land(outcome.id)
        if flight is None:
            state.counters["outcome_unknown"] += 1
            return
        transmission = flight.transmission
        if outcome.state == SENT:
            self._sent(flight, transmission.windows[outcome.window], now)
            return
        state.budget.refund(transmission.gateway, flight.spent_hz, flight.spent_us)
        state.counters["down_failed"] += 1
        outgoing = flight.outgoing
        windows = list(transmission.windows)
        if not transmission.is_class_c:
            windows = usable(windows, outgoing.first_ms, now, state.config.lead_ms)
        again = replace(outgoing, windows=windows, what="retry")
        if windows and outgoing.ranked and self.emit(again, now):
            return
        if transmission.is_class_c:
            self._on_air.pop(flight.spent_hz, None)  # it was not sent
            outgoing.device.free_ms = now.mono_ms + _AGAIN_MS
        if outgoing.item is not None:
            self._queues.again(outgoing.device, outgoing.item)

    def _sent(self, flight: InFlight, window: Window, now: Instant) -> None:
        state = self._state
        device, item = flight.outgoing.device, flight.outgoing.item
        transmission = flight.transmission
        airtime = state.plan.airtime_us(window, len(transmission.phy))
        if (window.freq_hz, airtime) != (flight.spent_hz, flight.spent_us):
            state.budget.refund(transmission.gateway, flight.spent_hz, flight.spent_us)
            state.budget.spend(transmission.gateway, window.freq_hz, airtime, now.mono_ms)
        state.counters["down_sent"] += 1
        if window is not transmission.windows[0]:
            state.counters["down_second_window"] += 1
        if transmission.is_class_c:
            device.free_ms = now.mono_ms + airtime // 1000 + 100
        if item is None:
            return
        if not item.confirmed:
            self._queues.finish(device, item, "sent", "", now)
        elif any(one.id == item.id for one in device.queue):
            state.out.reports.append(
                DownlinkReport(
                    item.id, device.record.name, "sent", f"try {item.tries}", now.unix_ms
                )
            )
            if transmission.is_class_c:
                device.ack_due_ms = now.mono_ms + int(state.config.class_c_wait_s * 1000)
