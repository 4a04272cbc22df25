"""The device's program: `run()` never returns.

Watchdog, counters, settings, board, then the application of the provisioned role in a plain loop.
An exception that nobody expected is stored, and the board starts again; after three such
starts in a row it comes up in safe mode and sends nothing but its health.
"""

import gc
import sys
import time

import machine
from micropython import const

from firmware import events as ev
from firmware import hardware, start
from firmware.boards import Board, BoardError
from firmware.boards import load as load_board
from firmware.clock import Clock
from firmware.drivers.signals import SAFE
from firmware.events import Events
from firmware.hardware import ticks_ms
from firmware.net.aes import Aes
from firmware.net.lorawan import Network, entropy
from firmware.node import App, Node
from firmware.store.counters import Counters
from firmware.store.files import Files
from firmware.store.record import Record
from firmware.store.settings import Settings, SettingsError, SettingsStore
from protocols.lorawan.device import Device, Keys
from protocols.lorawan.device import Settings as DeviceSettings
from protocols.lorawan.regions import region
from protocols.payload.status import FAULT_SAFE_MODE, FAULT_STORE, RESET_COMMAND, RESET_CRASH
from protocols.ticks import ticks_diff

TYPE_CHECKING = False
if TYPE_CHECKING:
    from firmware.update.agent import Updates

_WATCHDOG_MS = const(8000)  # 8,388 is the most of an RP2040
_SLEEP_MS = const(5000)  # the longest sleep between two feeds
_SAFE_S = const(3600)  # then the application gets another try
_CRASH_FILE = "crash.txt"
_EVENTS_FILE = "crash.events"  # 9 bytes each, oldest first: uptime s, event, value (`>IBi`)


def run(root: str = "/") -> None:
    """Start the device whose files are below `root`."""
    watchdog = machine.WDT(timeout=_WATCHDOG_MS)
    files = Files(root)
    counters = Counters(files)
    if files.read("fresh", 0, 1) is not None:
        counters.crash_streak = 0  # another release than the one that crashed (docs/updates.md)
        files.remove("fresh")
    reason = start.note_start(counters)
    events = Events()
    try:
        settings, board = _wait_for_settings(files, watchdog)
        if settings.text("role") == "cabinet":
            # The conflict monitor shares nothing with the rest, its watchdog included.
            __import__("firmware.apps.cabinet", None, None, ("run",)).run(root)
        _Device(root, files, counters, events, settings, board, reason, watchdog).loop()
    except Exception as error:  # noqa: BLE001 - the one place: note it and start again
        sys.print_exception(error)
        _note_crash(files, error, events)
        start.reset(counters, RESET_CRASH)


def _note_crash(files: Files, error: Exception, events: Events) -> None:
    """Keep the reason and what went before it for a technician's console; never raises."""
    gc.collect()  # it may be memory that ran out, and the files need some
    try:
        files.write(_CRASH_FILE, (type(error).__name__ + ": " + str(error))[:200].encode())
        files.write(_EVENTS_FILE, events.dump())
    except Exception as again:  # noqa: BLE001 - nothing may keep us from starting again
        sys.print_exception(again)


def _wait_for_settings(files: Files, watchdog: "machine.WDT") -> "tuple[Settings, Board]":
    """Until a PC has provisioned us; nothing else can be done without keys."""
    said = ""
    while True:
        try:
            if files.read("settings.new", 0, 1) is not None:
                for copy in ("mount.a", "mount.b"):
                    files.remove(copy)  # a technician was here: it may hang another way now
            store = SettingsStore(files)
            settings = store.load()
            return settings, load_board(settings.text("board"))
        except (SettingsError, BoardError) as error:
            if str(error) != said:
                said = str(error)
                sys.stdout.write("settings: " + said + "\n")
        watchdog.feed()
        time.sleep_ms(2000)


