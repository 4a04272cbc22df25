"""MAC commands bring a real device to the settings the operator wants, in every kind of region."""

from dataclasses import replace
from pathlib import Path

import pytest

from gateway.lorawan.config import LorawanConfig
from gateway.lorawan.plan import RadioPlan
from tests.properties.network_server.world import Faults, World


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (
            LorawanConfig(device_status_h=24),
            LorawanConfig(
                device_status_h=24,
                rx1_delay_s=3,
                rx2_dr=4,
                uplink_dwell=False,
                downlink_dwell=True,
                extra_channels_hz=(921_800_000, 922_000_000),
            ),
        ),
        (
            LorawanConfig(region="EU868"),
            LorawanConfig(
                region="EU868",
                rx1_dr_offset=2,
                rx2_dr=3,
                rx1_delay_s=5,
                extra_channels_hz=(867_100_000, 867_300_000, 867_500_000),
            ),
        ),
        (
            LorawanConfig(region="US915", sub_band=2),
            LorawanConfig(region="US915", sub_band=2, rx1_delay_s=2, rx1_dr_offset=1),
        ),
        (
            LorawanConfig(region="AU915", sub_band=1),
            LorawanConfig(region="AU915", sub_band=1, uplink_dwell=False),
        ),
    ],
    ids=["AS923-2", "EU868", "US915", "AU915"],
)
def test_a_changed_configuration_reaches_the_devices(
    tmp_path: Path, before: LorawanConfig, after: LorawanConfig
) -> None:
    world = World(tmp_path, 3, config=replace(before, adr=True))
    for node in world.nodes:
        node.settings.sub_band = before.sub_band
        node.send(confirmed=True)
    world.advance(60_000)
    world.config = replace(after, adr=True)
    world.plan = RadioPlan(world.config)
    world.cut_server()
    world.faults = Faults(up_loss=0.2, down_loss=0.3, datagram_loss=0.1)
    for _ in range(28):
        for node in world.nodes:
            node.send(confirmed=False)
        world.advance(400_000)
    world.recover()
    for session in world.store.sessions():
        mac, wanted = session.mac, world.plan.wanted
        assert all(tries < 8 for _, tries, _ in mac.attempts)  # at most one is on its way
        for name in (
            "rx1_delay_s",
            "rx1_dr_offset",
            "rx2_dr",
            "rx2_freq_hz",
            "uplink_dwell",
            "downlink_dwell",
            "channels_hz",
        ):
            assert getattr(mac, name) == getattr(wanted, name), name
        assert mac.battery == 255 and mac.margin_db > -32  # DevStatusAns came
        assert mac.adr_target != (-1, -1, -1)
    for node in world.nodes:
        device = node.device._session
        assert device.rx1_delay_s == world.plan.wanted.rx1_delay_s
        assert device.rx1_offset == world.plan.wanted.rx1_dr_offset
        assert device.rx2_dr == world.plan.wanted.rx2_dr
        assert device.up_dwell == world.plan.wanted.uplink_dwell
        if world.plan.wanted.channels_hz:
            count = len(world.plan.wanted.channels_hz)
            assert tuple(device.freqs_hz[:count]) == world.plan.wanted.channels_hz
    world.close()
