"""What a node says of its case, its battery and its sensor's line, with the real firmware."""

from pathlib import Path

from protocols.payload.event import EVENT_TAMPER, TAMPER_OPENED
from protocols.payload.status import (
    FAULT_SENSOR,
    FAULT_TAMPER,
    SENSOR_GOOD,
    SENSOR_NO_ANSWER,
    SENSOR_NO_ECHO,
    decode_status,
)
from sim.chips import sx126x_facts
from tests.firmware.host.world import World, running


def test_supply_resistance_lid_and_why_the_sensor_failed(tmp_path: Path) -> None:
    world = World(tmp_path, level_mm=lambda _: 100.0, board="unix-case")
    node = world.node
    lid = node.pins["lid"]
    node.board.drive(lid, 0)
    # 300 milliohm at the 90 mA that the transmitter draws at +14 dBm; 18 V at the panel.
    node.board.adc[0] = lambda: (3.9 - 0.3 * 0.09 * (node.chip.mode == sx126x_facts.TX)) / 3
    node.board.adc[2] = lambda: 1.8
    with running(world):
        world.run(1500)
        status = world.status
        assert 17_900 <= int(str(status["supply_mv"])) <= 18_100
        assert status["humidity_pct"] is None and status["tilt_deg"] is None  # no chip answers
        assert status["faults"] == 0 and status["sensor_error"] == SENSOR_GOOD
        # Once the eight uplinks are known, the next status says it.
        world.command(12, {"pages": 255})
        world.run(400)
        assert 270 <= int(str(world.status["battery_mohm"])) <= 330
        count = len(world.network.of(3))
        node.board.drive(lid, 1)
        world.run(100)
        (event,) = world.events
        assert (event["kind"], event["cause"]) == (EVENT_TAMPER, TAMPER_OPENED)
        # The page with the fault is the next that goes, whose turn it ever was.
        told = decode_status(world.network.of(3)[count].data)
        assert int(told["pages"] or 0) & 1 and told["faults"] == FAULT_TAMPER
        node.board.drive(lid, 0)
        world.run(100)
        assert world.status["faults"] == 0
        for is_silent, fault, error in (
            (True, "", SENSOR_NO_ANSWER),
            (False, "no_echo", SENSOR_NO_ECHO),
        ):
            assert node.modbus is not None and node.sensor is not None
            node.modbus.silent, node.sensor.fault = is_silent, fault
            world.run(400)
            world.command(12, {"pages": 255})
            world.run(400)
            assert world.status["faults"] == FAULT_SENSOR
            assert world.status["sensor_error"] == error
