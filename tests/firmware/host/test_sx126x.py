"""Our radio driver on the simulator's chip, which records whatever the data sheet forbids."""

import pytest

from firmware.drivers.sx126x import (
    RADIO_RX_DONE,
    RADIO_RX_TIMEOUT,
    RADIO_STUCK,
    RADIO_TX_DONE,
)
from firmware.drivers.sx126x_bus import RadioError
from protocols.ticks import ticks_diff
from sim.chips.sx126x import BoardFacts
from sim.kernel import Simulation
from sim.radio.medium import Medium
from tests.firmware.host.board import RadioBoard

HZ = 921_400_000
BAND = (920_000_000, 923_000_000)


def pair() -> tuple[Simulation, RadioBoard, RadioBoard]:
    sim = Simulation(7)
    medium = Medium(sim)
    a, b = RadioBoard(sim, medium, "a"), RadioBoard(sim, medium, "b")
    for board in (a, b):
        board.driver.start(*BAND)
        board.sleep_ms(2)
    return sim, a, b


@pytest.mark.parametrize(("sf", "bw"), [(7, 125_000), (10, 125_000), (12, 125_000), (7, 250_000)])
def test_a_packet_crosses_and_no_rule_of_the_data_sheet_is_broken(sf: int, bw: int) -> None:
    sim, a, b = pair()
    payload = bytes(range(200 if sf == 7 else 40))
    b.driver.receive(HZ, sf, bw, 0, b.ticks_ms(), is_continuous=True, iq_inverted=False)
    a.driver.transmit(payload, len(payload), HZ, sf, bw, 14, a.ticks_ms())
    assert a.run_to_end() == RADIO_TX_DONE
    assert b.run_to_end(50) == RADIO_RX_DONE
    buf = bytearray(255)
    assert b.driver.read_into(buf) == len(payload)
    assert buf[: len(payload)] == payload
    assert -130 < b.driver.rssi_dbm < 0
    assert sim.faults == []


def test_transmit_end_is_stamped_by_the_interrupt() -> None:
    sim, a, _ = pair()
    begin = sim.now_us
    a.driver.transmit(bytes(24), 24, HZ, 10, 125_000, 14, a.ticks_ms())
    a.sleep_ms(2000)  # nobody looked meanwhile
    assert a.driver.poll(a.ticks_ms()) == RADIO_TX_DONE
    took_ms = ticks_diff(a.driver.irq_ms, (a.ticks_ms() - (sim.now_us - begin) // 1000) % (1 << 30))
    assert 371 <= took_ms < 381  # 24 bytes at SF10: 370.7 ms, and the switching on
    assert sim.faults == []


def test_an_empty_window_closes_after_its_symbols() -> None:
    sim, a, _ = pair()
    begin = sim.now_us
    a.driver.receive(HZ, 10, 125_000, 8, a.ticks_ms())
    assert a.run_to_end() == RADIO_RX_TIMEOUT
    assert 60_000 < sim.now_us - begin < 90_000  # 8 symbols of 8.2 ms
    assert a.run_to_end(5) == 0
    assert sim.faults == []


def test_sleep_keeps_the_settings_and_the_next_packet_goes() -> None:
    sim, a, b = pair()
    for _ in range(3):
        b.driver.receive(HZ, 7, 125_000, 0, b.ticks_ms(), is_continuous=True, iq_inverted=False)
        a.driver.transmit(b"again", 5, HZ, 7, 125_000, 14, a.ticks_ms())
        assert a.run_to_end() == RADIO_TX_DONE
        a.driver.sleep()
        assert b.run_to_end(50) == RADIO_RX_DONE
        b.driver.sleep()
        a.sleep_ms(20)
    assert sim.faults == []


def test_a_crystal_board_and_a_separate_switch_work_too() -> None:
    sim = Simulation(7)
    facts = BoardFacts(tcxo_mv=0, rf_switch_dio2=False)
    board = RadioBoard(sim, Medium(sim), "c", facts, tcxo_mv=0, dio2_switch=False)
    board.driver.start(*BAND)
    board.driver.transmit(b"x", 1, HZ, 7, 125_000, 14, board.ticks_ms())
    assert board.run_to_end() == RADIO_TX_DONE
    assert sim.faults == []


def test_a_forgotten_tcxo_is_seen_by_the_chip() -> None:
    """The simulated chip would tell: so the passing tests above mean something."""
    sim = Simulation(7)
    board = RadioBoard(sim, Medium(sim), "c", BoardFacts(tcxo_mv=1800), tcxo_mv=0)
    board.driver.start(*BAND)
    board.driver.transmit(b"x", 1, HZ, 7, 125_000, 14, board.ticks_ms())
    assert board.run_to_end() == RADIO_STUCK
    assert "tcxo" in str(sim.faults)


def test_a_chip_that_stays_busy_is_an_error_and_not_a_hang() -> None:
    _, a, _ = pair()
    a.chip.set_busy = lambda level: None
    a.busy.level = 1
    with pytest.raises(RadioError) as caught:
        a.driver.receive(HZ, 7, 125_000, 8, a.ticks_ms())
    assert caught.value.code == "busy"


def test_no_chip_is_an_error() -> None:
    _, a, _ = pair()
    a.chip.transfer = lambda data: bytes(len(data))  # type: ignore[method-assign]
    with pytest.raises(RadioError) as caught:
        a.driver.start(*BAND)
    assert caught.value.code == "status"


def test_frequency_is_right_to_a_step() -> None:
    _, a, _ = pair()
    for hz in (868_100_000, 921_400_000, 921_600_000, 923_399_999, 433_175_000):
        a.driver._set_frequency(hz)  # pyright: ignore[reportPrivateUsage]
        a.sleep_ms(1)
        assert abs(a.chip._freq_hz - hz) <= 1, hz  # pyright: ignore[reportPrivateUsage]
