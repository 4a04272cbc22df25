"""The act of section [open311]: `Open311Act`. Faults with a named cause become tickets."""

import asyncio
import logging
import random
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

from gateway.acts.open311.client import GeoReport, RefusedError
from gateway.acts.open311.settings import Open311Settings
from gateway.acts.open311.tickets import (
    ASK_TOKEN,
    CLOSE,
    FIND,
    LOOK,
    POST,
    Job,
    Ticket,
    Tickets,
    describe,
    has_key,
)
from gateway.acts.part import Act, Context
from gateway.clock import now_ms
from gateway.config import ConfigError
from gateway.ledger.schema import LedgerFullError
from gateway.model import Alarm
from gateway.rules.devices.causes import CAUSES

log = logging.getLogger("tukad.open311")

KEY = "act/open311/tickets"
_WINDOW_DAYS = 89  # GeoReport answers for at most 90
_FAILING = 3  # requests in a row before the server counts as away
_IDLE_S = 60.0


class Open311Act(Act):
    """Keeps the city's tickets as the faults are."""

    name = "open311"

    def __init__(
        self, settings: Open311Settings, context: Context, clock: Callable[[], int] = now_ms
    ) -> None:
        self._settings = settings
        self._context = context
        self._now = clock
        self.tickets = Tickets(settings, context.site)
        self._server = GeoReport(settings, _api_key(settings, context))
        self._places = _places(context)
        gateway = context.settings.gateway
        if not settings.address and gateway.site_e5() is None:
            raise ConfigError(
                f"{context.file}: open311: a ticket needs a place; set gateway.latitude_deg and"
                " longitude_deg, or open311.address"
            )
        self._zone = timezone(timedelta(hours=gateway.utc_offset_h))
        self._news = asyncio.Event()
        self._is_restored = False
        self._lock = asyncio.Lock()
        self._in_row = 0
        self._last_problem = ""
        self.counts = {"posted": 0, "adopted": 0, "closed": 0, "failed": 0, "refused": 0}

    async def handle(self, number: int, alarm: Alarm) -> None:
        """A fault began or ended: durable when this returns."""
        async with self._lock:
            await self._restore()
            if self.tickets.hear(alarm, self._now()):
                await self._save()
                self._news.set()

    async def _restore(self) -> None:
        if not self._is_restored:
            state: dict[str, Any] | None = await self._context.ledger.read(
                lambda store: store.get_state(KEY)
            )
            if state is not None:
                self.tickets.restore(state)
            self._is_restored = True

    async def _save(self) -> None:
        state = self.tickets.to_state()
        with suppress(LedgerFullError):
            await self._context.ledger.write(lambda store: store.set_state(KEY, state))

    async def run(self) -> None:
        """Send what is due until cancelled."""
        try:
            async with self._lock:
                await self._restore()
            while True:
                self._news.clear()
                if not await self.work():
                    due = self.tickets.next_ms()
                    wait_s = _IDLE_S if due is None else (due - self._now()) / 1000
                    with suppress(TimeoutError):
                        async with asyncio.timeout(min(max(wait_s, 0.01), _IDLE_S)):
                            await self._news.wait()
        finally:
            await self._server.close()

    async def work(self) -> bool:
        """Do one job that is due; False if there is none."""
        async with self._lock:
            job = self.tickets.next_job(self._now())
            if job is None:
                return False
            if job.what == POST:
                # On disk before the server can have it: after a kill we look before we post.
                self.tickets.posting(job.ticket)
                await self._save()
        try:
            answer = await self._ask(job)
        except RefusedError as refused:
            await self._settle(job, lambda refused=refused: self._refused(job, refused))
        except OSError as error:
            await self._settle(job, lambda error=error: self._failed(job.ticket, str(error)))
        else:
            await self._settle(job, lambda: self._done(job, answer))
        return True

    async def _settle(self, job: Job, apply: Callable[[], None]) -> None:
        """Take in what came of a job, unless its ticket is another by now."""
        async with self._lock:
            if self.tickets.tickets.get(job.ticket.key) is job.ticket:
                apply()
                await self._save()

    async def _ask(self, job: Job) -> str | tuple[str, str]:
        one = job.ticket
        if job.what == FIND:
            return await self._find(one)
        if job.what == POST:
            return await self._server.post(self._form(one))
        if job.what == ASK_TOKEN:
            return await self._server.token(one.token)
        if job.what == CLOSE:
            await self._server.update(self._closing(one))
            return ""
        return await self._server.status(one.request_id)

    async def _find(self, one: Ticket) -> str:
        """The number of an open ticket with this key at the server, or ""."""
        now = datetime.fromtimestamp(self._now() / 1000, self._zone)
        start = (now - timedelta(days=_WINDOW_DAYS)).isoformat(timespec="seconds")
        end = (now + timedelta(days=1)).isoformat(timespec="seconds")
        try:
            rows = await self._server.find(self._code(one), start, end)
        except RefusedError as refused:
            if refused.status in (404, 405, 501):
                return ""  # a server that lists nothing; it must know duplicates by itself
            raise
        for row in rows:
            if has_key(row.get("description", ""), one) and row.get("status", "open") == "open":
                return row.get("service_request_id", "")
        return ""

    # What came of it

    def _done(self, job: Job, answer: str | tuple[str, str]) -> None:
        one, now = job.ticket, self._now()
        self._in_row, self._last_problem = 0, ""
        if job.what == POST and isinstance(answer, tuple):
            self.counts["posted"] += 1
            log.info("open311.posted key=%s id=%s token=%s", one.key, *answer)
            self.tickets.accepted(one, *answer, now)
        elif isinstance(answer, str):
            if job.what == FIND:
                self.counts["adopted"] += bool(answer)
                self.tickets.found(one, answer, now)
            elif job.what == ASK_TOKEN:
                if answer:
                    self.tickets.accepted(one, answer, "", now)
                else:
                    self.tickets.failed(one, "the token has no number yet", now)
            elif job.what == CLOSE:
                self.counts["closed"] += 1
                log.info("open311.closed key=%s id=%s", one.key, one.request_id)
                self.tickets.closed(one)
            elif job.what == LOOK:
                self.tickets.looked(one, answer, now)

    def _refused(self, job: Job, refused: RefusedError) -> None:
        one, now = job.ticket, self._now()
        self._in_row = 0
        if job.what == POST and refused.is_duplicate:
            # It has one like it: ours, found in the next look, or another's at the same place.
            self.tickets.failed(one, str(refused), now)
            return
        if job.what == CLOSE and refused.status in (404, 405, 410, 501):
            self.tickets.refused_close(one)
            return
        self.counts["refused"] += 1
        self._last_problem = f"{refused}; check api_key_file, service_code and the place"
        log.warning("open311.refused key=%s job=%s error=%r", one.key, job.what, str(refused))
        self.tickets.failed(one, str(refused), now, patient=True)

    def _failed(self, one: Ticket, problem: str) -> None:
        self.counts["failed"] += 1
        self._in_row += 1
        if self._in_row == _FAILING:
            log.warning("open311.away error=%r; tickets wait", problem)
        self.tickets.failed(one, problem, self._now())
        one.due_ms += round(random.uniform(0, 300 * self._settings.retry_s))
        # One server: what failed for one ticket need not be tried at once for all others.
        for other in self.tickets.tickets.values():
            other.due_ms = max(other.due_ms, min(one.due_ms, self._now() + 60_000))

    # What is said

    def _code(self, one: Ticket) -> str:
        return self._settings.code_of(CAUSES[one.cause].group)

    def _when(self, time_ms: int) -> str:
        return datetime.fromtimestamp(time_ms / 1000, self._zone).isoformat(timespec="seconds")

    def _form(self, one: Ticket) -> dict[str, str]:
        settings = self._settings
        place = self._places.get(one.device) or self._context.settings.gateway.site_e5()
        form = {"service_code": self._code(one)}
        words = settings.address
        if place is not None:
            form |= {"lat": f"{place[0] / 1e5:.5f}", "long": f"{place[1] / 1e5:.5f}"}
            words = f"{settings.address} ({form['lat']}, {form['long']})".strip()
        if settings.address:
            form["address_string"] = settings.address
        form["description"] = describe(one, words, self._when(one.since_ms))
        form["device_id"] = one.key
        for attribute in settings.attributes:
            code, _, value = attribute.partition("=")
            form[f"attribute[{code}]"] = value
        for name in ("email", "first_name", "last_name", "phone"):
            if value := getattr(settings, name):
                form[name] = value
        return form

    def _closing(self, one: Ticket) -> dict[str, str]:
        at = datetime.fromtimestamp(one.ended_ms / 1000, UTC)
        return {
            "service_request_id": one.request_id,
            "update_id": one.update,
            "status": "CLOSED",
            "updated_datetime": at.isoformat(timespec="seconds"),
            "description": f"Gangguan selesai. The fault is over. [tukad:{one.key}]",
            "email": self._settings.email,
            "first_name": self._settings.first_name,
            "last_name": self._settings.last_name,
        }

    # Health

    def faults(self) -> Mapping[tuple[str, str], str]:
        """The server is away, or refuses."""
        if self._last_problem:
            return {("open311.refused", "open311"): self._last_problem}
        if self._in_row >= _FAILING:
            waiting = sum(one.failures > 0 for one in self.tickets.tickets.values())
            problem = next((t.problem for t in self.tickets.tickets.values() if t.problem), "")
            return {("open311.away", "open311"): f"{problem}; {waiting} tickets wait for it"}
        return {}

    def counters(self) -> Mapping[str, int]:
        """Tickets."""
        return self.counts | {"now_tickets": len(self.tickets.tickets)}


def _api_key(settings: Open311Settings, context: Context) -> str:
    if not settings.api_key_file:
        return ""
    path = context.file.parent / settings.api_key_file
    try:
        key = path.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{context.file}: open311.api_key_file = {path}: {error}") from None
    if not key:
        raise ConfigError(f"{context.file}: open311.api_key_file = {path}: is empty")
    return key


def _places(context: Context) -> dict[str, tuple[int, int]]:
    settings = context.settings
    named = [(one.name, one.latitude_deg, one.longitude_deg) for one in settings.device]
    for bus in settings.modbus:
        named += [(one.name, one.latitude_deg, one.longitude_deg) for one in bus.sensor]
    return {
        name: (round(lat * 1e5), round(lon * 1e5))
        for name, lat, lon in named
        if lat is not None and lon is not None
    }
