"""Registering devices: `record_of`, `enrol`, `synchronise`, for the agent and the command line."""

import logging
import sqlite3
from pathlib import Path

from gateway.lorawan.config import DeviceEntry, SettingError
from gateway.lorawan.keys import DeviceKeys, Key, read_key_file
from gateway.lorawan.plan import RadioPlan
from gateway.lorawan.records import DeviceRecord, Session
from gateway.lorawan.sessions import SessionStore

log = logging.getLogger("tukad.lorawan")


def keys_of(entry: DeviceEntry, base: Path | None = None) -> DeviceKeys:
    """The keys in an entry's file, which is relative to `base`; checks that they suit it."""
    if entry.keys is None:
        raise SettingError(f"device {entry.name}: keys is missing: the path of its key file")
    path = entry.keys if base is None else base / entry.keys
    keys = read_key_file(path)
    if path.stat().st_mode & 0o077:
        log.warning("lorawan.key_file_readable path=%s others may read it: chmod 600", path)
    if entry.activation == "otaa" and keys.app_key is None:
        raise SettingError(f"device {entry.name}: key file {path} has no app_key (OTAA needs it)")
    if entry.activation == "abp" and (keys.nwk_s_key is None or keys.app_s_key is None):
        raise SettingError(
            f"device {entry.name}: key file {path} needs nwk_s_key and app_s_key (ABP)"
        )
    return keys


def record_of(entry: DeviceEntry, app_key: Key | None, origin: str, added_ms: int) -> DeviceRecord:
    """The store's record of a new device."""
    return DeviceRecord(
        dev_eui=entry.dev_eui,
        name=entry.name,
        join_eui=entry.join_eui,
        app_key=app_key if entry.activation == "otaa" else None,
        activation=entry.activation,
        device_class=entry.device_class,
        dev_nonce_rule=entry.dev_nonce,
        kind=entry.kind,
        decoder=entry.decoder,
        codec=str(entry.codec) if entry.codec else "",
        origin=origin,
        added_ms=added_ms,
    )


def enrol(
    store: SessionStore,
    plan: RadioPlan,
    entry: DeviceEntry,
    keys: DeviceKeys,
    origin: str,
    now_ms: int,
) -> None:
    """Add or change a device inside the caller's transaction. Raises SettingError."""
    known = store.device(entry.name)
    if known is not None and known.dev_eui != entry.dev_eui:
        raise SettingError(f"device name {entry.name!r} belongs to {known.dev_eui} already")
    store.save_device(record_of(entry, keys.app_key, origin, now_ms))
    if entry.activation != "abp":
        return
    assert keys.nwk_s_key is not None
    assert keys.app_s_key is not None
    try:
        dev_addr = int(entry.dev_addr, 16)
    except ValueError:
        raise SettingError(
            f"device {entry.name}: dev_addr = {entry.dev_addr!r}: expected 8 hex digits"
        ) from None
    for session in store.sessions():
        if (
            session.dev_eui == entry.dev_eui
            and session.dev_addr == dev_addr
            and session.nwk_s_key == keys.nwk_s_key
        ):
            return  # its counters go on
    store.drop_sessions(entry.dev_eui, -1)
    store.save_session(
        Session(
            dev_eui=entry.dev_eui,
            number=0,
            dev_addr=dev_addr,
            nwk_s_key=keys.nwk_s_key,
            app_s_key=keys.app_s_key,
            joined_ms=now_ms,
            mac=plan.personalised,
        )
    )


def synchronise(
    store: SessionStore,
    plan: RadioPlan,
    entries: tuple[DeviceEntry, ...],
    now_ms: int,
    base: Path | None = None,
) -> None:
    """Make the store's configured devices those of the configuration, all or none.

    Devices added by hand stay. Raises SettingError for a bad key file or a name taken twice.
    """
    keys = [(entry, keys_of(entry, base)) for entry in entries]
    wanted = {entry.dev_eui for entry in entries}
    try:
        with store.transaction():
            for device in store.devices():
                if device.origin == "config" and device.dev_eui not in wanted:
                    store.remove_device(device.dev_eui)
            for entry, found in keys:
                enrol(store, plan, entry, found, "config", now_ms)
    except sqlite3.IntegrityError as error:
        raise SettingError(f"devices cannot be registered: {error}") from None
