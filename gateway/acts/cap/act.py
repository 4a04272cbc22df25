"""CAP alerts as an act: `CapAct`. It issues, signs, keeps, publishes and delivers.

A message exists once it and the state that made it are in the ledger, in one transaction; then it
is written as a file and posted. Whatever of that a crash cuts off is done after the restart. With
a disk that takes nothing the message is still posted and served, and written as soon as it can be.
"""

import asyncio
import contextlib
import json
import logging
import random
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

from gateway.acts.cap.acknowledge import Acknowledger
from gateway.acts.cap.feed import build_feed
from gateway.acts.cap.folder import FEED, Folder
from gateway.acts.cap.incident import Draft, Incidents, Moment
from gateway.acts.cap.message import Place, build, stamp
from gateway.acts.cap.outbox import OBSOLETE, WAITING, Delivery, Issued, Outbox
from gateway.acts.cap.server import CapServer
from gateway.acts.cap.settings import CapSettings
from gateway.acts.cap.signing import Signer, warm_up
from gateway.acts.cap.social import social_text
from gateway.acts.cap.webhook import RefusedError, Webhook, envelope
from gateway.acts.cap.words import EN, ID, texts
from gateway.acts.part import Act, CommandHandler, Context
from gateway.clock import now_ms, tick_ms
from gateway.ledger.schema import LedgerFullError
from gateway.ledger.store import Store
from gateway.model import Alarm
from gateway.rules.stages import Site
from gateway.service import together

log = logging.getLogger("tukad.cap")

_INCIDENTS, _OUTBOX, _SLOT = "act/cap/incidents", "act/cap/outbox", "act/cap/message/"
_TICK_S = 1.0
_SYNC_S_MAX = 30.0
_WORDS_MAX = 120