class _Device:
    """One device from its settings on."""

    def __init__(
        self,
        root: str,
        files: Files,
        counters: Counters,
        events: Events,
        settings: Settings,
        board: Board,
        reason: int,
        watchdog: "machine.WDT",
    ) -> None:
        now_ms = ticks_ms()
        self._counters = counters
        self._watchdog = watchdog
        self._can_light_sleep = board.get("light_sleep") == 1
        self._is_safe = counters.crash_streak >= start.SAFE_STREAK
        hardware.power_up(board)
        clock = Clock(now_ms)
        events.note(0, ev.BOOT, reason)
        blinker = hardware.blinker(board)
        network = _network(files, settings, board)
        self.node = Node(
            settings,
            counters,
            events,
            clock,
            network,
            blinker,
            hardware.battery(board),
            hardware.contact(board, "supply"),
            reason,
            now_ms,
        )
        self.node.solar = hardware.solar(board)
        hardware.fit_body(board, self.node, files)
        watchdog.feed()
        if self._is_safe:
            events.note(0, ev.SAFE_MODE, counters.crash_streak)
            self.node.set_fault(FAULT_SAFE_MODE, True, now_ms)
            self.node.app.holds_signals = True  # whoever comes must see it, an hour later too
            blinker.show(SAFE, now_ms)
        else:
            self.node.app = _application(files, settings, board, self.node, now_ms)
        self._updates: "Updates | None" = None
        if files.read("release.pub", 0, 1) is not None:
            module = __import__("firmware.update.agent", None, None, ("Updates",))
            self._updates = module.Updates(root, watchdog.feed)
            self.node.updates = self._updates
        watchdog.feed()

    def loop(self) -> None:
        """Turn, feed, sleep; the watchdog is fed nowhere else."""
        node = self.node
        while True:
            now_ms = ticks_ms()
            node.step(now_ms)
            self._watchdog.feed()
            self._judge(now_ms)
            now_ms = ticks_ms()
            wait_ms = min(node.wait_ms(now_ms), _SLEEP_MS)
            if wait_ms <= 0:
                continue
            if node.app.is_active or not self._can_light_sleep:
                time.sleep_ms(wait_ms)  # the UART needs its clock
            else:
                machine.lightsleep(wait_ms)

    def _judge(self, now_ms: int) -> None:
        """Whether this start has proved itself, or must end."""
        node = self.node
        uptime_s = node.clock.uptime_s
        if self._is_safe:
            if uptime_s >= _SAFE_S:
                # One crash more brings safe mode back, one good start ends it.
                self._counters.crash_streak = start.SAFE_STREAK - 1
                start.reset(self._counters, RESET_COMMAND)
        elif self._counters.crash_streak and uptime_s >= start.SETTLED_S:
            self._counters.crash_streak = 0
            node.mark_counters()
        updates = self._updates
        if updates is not None and not self._is_safe and not node.network.is_busy(now_ms):
            is_flash_good = not node.faults & FAULT_STORE
            downlinks = node.network.device.downlinks
            if updates.step(uptime_s, downlinks, is_flash_good):
                start.reset(self._counters, RESET_COMMAND)
        if node.reboot_ms is not None and ticks_diff(now_ms, node.reboot_ms) >= 0:
            self._counters.crash_streak = start.SAFE_STREAK if node.reboot_safe else 0
            start.reset(self._counters, RESET_COMMAND)


def _network(files: Files, settings: Settings, board: Board) -> Network:
    """The LoRaWAN device and its radio."""
    plan = region(settings.text("region"))
    keys = Keys(settings.key("dev_eui"), settings.key("join_eui"), settings.key("app_key"))
    wishes = DeviceSettings()
    wishes.antenna_gain_db = board.get("radio_antenna_gain_db")
    wishes.power_max_dbm = board.get("radio_power_max_dbm")
    # Eleven commands open a window: 1 ms in the simulator, some 4 ms of a Pico's Python (20 times
    # GetStatus took 2.4 ms on an emulated one).
    wishes.wake_up_ms = 4
    wishes.sub_band = settings.integer("sub_band")
    wishes.strict_join_nonce = settings.integer("strict_join_nonce") == 1
    wishes.class_c = settings.text("role") in ("siren", "cabinet")
    device = Device(plan, Aes, Record(files, "lorawan"), entropy, keys, wishes)
    return Network(device, hardware.radio(board), plan.freq_min_hz, plan.freq_max_hz)


def _application(files: Files, settings: Settings, board: Board, node: Node, now_ms: int) -> App:
    """The role's application; imported only when it is the one."""
    role = settings.text("role")
    module = __import__("firmware.apps." + role, None, None, ("build",))
    return module.build(files, settings, board, node, now_ms)
