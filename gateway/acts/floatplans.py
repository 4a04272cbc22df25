"""Float plans as files and messages: `parse_plan`, `read_plans`, `FloatPlanFile`.

A plan is {"vessel", "return", and as wanted "id", "depart", "grace_min", "contact"}; times are ISO
8601 with a zone. Files are JSON (a list of plans) or CSV with these names as header.
"""

import csv
import io
import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

from gateway.rules.vessels import Plan

FIELDS: tuple[str, ...] = ("id", "vessel", "depart", "return", "grace_min", "contact")
_PLANS_MAX = 5000


class PlanError(ValueError):
    """A plan that cannot be understood; says which field and what was expected."""


def parse_time(text: object, name: str) -> int:
    """Unix milliseconds of an ISO 8601 time with its zone. Raises PlanError."""
    try:
        time = datetime.fromisoformat(str(text).strip())
    except ValueError:
        time = None
    if time is None or time.tzinfo is None:
        raise PlanError(f"{name} = {text!r} is no time with a zone, such as 2026-09-10T18:00+08:00")
    return round(time.timestamp() * 1000)


def parse_plan(item: object, now_ms: int) -> Plan:
    """A plan from JSON or a row of CSV. Raises PlanError."""
    if not isinstance(item, Mapping):
        raise PlanError("a plan is an object with vessel and return")
    table = {str(k): v for k, v in cast("Mapping[Any, Any]", item).items() if v not in (None, "")}
    unknown = sorted(set(table) - set(FIELDS))
    if unknown:
        raise PlanError(f"no such field: {unknown[0]}; there are: {', '.join(FIELDS)}")
    for name in ("vessel", "return"):
        if name not in table:
            raise PlanError(f"{name} is missing")
    depart = parse_time(table["depart"], "depart") if "depart" in table else now_ms
    back = parse_time(table["return"], "return")
    try:
        grace = int(table.get("grace_min", 60))
    except (TypeError, ValueError):
        raise PlanError(f"grace_min = {table['grace_min']!r} is no number of minutes") from None
    vessel = str(table["vessel"])[:64]
    plan_id = str(table.get("id", f"{vessel}-{back // 60_000}"))[:64]
    return Plan(plan_id, vessel, depart, back, grace, str(table.get("contact", ""))[:200])


def read_plans(content: bytes, name: str, now_ms: int) -> list[Plan]:
    """The plans of a file; `name` says by its end whether it is CSV. Raises PlanError."""
    try:
        text = content.decode("utf-8-sig")
        if name.endswith(".csv"):
            items: list[Any] = list(csv.DictReader(io.StringIO(text)))
        else:
            items = json.loads(text)
    except ValueError as error:
        raise PlanError(f"cannot be read: {error}") from None
    if not isinstance(cast("object", items), list) or len(items) > _PLANS_MAX:
        raise PlanError(f"expected a list of at most {_PLANS_MAX} plans")
    plans: list[Plan] = []
    for number, item in enumerate(items, 1):
        try:
            plans.append(parse_plan(item, now_ms))
        except PlanError as error:
            raise PlanError(f"plan {number}: {error}") from None
    return plans


def as_item(plan: Plan) -> dict[str, Any]:
    """A plan as it is written in a file."""
    item = asdict(plan)
    times = {"depart": item.pop("depart_ms"), "return": item.pop("return_ms")}
    return item | {
        name: datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="minutes")
        for name, ms in times.items()
    }


class FloatPlanFile:
    """The file: `changed` when it is another than last time, `write` as a whole or not at all."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._stamp: tuple[int, int] | None = None

    def changed(self, now_ms: int) -> list[Plan] | None:
        """The plans, if the file changed since the last call. Raises PlanError or OSError."""
        try:
            stat = self.path.stat()
        except FileNotFoundError:
            return None
        stamp = stat.st_mtime_ns, stat.st_size
        if stamp == self._stamp:
            return None
        self._stamp = stamp
        return self.read(now_ms)

    def read(self, now_ms: int) -> list[Plan]:
        """The plans now; none without a file. Raises PlanError or OSError."""
        try:
            return read_plans(self.path.read_bytes(), self.path.name, now_ms)
        except FileNotFoundError:
            return []

    def write(self, plans: list[Plan]) -> None:
        """Replace the file. Raises OSError."""
        items = [as_item(one) for one in plans]
        if self.path.name.endswith(".csv"):
            out = io.StringIO()
            writer = csv.DictWriter(out, FIELDS)
            writer.writeheader()
            writer.writerows(items)
            text = out.getvalue()
        else:
            text = json.dumps(items, indent=1) + "\n"
        self.path.parent.mkdir(parents=True, exist_ok=True)
        number, name = tempfile.mkstemp(dir=self.path.parent, prefix=".plans-")
        with os.fdopen(number, "w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(self.path)
