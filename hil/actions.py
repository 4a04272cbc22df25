"""What a scenario may do to its world: every entry of `hil.scenario.ACTIONS`, with its undoing.

Public: `schedule`.
"""

from collections.abc import Callable

from hil.nodes import Node
from hil.scenario import EventEntry
from hil.unix_target import UnixNode
from hil.world import World
from sim.kernel import SECOND
from sim.radio.floodnet import burst_loss
from sim.radio.medium import BurstLoss

_BURST_BAD_S = 120.0
Undo = Callable[[], object]


def schedule(world: World, event: EventEntry) -> None:
    """Put an event, its repetitions and their undoings into the simulation."""
    for i in range(event.times):
        at_us = round((event.at_s + i * event.every_s) * SECOND)
        world.sim.at(at_us, _begin, world, event)


def _begin(world: World, event: EventEntry) -> None:
    world.sim.record(event.node or "world", "event", do=event.do, value=event.value)
    undos: list[Undo] = []
    if event.do in _WORLD:
        undos.append(_WORLD[event.do](world, event))
    else:
        for node in world.select(event.node):
            undos.append(_NODE[event.do](world, node, event))
    if event.for_s:
        world.sim.after(round(event.for_s * SECOND), _end, world, event, undos)


def _end(world: World, event: EventEntry, undos: list[Undo]) -> None:
    world.sim.record(event.node or "world", "event.over", do=event.do)
    for undo in undos:
        undo()


def _nothing() -> None:
    pass


# Of the whole world.


def _gateway_down(world: World, _: EventEntry) -> Undo:
    world.gateway.powered = False
    return lambda: setattr(world.gateway, "powered", True)


def _network_down(world: World, _: EventEntry) -> Undo:
    world.network.down = True
    return lambda: setattr(world.network, "down", False)


def _jam(world: World, event: EventEntry) -> Undo:
    start = world.sim.now_us
    end = start + round((event.for_s or world.scenario.duration_s) * SECOND)
    for i in range(8):
        world.medium.jam(921_400_000 + 200_000 * i, start, end, float(event.value))
    return _nothing


# Of one node.


def _power_cut(world: World, node: Node, event: EventEntry) -> Undo:
    node.power_off()
    if event.for_s:
        return lambda: None if node.firmware.running else node.power_on()
    world.sim.after(SECOND, lambda: None if node.firmware.running else node.power_on())
    return _nothing


def _flash_cut(_: World, node: Node, event: EventEntry) -> Undo:
    assert isinstance(node.firmware, UnixNode)  # `usable_uf2` refuses it elsewhere
    node.firmware.flash.cut_after = int(event.value)
    return _nothing


def _reset(_: World, node: Node, __: EventEntry) -> Undo:
    node.firmware.reset()
    return _nothing


def _battery(_: World, node: Node, event: EventEntry) -> Undo:
    before = node.battery_v
    node.battery_v = float(event.value)
    return lambda: setattr(node, "battery_v", before)


def _battery_stolen(world: World, node: Node, _: EventEntry) -> Undo:
    battery = world.batteries.get(node.spec.name)
    if battery is None:
        return _power_cut(world, node, EventEntry(at_s=0.0, do="power_cut", for_s=1.0))
    battery.stolen = True
    return lambda: setattr(battery, "stolen", False)


def _sun(world: World, node: Node, event: EventEntry) -> Undo:
    battery = world.batteries.get(node.spec.name)
    if battery is None:
        return _nothing
    battery.sun = float(event.value)
    return lambda: setattr(battery, "sun", 1.0)


def _sensor_fault(_: World, node: Node, event: EventEntry) -> Undo:
    sensor = node.sensor
    if sensor is None:
        return _nothing
    sensor.fault = str(event.value)
    return lambda: setattr(sensor, "fault", "")


def _sensor_silent(_: World, node: Node, __: EventEntry) -> Undo:
    if node.modbus is None:
        return _nothing
    slave = node.modbus
    slave.silent = True
    return lambda: setattr(slave, "silent", False)


def _sensor_noise(_: World, node: Node, event: EventEntry) -> Undo:
    if node.modbus is None:
        return _nothing
    slave = node.modbus
    slave.noise = float(event.value)
    return lambda: setattr(slave, "noise", 0.0)


def _wrong_parity(_: World, node: Node, __: EventEntry) -> Undo:
    if node.modbus is None:
        return _nothing
    slave, before = node.modbus, node.modbus.frame_format
    slave.frame_format = before ^ 0x30  # none <-> odd and even, stop bits alike
    return lambda: setattr(slave, "frame_format", before)


