"""The channel against published figures: sensitivity, capture, airtime, coverage of a receiver."""

import itertools
import math
import random

import pytest

from protocols.lorawan import airtime as ours
from sim.kernel import SECOND, Simulation
from sim.radio import phy
from sim.radio.concentrator import Concentrator, Downlink, Uplink
from sim.radio.medium import BurstLoss, Medium, Path, Radio, Reception, Transmission

# Sensitivity in dBm at 125 kHz for 1 % packet error: SX1261/2 data sheet, table 3-8.
SENSITIVITY_DBM = {7: -124, 8: -127, 9: -130, 10: -133, 11: -135, 12: -137}


@pytest.mark.parametrize(("sf", "dbm"), SENSITIVITY_DBM.items())
def test_sensitivity_agrees_with_the_data_sheet(sf: int, dbm: int) -> None:
    """The power at which 1 % of packets of 10 bytes fail is within 1.5 dB of the table."""
    symbols = phy.payload_symbols(
        sf, 10, 1, explicit=True, crc=True, ldro=phy.low_data_rate(sf, 125_000)
    )
    level = -150.0
    while True:
        margin = level - phy.noise_dbm(125_000, 6.0) - phy.SNR_LIMIT_DB[sf]
        if phy.packet_success(margin, symbols) >= 0.99:
            break
        level += 0.05
    assert abs(level - dbm) <= 1.5


@pytest.mark.parametrize("sf", range(7, 13))
def test_airtime_agrees_with_the_device(sf: int) -> None:
    """Two readings of the same formula: the device's and the simulator's."""
    for length in range(0, 256, 7):
        for bw in (125_000, 250_000):
            difference = phy.airtime_us(sf, bw, length) - ours.airtime_us(sf, bw, length)
            assert abs(difference) <= 1, (sf, bw, length)


class Ear(Radio):
    """Hears everything on SF7 all the time."""

    def __init__(self, name: str = "ear") -> None:
        super().__init__(name)
        self.ended: list[Reception] = []

    def listening_since(self, tx: Transmission) -> int | None:
        return 0

    def on_preamble(self, reception: Reception) -> None:
        pass

    def on_end(self, reception: Reception) -> None:
        self.ended.append(reception)


class Voice(Ear):
    def listening_since(self, tx: Transmission) -> int | None:
        return None


def packet(sim: Simulation, sender: str, **changes: object) -> Transmission:
    values: dict[str, object] = {
        "sender": sender, "freq_hz": 921_400_000, "sf": 7, "bw_hz": 125_000, "cr": 1,
        "preamble": 8, "explicit": True, "crc": True, "iq_inverted": False, "sync_word": 0x3444,
        "power_dbm": 14.0, "payload": bytes(20), "start_us": sim.now_us,
    }  # fmt: skip
    return Transmission(**(values | changes))  # type: ignore[arg-type]


def two_senders(delay_us: int, louder_db: float, sf: int = 7) -> list[str]:
    """Two packets, the second `delay_us` later and the first louder; outcomes at the ear."""
    sim = Simulation(1)
    medium = Medium(sim, Path(exponent=2.0, sigma_db=0.0, fading_db=0.0))
    ear, one, two = Ear(), Voice("one"), Voice("two")
    one.x_m = two.x_m = 500.0
    for radio in (ear, one, two):
        medium.join(radio)
    sim.after(0, lambda: medium.transmit(one, packet(sim, "one", power_dbm=louder_db)))
    later = lambda: medium.transmit(two, packet(sim, "two", power_dbm=0.0, sf=sf))  # noqa: E731
    sim.after(delay_us, later)
    sim.run_until(SECOND)
    return [r.outcome for r in sorted(ear.ended, key=lambda r: r.tx.sender)]


def test_capture_needs_six_decibels() -> None:
    assert two_senders(5_000, 3.0) == ["crc", "crc"]
    assert two_senders(5_000, 7.0) == ["ok", "crc"]


def test_other_spreading_factors_are_nearly_orthogonal() -> None:
    assert two_senders(5_000, 0.0, sf=9) == ["ok", "ok"]
    assert two_senders(5_000, 20.0, sf=9) == ["ok", "crc"], "but not when far louder"


def test_packets_one_after_the_other_do_not_collide() -> None:
    length = phy.airtime_us(7, 125_000, 20)
    assert two_senders(length + 100, 0.0) == ["ok", "ok"]


