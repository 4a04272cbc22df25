"""The application's downlinks of each device, from queued to their end: `Queues`."""

from dataclasses import replace

from gateway.lorawan.model import DownlinkReport
from gateway.lorawan.radio import Instant
from gateway.lorawan.records import Queued
from gateway.lorawan.registry import Device
from gateway.lorawan.state import State


class Queues:
    """What waits, what was sent and awaits its acknowledgement, what became of it."""

    def __init__(self, state: State) -> None:
        self._state = state

    def next_item(self, device: Device, now: Instant) -> Queued | None:
        """The oldest downlink that may be sent; none while a confirmed one is on its way."""
        for item in device.queue:
            if item.f_cnt >= 0 and item.confirmed:
                return None
            # One that was sent, but whose outcome nobody saw (a restart), is sent again.
            is_ready = item.f_cnt < 0 or not device.in_flight
            if is_ready and item.expires_ms > now.unix_ms:
                return item
        return None

    def follow_clock(self, device: Device, step_ms: int) -> None:
        """The wall clock was set: what expires in an hour still does."""
        for item in device.queue:
            self.put_back(device, replace(item, expires_ms=item.expires_ms + step_ms))

    def put_back(self, device: Device, item: Queued) -> None:
        """Replace the record of a downlink that is still in the queue."""
        self._state.store.save_downlink(item)
        self._state.set_queue(device, [item if one.id == item.id else one for one in device.queue])

    def again(self, device: Device, item: Queued) -> None:
        """Put a downlink that did not leave back into the queue."""
        if any(one.id == item.id for one in device.queue):
            self.put_back(device, replace(item, tries=item.tries - 1, f_cnt=-1))

    def finish(self, device: Device, item: Queued, end: str, detail: str, now: Instant) -> None:
        """Take a downlink out of the queue and say what became of it."""
        state = self._state
        if all(one.id != item.id for one in device.queue):
            return
        state.store.take_downlink(item.id)
        state.set_queue(device, [one for one in device.queue if one.id != item.id])
        state.counters[f"queue_{end}"] += 1
        state.out.reports.append(
            DownlinkReport(item.id, device.record.name, end, detail, now.unix_ms)
        )

    def judge(self, device: Device, is_acked: bool, now: Instant) -> None:
        """A new uplink came: did it acknowledge the confirmed downlink that was sent?"""
        for item in device.queue:
            if item.f_cnt < 0 or not item.confirmed:
                continue
            if is_acked:
                device.ack_due_ms = None
                self.finish(device, item, "acked", "", now)
            elif device.record.device_class != "C":
                self.lost(device, item, now)
            return

    def lost(self, device: Device, item: Queued, now: Instant) -> None:
        """A confirmed downlink had no answer: once more, or its end."""
        if item.tries >= self._state.config.confirm_tries:
            self.finish(device, item, "not_acked", f"after {item.tries} tries", now)
            return
        self.put_back(device, replace(item, f_cnt=-1))