def _cable_cut(_: World, node: Node, __: EventEntry) -> Undo:
    if node.bus is None:
        return _nothing
    bus = node.bus
    bus.connected = False
    return lambda: setattr(bus, "connected", True)


def _rain_blocked(_: World, node: Node, __: EventEntry) -> Undo:
    if node.rain is None:
        return _nothing
    gauge = node.rain
    gauge.blocked = True
    return lambda: setattr(gauge, "blocked", False)


def _float_wet(_: World, node: Node, __: EventEntry) -> Undo:
    node.wet_float(True)
    return lambda: node.wet_float(False)


def _clock_drift(_: World, node: Node, event: EventEntry) -> Undo:
    firmware = node.firmware
    assert isinstance(firmware, UnixNode)  # `usable_uf2` refuses it elsewhere
    firmware.set_drift(float(event.value))
    return lambda: firmware.set_drift(0.0)


def _sos(world: World, node: Node, event: EventEntry) -> Undo:
    node.press_sos(float(event.value))
    world.seen[node.spec.name].pressed_us.append(world.sim.now_us)
    return _nothing


def _siren_fault(_: World, node: Node, event: EventEntry) -> Undo:
    if node.siren is None:
        return _nothing
    siren = node.siren
    siren.set_fault(str(event.value))
    return lambda: siren.set_fault("")


def _siren_order(world: World, node: Node, event: EventEntry) -> Undo:
    if node.siren is not None:
        world.sirens.order(node.spec.name, int(event.value))
    return _nothing


def _siren_replay(world: World, node: Node, _: EventEntry) -> Undo:
    if node.siren is not None:
        world.sirens.replay(node.spec.name)
    return _nothing


def _gnss_outage(_: World, node: Node, __: EventEntry) -> Undo:
    if node.gnss is None:
        return _nothing
    receiver = node.gnss
    receiver.outage = True
    return lambda: setattr(receiver, "outage", False)


def _gnss_jump(_: World, node: Node, event: EventEntry) -> Undo:
    if node.gnss is None:
        return _nothing
    receiver = node.gnss
    receiver.jump_m = float(event.value)
    return lambda: setattr(receiver, "jump_m", 0.0)


def _burst_loss(world: World, node: Node, event: EventEntry) -> Undo:
    share = max(0.0, min(0.99, float(event.value)))
    good_s = _BURST_BAD_S * (1 - share) / share if share else 1e9
    link = frozenset((node.chip.name, world.gateway.name))
    world.medium.bursts[link] = BurstLoss(good_s=good_s, bad_s=_BURST_BAD_S)
    return lambda: world.medium.bursts.pop(link, None)


def _street_loss(world: World, node: Node, event: EventEntry) -> Undo:
    link = frozenset((node.chip.name, world.gateway.name))
    world.medium.bursts[link] = burst_loss(str(event.value))
    return lambda: world.medium.bursts.pop(link, None)


def _antenna_lost(_: World, node: Node, event: EventEntry) -> Undo:
    before = node.chip.gain_dbi
    node.chip.gain_dbi = before - float(event.value)
    return lambda: setattr(node.chip, "gain_dbi", before)


def _downlink(world: World, node: Node, event: EventEntry) -> Undo:
    port, _, data = str(event.value).partition(":")
    world.network.queue(node.spec.name, int(port), bytes.fromhex(data))
    return _nothing


_WORLD: dict[str, Callable[[World, EventEntry], Undo]] = {
    "gateway_down": _gateway_down,
    "network_down": _network_down,
    "jam": _jam,
}
_NODE: dict[str, Callable[[World, Node, EventEntry], Undo]] = {
    "power_cut": _power_cut,
    "flash_cut": _flash_cut,
    "reset": _reset,
    "battery": _battery,
    "battery_stolen": _battery_stolen,
    "sun": _sun,
    "sensor_fault": _sensor_fault,
    "sensor_silent": _sensor_silent,
    "sensor_noise": _sensor_noise,
    "wrong_parity": _wrong_parity,
    "cable_cut": _cable_cut,
    "rain_blocked": _rain_blocked,
    "float_wet": _float_wet,
    "clock_drift": _clock_drift,
    "sos": _sos,
    "siren_fault": _siren_fault,
    "siren_order": _siren_order,
    "siren_replay": _siren_replay,
    "gnss_outage": _gnss_outage,
    "gnss_jump": _gnss_jump,
    "burst_loss": _burst_loss,
    "street_loss": _street_loss,
    "antenna_lost": _antenna_lost,
    "downlink": _downlink,
}