def test_path_loss_is_free_space_near_and_steeper_far() -> None:
    path = Path(exponent=2.0, sigma_db=0)
    # Friis at 1 km and 921.4 MHz: 91.7 dB.
    assert abs(path.loss_db(1_000, 921_400_000) - 91.7) < 0.1
    assert math.isclose(
        Path(exponent=3.0).loss_db(10_000, 921_400_000)
        - Path(exponent=3.0).loss_db(1_000, 921_400_000),
        30.0,
    )


def test_bursts_have_the_share_and_the_length_asked_for() -> None:
    """Gilbert-Elliott: 25 % of time bad in spells of 60 s; packets every 5 s."""
    burst, rng = BurstLoss(good_s=180, bad_s=60), random.Random(4)
    lost = [burst.step(i * 5 * SECOND, rng) for i in range(40_000)]
    runs = sum(a and not b for a, b in itertools.pairwise(lost))
    assert abs(sum(lost) / len(lost) - 0.25) < 0.03
    assert abs(5 * sum(lost) / runs - 60) < 8


# The concentrator.


def gateway() -> tuple[Simulation, Medium, Concentrator, list[Uplink]]:
    sim = Simulation(2)
    medium = Medium(sim, Path(exponent=2.0, sigma_db=0.0, fading_db=0.0))
    concentrator = Concentrator(sim, medium, counter_us=(1 << 32) - 1_000_000)
    got: list[Uplink] = []
    concentrator.on_uplink = got.append
    return sim, medium, concentrator, got


def test_all_spreading_factors_are_heard_at_once_on_eight_channels() -> None:
    sim, medium, _, got = gateway()
    for i in range(6):
        voice = Voice(f"v{i}")
        voice.x_m = 300.0
        medium.join(voice)
        medium.transmit(voice, packet(sim, voice.name, sf=7 + i, freq_hz=921_400_000 + 200_000 * i))
    sim.run_until(5 * SECOND)
    assert sorted(up.sf for up in got) == [7, 8, 9, 10, 11, 12]
    assert all(up.crc_ok for up in got)


def test_timestamp_is_of_the_end_and_wraps_at_32_bits() -> None:
    sim, medium, _, got = gateway()
    voice = Voice("v")
    medium.join(voice)
    sim.run_until(2 * SECOND)
    medium.transmit(voice, packet(sim, "v"))
    sim.run_until(3 * SECOND)
    assert got[0].tmst == 2_000_000 - 1_000_000 + phy.airtime_us(7, 125_000, 20)


def down(concentrator: Concentrator, delay_us: int, **changes: object) -> Downlink:
    values: dict[str, object] = {
        "tmst": (concentrator.tmst() + delay_us) & 0xFFFFFFFF, "freq_hz": 921_400_000, "sf": 7,
        "bw_hz": 125_000, "cr": 1, "power_dbm": 16.0, "payload": bytes(12),
    }  # fmt: skip
    return Downlink(**(values | changes))  # type: ignore[arg-type]


def test_queue_refuses_what_is_late_early_in_the_way_or_out_of_band() -> None:
    sim, _, concentrator, _ = gateway()
    sim.run_until(SECOND // 2)
    assert concentrator.send(down(concentrator, 1_000_000)) == ""
    assert concentrator.send(down(concentrator, 1_010_000)) == "COLLISION_PACKET"
    assert concentrator.send(down(concentrator, 10_000)) == "TOO_LATE"
    assert concentrator.send(down(concentrator, -5_000_000)) == "TOO_LATE"
    assert concentrator.send(down(concentrator, 400_000_000)) == "TOO_EARLY"
    assert concentrator.send(down(concentrator, 3_000_000, freq_hz=433_000_000)) == "TX_FREQ"
    assert concentrator.send(down(concentrator, 3_000_000, power_dbm=40.0)) == "TX_POWER"


def test_half_duplex_gateway_is_deaf_while_it_sends() -> None:
    sim, medium, concentrator, got = gateway()
    voice = Voice("v")
    medium.join(voice)
    assert concentrator.send(down(concentrator, 100_000, sf=10)) == ""
    sim.run_until(150_000)
    medium.transmit(voice, packet(sim, "v"))
    sim.run_until(SECOND)
    assert got == [] and concentrator.sent == 1
