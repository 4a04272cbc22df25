"""Devices and frames in words, for the command line; never with keys.

`age`, `battery`, `public`, `device_rows`, `frame_line`.
"""

import time
from dataclasses import fields
from datetime import UTC, datetime
from typing import Any

from gateway.lorawan.records import DeviceRecord, LoggedFrame, Session

_HIDDEN = frozenset({"app_key", "nwk_s_key", "app_s_key", "last_mic", "mac"})


def age(time_ms: int, now_ms: int | None = None) -> str:
    """How long ago, as people say it."""
    if not time_ms:
        return "never"
    seconds = max((now_ms or time.time_ns() // 1_000_000) - time_ms, 0) // 1000
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= size * (2 if unit == "d" else 1):
            return f"{seconds // size} {unit} ago"
    return f"{seconds} s ago"


def battery(session: Session | None) -> str:
    """The battery as the device told it, empty if it did not."""
    level = session.mac.battery if session else -1
    if level == 0:
        return "mains"
    return f"{round(level / 2.54)} %" if 1 <= level <= 254 else ""


def public(device: DeviceRecord, session: Session | None) -> dict[str, Any]:
    """A device and its session as plain values, everything but keys."""
    value: dict[str, Any] = {
        one.name: getattr(device, one.name) for one in fields(device) if one.name not in _HIDDEN
    }
    if session is not None:
        value["session"] = {
            one.name: getattr(session, one.name)
            for one in fields(session)
            if one.name not in _HIDDEN
        } | {"mac": session.mac.to_json()}
    return value


def device_rows(device: DeviceRecord, session: Session | None) -> list[tuple[str, str]]:
    """A device and its session as (label, text)."""
    rows: list[tuple[str, str]] = [
        ("device", f"{device.name}  (from {device.origin})"),
        ("DevEUI", device.dev_eui),
        ("JoinEUI", device.join_eui),
        ("class", f"{device.device_class}, {device.activation.upper()}"),
        ("DevNonce", f"{device.dev_nonce_rule}, last {device.dev_nonce}"),
    ]
    if device.decoder or device.codec or device.kind:
        rows.append(("decoded by", device.decoder or device.codec or device.kind))
    if session is None:
        rows.append(("session", "none: it has not joined yet"))
    else:
        rows += _session_rows(session)
    return rows


def _session_rows(session: Session) -> list[tuple[str, str]]:
    mac = session.mac
    heard = session.f_cnt_up >= 0
    rows = [
        ("DevAddr", f"{session.dev_addr:08x}, joined {age(session.joined_ms)}"),
        ("heard", f"{age(session.seen_ms)} by {session.gateway}" if heard else "not yet"),
        ("counters", f"up {session.f_cnt_up}, next down {session.f_cnt_down}"),
        (
            "radio",
            f"DR{mac.dr}, power step {mac.power_index}, {mac.nb_trans} transmissions, "
            f"ADR {'on' if mac.adr else 'off'}",
        ),
        (
            "windows",
            f"RX1 after {mac.rx1_delay_s} s, RX2 on {mac.rx2_freq_hz / 1e6:g} MHz DR{mac.rx2_dr}",
        ),
    ]
    if mac.battery >= 0:
        rows.append(("status", f"battery {battery(session) or '?'}, margin {mac.margin_db} dB"))
    if mac.attempts:
        asked = ", ".join(f"{cid:#04x} {tries} times" for cid, tries, _ in mac.attempts)
        rows.append(("unanswered", asked))
    return rows


def frame_line(frame: LoggedFrame, names: dict[str, str]) -> str:
    """One line of the frame log; `names` by DevEUI."""
    when = datetime.fromtimestamp(frame.time_ms / 1000, UTC).astimezone()
    parts = [
        f"{when:%Y-%m-%d %H:%M:%S}.{frame.time_ms % 1000:03d}",
        "→" if frame.direction == "down" else "←",
        f"{names.get(frame.dev_eui, frame.dev_eui):<16}",
        f"{frame.what:<7}",
        f"{frame.f_cnt:>6}" if frame.f_cnt >= 0 else "      ",
        f"port {frame.f_port:<3}" if frame.f_port >= 0 else "        ",
        f"{frame.size:>3} B",
        f"DR{frame.dr}",
        f"{frame.freq_hz / 1e6:7.3f} MHz",
    ]
    if frame.direction == "up":
        parts.append(f"{frame.rssi_dbm:4.0f} dBm {frame.snr_db:+5.1f} dB")
        parts.append(f"{frame.gateways} gw" if frame.gateways > 1 else "")
    else:
        parts.append(f"by {frame.gateway}")
    parts.append(frame.detail)
    return " ".join(part for part in parts if part).rstrip()