class CapAct(Act):
    """See the module's docstring. Raises ConfigError when a key or a secret cannot be read."""

    name = "cap"

    def __init__(self, context: Context, settings: CapSettings) -> None:
        gateway = context.settings.gateway
        self._context = context
        self._settings = settings
        folder = context.file.parent  # a default is not yet a path from there
        self._signer = Signer.load(folder / settings.key_file, folder / settings.certificate)
        versions = {
            name: " ".join(word for word in (one.version, one.set_on, one.set_by) if word)
            for name, one in context.settings.stages().items()
        }
        position = None
        if gateway.latitude_deg is not None and gateway.longitude_deg is not None:
            position = (gateway.latitude_deg, gateway.longitude_deg)
        site = Site(utc_offset_h=gateway.utc_offset_h, zone=gateway.zone)
        self._place = Place(name=context.site, site=site, position=position, versions=versions)
        self._incidents = Incidents(settings)
        self.outbox = Outbox(settings.receiver)
        self._webhooks = {one.name: Webhook(one) for one in settings.receiver}
        self.messages: list[Issued] = []  # newest first
        self._folder = Folder(context.data_dir / "cap")
        self._feed = b""
        self._lock = asyncio.Lock()  # issuing, and the ledger's copy of it
        self._sync_lock = asyncio.Lock()
        self._news = {name: asyncio.Event() for name in self._webhooks}
        self._unsaved: list[Issued] = []
        self._is_unsaved = False
        self._is_unsynced = True
        self._sync_tick_ms = 0  # not before
        self._sync_tries = 0
        self._file_error = ""
        self._feed_error = ""
        self._started_ms = tick_ms()
        self._floor_ms = 0  # the wall clock cannot be earlier
        self._counts = dict.fromkeys(("issued", "posted", "post_errors"), 0)
        self._acks = Acknowledger(self.outbox, context, self._settings)
        self.server = CapServer(
            settings.bind,
            self._content,
            self.acknowledge,
            {name: one.credentials for name, one in self._webhooks.items()},
        )
        context.ledger.call(self._load)
        context.messages.subscribe("cap/ack", self._acks.from_mqtt(self._kick))

    # What survives a restart

    def _load(self, store: Store) -> None:
        found = (store.get_state(f"{_SLOT}{slot}") for slot in range(self._settings.keep))
        self.messages = sorted((Issued(**one) for one in found if one), key=lambda one: -one.number)
        self._floor_ms = max((one.sent_ms for one in self.messages), default=0)
        self._feed = self._build_feed()
        state: Any = store.get_state(_INCIDENTS)
        if state is not None:
            self._incidents.restore(state)
        deliveries: Any = store.get_state(_OUTBOX)
        if deliveries is not None:
            self.outbox.restore(deliveries, now_ms(), tick_ms())

    async def _persist(self) -> bool:
        """Bring the ledger up to date; False while the disk takes nothing. Hold the lock."""
        incidents, deliveries = self._incidents.to_state(), self.outbox.to_state()
        fresh = list(self._unsaved)

        def keep(store: Store) -> None:
            store.set_state(_INCIDENTS, incidents)
            store.set_state(_OUTBOX, deliveries)
            for one in fresh:
                store.set_state(f"{_SLOT}{one.number % self._settings.keep}", asdict(one))

        self._is_unsaved = True
        try:
            await self._context.ledger.write(keep)
        except LedgerFullError:
            return False
        self._unsaved = [one for one in self._unsaved if one not in fresh]
        self._is_unsaved = False
        return True

    # Alarms

    async def handle(self, number: int, alarm: Alarm) -> None:
        """Issue what the alarm asks for; it is safe, or at least on its way, on return."""
        if alarm.kind == self._acks.kind:
            return
        async with self._lock:
            before = self._incidents.to_state()
            try:
                drafts = self._incidents.feed(alarm, self._moment(), is_stored=number != 0)
                issued = [await self._issue(draft) for draft in drafts]
            except BaseException:
                self._incidents.restore(before)  # the alarm comes again
                raise
            if issued or self._incidents.to_state() != before:
                await self._publish(issued)
        if issued:
            await self._sync()

    async def _reissue(self) -> None:
        async with self._lock:
            before = self._incidents.to_state()
            try:
                drafts = self._incidents.due(self._moment())
                issued = [await self._issue(draft) for draft in drafts]
            except BaseException:
                self._incidents.restore(before)
                raise
            if issued:
                await self._publish(issued)
        if issued:
            await self._sync()

    def _moment(self) -> Moment:
        """Now. A clock that nobody has set is no earlier than what it said before."""
        is_set = self._context.clock.time_source() != "unknown"
        time_ms = now_ms()
        if not is_set:
            time_ms = max(time_ms, self._floor_ms + tick_ms() - self._started_ms)
        return Moment(time_ms, is_set)

    async def _issue(self, draft: Draft) -> Issued:
        settings, place = self._settings, self._place
        alert = build(draft, settings, place)
        xml = await asyncio.to_thread(self._signer.sign, alert)
        words = {one: texts(draft, settings, place.site, one) for one in (ID, EN)}
        offset_h = place.site.utc_offset_h
        sent = stamp(draft.sent_ms, offset_h)
        label = sent[:19].replace("-", "").replace(":", "")
        return Issued(
            number=0,
            stem=f"{label}-{draft.identifier[-12:]}",
            identifier=draft.identifier,
            incident=draft.incident,
            topic=draft.topic.name,
            msg_type=draft.msg_type,
            status=draft.status,
            scope=draft.topic.scope,
            sent=sent,
            sent_ms=draft.sent_ms,
            expires=stamp(draft.expires_ms, offset_h),
            expires_ms=draft.expires_ms,
            references=len(draft.references),
            level=draft.level,
            needs_ack=draft.needs_ack,
            headline_id=words[ID].headline,
            headline_en=words[EN].headline,
            description_id=words[ID].description,
            social=social_text(alert),
            xml=xml.decode(),
        )

    async def _publish(self, issued: Sequence[Issued]) -> None:
        """Number the messages, plan who gets them, make it durable and wake the senders."""
        new: list[Issued] = []
        for one in issued:
            newest = self.messages[0].number if self.messages else 0
            numbered = replace(one, number=newest + 1)
            new.append(numbered)
            self.messages.insert(0, numbered)
            self._unsaved.append(numbered)
            self.outbox.plan(numbered, now_ms(), tick_ms())
            self._counts["issued"] += 1
            log.warning(
                "cap.issued type=%s status=%s level=%d incident=%s references=%d bytes=%d",
                one.msg_type,
                one.status,
                one.level,
                one.incident,
                one.references,
                len(one.xml),
            )
        del self.messages[self._settings.keep :]
        if new:
            self.outbox.tidy(self.messages[-1].number, now_ms())
            self._feed = self._build_feed()
            self._is_unsynced = True
            self._sync_tick_ms = 0
        await self._persist()
        self._kick()
        for one in new:
            text = json.dumps(envelope(one), ensure_ascii=False)
            self._context.messages.publish("cap/alert", text.encode())

    def _build_feed(self) -> bytes:
        site = self._place.site
        return build_feed(self.messages, self._settings, self._place.name, site.utc_offset_h)

    def _kick(self) -> None:
        for event in self._news.values():
            event.set()

    # Files

    async def _sync(self) -> None:
        """Bring the files up to date; what fails is tried again by the ticker."""
        async with self._sync_lock:
            if not self._is_unsynced or tick_ms() < self._sync_tick_ms:
                return
            messages, feed = list(self.messages), self._feed
            try:
                await asyncio.to_thread(self._folder.sync, messages, feed)
            except OSError as error:
                self._sync_tries += 1
                pause_s = min(2.0 ** min(self._sync_tries - 1, 10), _SYNC_S_MAX)
                self._sync_tick_ms = tick_ms() + round(pause_s * 1000)
                if not self._file_error:
                    log.error("cap.files folder=%s error=%r", self._folder.path, str(error))
                self._file_error = str(error)
                return
            self._sync_tries = 0
            self._file_error = ""
            self._is_unsynced = feed is not self._feed

    def _content(self, name: str) -> tuple[str, bytes] | None:
        """What the server serves: the feed, public alerts and our certificate."""
        if name in ("", FEED):
            return "application/atom+xml", self._feed
        if name == "cap.crt":
            return "application/x-pem-file", self._signer.pem
        stem, _, ending = name.rpartition(".")
        for one in self.messages:
            if one.stem == stem and one.scope == "Public":
                if ending == "xml":
                    return "application/cap+xml", one.xml.encode()
                if ending == "txt":
                    return "text/plain", one.social.encode()
        return None

    # Work of its own

    async def run(self) -> None:
        """Serve, deliver, re-issue, escalate, until cancelled."""
        await asyncio.to_thread(warm_up)
        try:
            works = [self._tick(), *map(self._deliver, self._webhooks.values())]
            if self._settings.bind:
                works.append(self._serve())
            await together(*works)
        finally:
            for webhook in self._webhooks.values():
                await webhook.close()

    async def _tick(self) -> None:
        while True:
            for one in await asyncio.to_thread(self._folder.take_acks):
                if "end" in one:
                    await self._end_by_file(one)
                else:
                    self._acks.take(one)
            await self._reissue()
            async with self._lock:
                if self._acks.check(self.messages, now_ms(), tick_ms()):
                    self._kick()
                    self._is_unsaved = True
                if self._is_unsaved:
                    await self._persist()
            await self._sync()
            await asyncio.sleep(_TICK_S)

    async def _serve(self) -> None:
        while True:
            try:
                await self.server.start()
                self._feed_error = ""
                await asyncio.Event().wait()
            except OSError as error:
                self._feed_error = f"{error.strerror or error}"
                log.warning("cap.bind bind=%s error=%r", self._settings.bind, str(error))
                await asyncio.sleep(_SYNC_S_MAX)
            finally:
                await self.server.stop()

    async def _deliver(self, webhook: Webhook) -> None:
        """Post what is due to one receiver, oldest first, for ever."""
        name = webhook.receiver.name
        news = self._news[name]
        while True:
            due_ms = self.outbox.next_tick_ms(name)
            wait_s = None if due_ms is None else max(0, due_ms - tick_ms()) / 1000
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await news.wait()
            news.clear()
            for delivery in self.outbox.due(name, tick_ms()):
                if delivery.state == WAITING and not await self._post(webhook, delivery):
                    break

    async def _post(self, webhook: Webhook, delivery: Delivery) -> bool:
        """One try; False if the line to the receiver is dead."""
        message = next((one for one in self.messages if one.number == delivery.number), None)
        if message is None:
            delivery.state = OBSOLETE
            return True
        try:
            by = await webhook.post(message)
        except (RefusedError, OSError) as error:
            is_line = isinstance(error, OSError)
            if not delivery.error:
                log.warning("cap.post receiver=%s error=%r", delivery.receiver, str(error))
            jitter = random.random()
            self.outbox.failed(delivery, str(error), tick_ms(), jitter, is_line=is_line)
            self._counts["post_errors"] += 1
            return not is_line
        self.outbox.succeeded(delivery)
        self._counts["posted"] += 1
        if by is not None:
            self._acks.note(delivery.identifier, delivery.receiver, by)
        async with self._lock:
            await self._persist()
        return True

    async def acknowledge(self, identifier: str, receiver: str, by: str) -> bool:
        """Somebody has seen a message; on disk when this returns. False: no such message."""
        if not self._acks.note(identifier, receiver, by):
            return False
        async with self._lock:
            await self._persist()
        return True

    # A person ends what no gauge can end any more

    async def end(self, request: Mapping[str, Any]) -> Mapping[str, Any]:
        """Cancel an incident, or take one gauge out of it: incident, device, by, reason.

        Raises ValueError with one line for the person who asked.
        """
        words = {key: request.get(key, "") for key in ("incident", "device", "by", "reason")}
        for key, value in words.items():
            if not isinstance(value, str) or len(value) > _WORDS_MAX:
                raise ValueError(f"{key} is a text of at most {_WORDS_MAX} characters")
            if not value.strip() and key != "device":
                raise ValueError(f"{key} is missing")
        incident, device, by, reason = words.values()
        what = device or "pos"
        why = (
            f"{what}: peringatan diakhiri petugas {by}: {reason}.",
            f"{device or 'gauge'}: the alert was ended by {by}: {reason}.",
        )
        async with self._lock:
            before = self._incidents.to_state()
            try:
                drafts = self._incidents.end(incident, device, why, self._moment())
                issued = [await self._issue(draft) for draft in drafts]
            except KeyError:
                lasting = ", ".join(self._incidents.lasting) or "none"
                known = self._incidents.members_of(incident)
                problem = (
                    f"{device}: is not in {incident}; there are: {', '.join(known)}"
                    if known
                    else f"{incident}: no such incident lasts; there are: {lasting}"
                )
                raise ValueError(problem) from None
            except BaseException:
                self._incidents.restore(before)
                raise
            await self._publish(issued)
        await self._sync()
        log.warning("cap.ended incident=%s device=%r by=%r", incident, device, by)
        return {"incident": incident, "messages": [one.identifier for one in issued]}

    async def _end_by_file(self, one: Mapping[str, Any]) -> None:
        try:
            await self.end({**one, "incident": one["end"]})
        except ValueError as error:
            log.warning("cap.end_refused why=%r", str(error))

    def commands(self) -> Mapping[str, tuple[str, CommandHandler]]:
        """`cap.end`, signed by an operator."""
        return {"end": ("operator", self.end)}

    # Health

    def faults(self) -> Mapping[tuple[str, str], str]:
        """What waits for the internet, for a person or for the disk."""
        found: dict[tuple[str, str], str] = {}
        for name, webhook in self._webhooks.items():
            waiting = [
                one
                for one in self.outbox.deliveries
                if one.receiver == name and one.state == WAITING and one.error
            ]
            person = f"; call {webhook.receiver.person}" if webhook.receiver.person else ""
            if waiting:
                found["cap.waiting", name] = (
                    f"{len(waiting)} alerts wait for the internet or the receiver:"
                    f" {waiting[-1].error}{person}"
                )
            if any(one.has_escalated for one in self._acks.missing(name)):
                found["cap.unacknowledged", name] = f"an alert is not acknowledged{person}"
        if self._file_error:
            path = self._folder.path
            found["cap.files", str(path)] = f"{self._file_error}; free some space"
        if self._feed_error:
            bind = self._settings.bind
            found["cap.feed", bind] = f"{self._feed_error}; is [cap] bind in use?"
        return found

    def counters(self) -> Mapping[str, int]:
        """Messages issued, posted, acknowledged; requests refused; what waits."""
        waiting = sum(one.state == WAITING for one in self.outbox.deliveries)
        return {
            **self._counts,
            "acknowledged": self._acks.count,
            "late": self._incidents.late,
            "refused_requests": self.server.refused,
            "now_waiting": waiting,
            "now_incidents": len(self._incidents.lasting),
        }


__all__ = ["CapAct"]
