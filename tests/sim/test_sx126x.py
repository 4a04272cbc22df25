"""The SX126x model against the data sheet (DS.SX1261-2.W.APP), read apart from driver and model.

Section and table numbers are the data sheet's.
"""

import pytest

from sim.chips.sx126x import BoardFacts
from sim.kernel import Simulation
from sim.radio.medium import Medium
from tests.sim.host import FLAT, Host

CRYSTAL = BoardFacts(tcxo_mv=0)
STDBY_RC, STDBY_XOSC, FS, RX, TX = 2, 3, 4, 5, 6
TX_DONE, RX_DONE, PREAMBLE, HEADER, CRC_ERR = 1, 2, 4, 16, 64
CAD_DONE, CAD_DETECTED, TIMEOUT = 128, 256, 512


def pair(**far: object) -> tuple[Host, Host]:
    """Two configured chips 100 m apart."""
    sim = Simulation(3)
    medium = Medium(sim, FLAT)
    one, two = Host(sim, medium, "one"), Host(sim, medium, "two", x_m=100.0)
    one.configure()
    two.configure(**far)  # type: ignore[arg-type]
    return one, two


# Start, reset and sleep (8.1, 9.2, 9.3, table 8-2).


def test_reset_leads_to_standby_rc_after_3500_us_of_busy() -> None:
    host = Host()
    host.chip.reset(0)
    host.run(100)
    host.chip.reset(1)
    assert 3_400 <= host.settle() <= 3_600
    assert host.raw(0xC0, 0)[1] >> 4 & 7 == STDBY_RC


def test_reset_pulse_shorter_than_50_us_is_a_fault() -> None:
    host = Host()
    host.chip.reset(0)
    host.run(20)
    host.chip.reset(1)
    assert host.faults() == ["sx126x.reset_pulse"]


def test_command_while_busy_is_lost_and_recorded() -> None:
    host = Host(board=CRYSTAL)
    host.chip.reset(0)
    host.run(100)
    host.chip.reset(1)
    host.raw(0x8A, 1)
    assert host.faults() == ["sx126x.busy"]
    assert host.send(0x11, 0, 0)[2] == 0, "the packet type was not set"


@pytest.mark.parametrize(("config", "busy_us"), [(0x00, 3_500), (0x04, 340)])
def test_wake_up_takes_340_us_warm_and_3500_us_cold(config: int, busy_us: int) -> None:
    host = Host(board=CRYSTAL)
    host.send(0x80, 0)
    host.settle()
    host.raw(0x84, config)
    assert host.chip.busy == 1, "BUSY is high in sleep"
    host.run(1_000)
    host.raw(0xC0, 0)
    assert host.settle() == busy_us
    assert host.faults() == []


def test_nss_low_within_500_us_of_sleep_is_a_fault() -> None:
    host = Host(board=CRYSTAL)
    host.raw(0x84, 4)
    host.run(100)
    host.raw(0xC0, 0)
    assert host.faults() == ["sx126x.wake_early"]


def test_warm_sleep_keeps_registers_and_forgets_the_buffer() -> None:
    host = Host(board=CRYSTAL)
    host.register(0x0740, 0x34, 0x44)
    host.send(0x8A, 1)
    host.send(0x0E, 0, 1, 2, 3)
    host.raw(0x84, 4)
    host.run(1_000)
    host.raw(0xC0, 0)
    host.settle()
    assert host.register(0x0740) == 0x34
    assert host.send(0x11, 0, 0)[2] == 1
    assert host.send(0x1E, 0, 0, 0, 0, 0)[3:] == b"\0\0\0"


def test_cold_sleep_forgets_everything() -> None:
    host = Host(board=CRYSTAL)
    host.register(0x0740, 0x34, 0x44)
    host.raw(0x84, 0)
    host.run(1_000)
    host.raw(0xC0, 0)
    host.settle()
    assert host.register(0x0740) == 0x14


def test_rx_gain_survives_warm_sleep_only_on_the_retention_list() -> None:
    """9.6: 0x08AC is kept when it is entered at 0x029F."""
    for listed, expected in ((False, 0x94), (True, 0x96)):
        host = Host(board=CRYSTAL)
        host.register(0x08AC, 0x96)
        if listed:
            host.register(0x029F, 0x01, 0x08, 0xAC)
        host.raw(0x84, 4)
        host.run(1_000)
        host.raw(0xC0, 0)
        host.settle()
        assert host.register(0x08AC) == expected


def test_sleep_is_refused_outside_standby() -> None:
    host = Host(board=CRYSTAL)
    host.send(0xC1)
    host.send(0x84, 4)
    assert host.mode() == FS and host.faults() == ["sx126x.mode"]


@pytest.mark.parametrize(
    ("frame", "mode", "busy_us"),
    [((0x80, 1), STDBY_XOSC, 31), ((0xC1,), FS, 50)],
)
def test_switching_times_from_standby_rc(frame: tuple[int, ...], mode: int, busy_us: int) -> None:
    host = Host(board=CRYSTAL)
    host.raw(*frame)
    assert host.settle() == busy_us and host.mode() == mode


def test_switching_to_rx_and_tx_from_standby_rc_and_fs() -> None:
    for first, frame, busy_us in (
        (None, (0x82, 0, 0, 0), 83),
        (None, (0x83, 0, 0, 0), 126),
        ((0xC1,), (0x82, 0, 0, 0), 41),
        ((0xC1,), (0x83, 0, 0, 0), 76),
        ((0x80, 1), (0x82, 0, 0, 0), 62),
        ((0x80, 1), (0x83, 0, 0, 0), 105),
    ):
        host = Host(board=CRYSTAL)
        host.configure()
        if first:
            host.send(*first)
        host.raw(*frame)
        assert host.settle() == busy_us, (first, frame)


# Registers after reset (table 12-1) and the buffer (chapter 7).


@pytest.mark.parametrize(
    ("address", "value"),
    [(0x0740, 0x14), (0x0741, 0x24), (0x0736, 0x0D), (0x08AC, 0x94), (0x08E7, 0x18),
     (0x0911, 0x05), (0x0912, 0x05), (0x08D8, 0xC8)],
)  # fmt: skip
def test_register_after_reset(address: int, value: int) -> None:
    assert Host(board=CRYSTAL).register(address) == value


def test_pa_config_sets_the_over_current_protection() -> None:
    """5.1: 140 mA (0x38) for SX1262, 60 mA (0x18) for SX1261, at each SetPaConfig."""
    host = Host(board=CRYSTAL)
    host.send(0x95, 4, 7, 0, 1)
    assert host.register(0x08E7) == 0x38
    low = Host(board=BoardFacts(tcxo_mv=0, sx1261=True))
    low.send(0x95, 4, 0, 1, 1)
    assert low.register(0x08E7) == 0x18 and low.faults() == []


def test_buffer_wraps_at_256_bytes() -> None:
    host = Host(board=CRYSTAL)
    host.send(0x0E, 254, 1, 2, 3, 4)
    assert host.send(0x1E, 254, 0, 0, 0, 0, 0)[3:] == bytes([1, 2, 3, 4])
    assert host.send(0x1E, 0, 0, 0, 0)[3:] == bytes([3, 4])


# Commands that are wrong.


def test_unknown_opcode_and_wrong_length_are_processing_errors() -> None:
    host = Host(board=CRYSTAL)
    host.send(0x55, 1)
    assert host.chip.transfer(b"") == b""
    assert host.raw(0x80, 0)[0] >> 1 & 7 == 4
    host.settle()
    host.send(0x86, 1, 2)
    assert host.faults() == ["sx126x.opcode", "sx126x.length"]


def test_lora_parameters_need_the_lora_packet_type() -> None:
    host = Host(board=CRYSTAL)
    host.send(0x8B, 7, 4, 1, 0)
    assert host.faults() == ["sx126x.packet_type"]


def test_tx_needs_frequency_modulation_packet_and_pa() -> None:
    host = Host(board=CRYSTAL)
    host.send(0x8A, 1)
    host.send(0x83, 0, 0, 0)
    assert host.faults() == ["sx126x.order"] and host.mode() == STDBY_RC
    host.configure()
    other = Host(board=CRYSTAL)
    other.send(0x9D, 1)
    other.send(0x8A, 1)
    other.send(0x86, *(921_400_000 * (1 << 25) // 32_000_000).to_bytes(4, "big"))
    other.send(0x8B, 7, 4, 1, 0)
    other.send(0x8C, 0, 8, 0, 5, 1, 0)
    other.send(0x83, 0, 0, 0)
    assert other.faults() == ["sx126x.pa"]


def test_workarounds_of_chapter_15_are_asked_for() -> None:
    host = Host(board=CRYSTAL)
    host.configure()
    host.register(0x0889, 0x01)
    host.register(0x08D8, 0xC8)
    host.register(0x0736, 0x09)
    host.send(0x83, 0, 0, 0)
    assert host.faults() == [
        "sx126x.errata.iq",
        "sx126x.errata.modulation",
        "sx126x.errata.clamp",
    ]


def test_wide_band_wants_the_modulation_bit_cleared() -> None:
    host = Host(board=CRYSTAL)
    host.configure(bw=6)
    host.transmit(b"x" * 12)
    assert host.faults() == []


def test_wrong_power_wrong_device_and_image_band_are_faults() -> None:
    host = Host(board=CRYSTAL)
    host.send(0x8E, 23, 4)
    host.send(0x95, 4, 7, 1, 1)
    assert host.faults() == ["sx126x.pa", "sx126x.pa"]
    other = Host(board=CRYSTAL)
    other.configure(hz=868_100_000)
    other.send(0x82, 0, 0, 0)
    assert other.faults() == ["sx126x.image"]
    other.send(0x80, 0)
    other.send(0x98, 0xD7, 0xDB)  # 863 to 870 MHz, table 9-2
    other.send(0x82, 0, 0, 0)
    assert other.faults() == ["sx126x.image"]


# The oscillator (9.2.1, 13.3.6).


def test_board_with_tcxo_reports_xosc_error_at_start_until_dio3_is_set() -> None:
    host = Host()
    assert host.errors() == 0x20
    host.send(0x80, 1)
    assert host.mode() == STDBY_RC and "sx126x.tcxo" in host.faults()
    host.send(0x97, 2, 0, 1, 0x40)
    host.send(0x07, 0, 0)
    host.send(0x89, 0x7F)
    assert host.errors() == 0
    host.raw(0x80, 1)
    assert host.settle() == 31 + 5_000, "the start of the TCXO is waited for"
    assert host.mode() == STDBY_XOSC


@pytest.mark.parametrize("args", [(0, 0, 1, 0x40), (2, 0, 0, 0x20)])
def test_too_little_voltage_or_time_for_the_tcxo_fails(args: tuple[int, ...]) -> None:
    host = Host()
    host.send(0x97, *args)
    host.send(0x07, 0, 0)
    host.send(0xC1)
    assert host.errors() == 0x20 and host.mode() == STDBY_RC


def test_antenna_switch_on_dio2_must_be_enabled() -> None:
    host = Host(board=CRYSTAL)
    host.configure()
    host.send(0x9D, 0)
    host.send(0x82, 0, 0, 0)
    assert host.faults() == ["sx126x.rf_switch"]


# Transmission and its time on air (6.1.4).


@pytest.mark.parametrize(
    ("sf", "length", "airtime_us"),
    # Published by the maker's calculator: header and CRC on, 4/5, 8 symbols of preamble.
    [
        (7, 24, 61_696),
        (8, 24, 113_152),
        (9, 24, 205_824),
        (10, 24, 370_688),
        (11, 24, 823_296),
        (12, 24, 1_482_752),
        (12, 64, 2_793_472),
    ],
)
def test_tx_done_comes_when_the_packet_is_over(sf: int, length: int, airtime_us: int) -> None:
    host = Host(board=CRYSTAL)
    host.configure(sf=sf, length=length)
    host.send(0x0E, 0, *range(length))
    host.settle()
    host.raw(0x83, 0, 0, 0)
    busy_us = host.settle()
    start = host.sim.now_us
    assert busy_us == 126 and host.mode() == TX
    host.run(airtime_us + 1_000)
    assert host.dio1[-1][1] == 1
    assert abs(host.dio1[-1][0] - start - airtime_us) <= 200 + 10
    assert host.irq() == TX_DONE and host.mode() == STDBY_RC
    host.send(0x02, 0x03, 0xFF)
    assert host.dio1[-1][1] == 0 and host.irq() == 0 and host.faults() == []


def test_tx_timeout_stops_the_transmission() -> None:
    host = Host(board=CRYSTAL)
    host.configure(sf=12, length=51)
    host.send(0x83, 0, 0x19, 0x00)  # 6,400 steps of 15.625 us: 100 ms
    host.run(200_000)
    assert host.irq() == TIMEOUT and host.mode() == STDBY_RC


def test_status_tells_that_transmission_is_complete() -> None:
    host = Host(board=CRYSTAL)
    host.configure(length=4)
    host.send(0x83, 0, 0, 0)
    host.run(100_000)
    assert host.raw(0xC0, 0)[1] >> 1 & 7 == 6


def test_irq_outside_the_mask_is_never_set_and_dio1_has_its_own_mask() -> None:
    host = Host(board=CRYSTAL)
    host.configure(length=4)
    host.send(0x08, 0, 0, 0, 1, 0, 0, 0, 0)
    host.send(0x83, 0, 0, 0)
    host.run(100_000)
    assert host.irq() == 0 and host.dio1 == []
    host.send(0x08, 0, 1, 0, 0, 0, 0, 0, 0)
    host.send(0x83, 0, 0, 0)
    host.run(100_000)
    assert host.irq() == TX_DONE and host.dio1 == []


# Reception.


def test_packet_arrives_with_length_pointer_and_levels() -> None:
    one, two = pair()
    two.send(0x8F, 0x00, 0x80)
    two.receive_into()
    one.transmit(b"hello, tukad")
    one.run(100_000)
    assert two.irq() == RX_DONE | PREAMBLE | 8 | HEADER
    length, start = two.send(0x13, 0, 0, 0)[2:4]
    assert (length, start) == (12, 0x80)
    assert two.send(0x1E, start, 0, *[0] * 12)[3:] == b"hello, tukad"
    rssi, snr, signal = two.send(0x14, 0, 0, 0, 0)[2:5]
    # Free space at 100 m and 921.4 MHz loses 71.7 dB: -57.7 dBm of 14 dBm.
    assert abs(-rssi / 2 + 57.7) <= 0.5 and abs(-signal / 2 + 57.7) <= 0.5
    assert snr >= 40  # quarters of a decibel
    assert two.mode() == RX, "continuous reception goes on"
    assert one.faults() == two.faults() == []


def test_single_reception_ends_in_the_fallback_mode() -> None:
    one, two = pair()
    two.send(0x93, 0x30)
    two.receive_into(0)
    one.transmit(b"hello, tukad")
    one.run(100_000)
    assert two.mode() == STDBY_XOSC
    assert two.raw(0xC0, 0)[1] >> 1 & 7 == 2, "data is available"


@pytest.mark.parametrize(
    ("what", "settings"),
    [("polarity", {"iq": 1}), ("factor", {"sf": 8}), ("frequency", {"hz": 921_600_000}),
     ("sync word", {"sync": 0x1424})],
)  # fmt: skip
def test_other_settings_hear_nothing(what: str, settings: dict[str, int]) -> None:
    one, two = pair(**settings)
    two.receive_into()
    one.transmit(b"hello, tukad")
    one.run(200_000)
    assert two.irq() & (RX_DONE | CRC_ERR) == 0, what


def test_rx_timeout_counts_steps_of_15_625_us() -> None:
    _, two = pair()
    two.receive_into(6_400)
    start = two.sim.now_us
    two.run(200_000)
    assert two.dio1[-1] == (start + 100_000, 1)
    assert two.irq() == TIMEOUT and two.mode() == STDBY_RC


def test_symbol_timeout_ends_a_window_without_preamble() -> None:
    _, two = pair(sf=10)
    two.send(0xA0, 8)
    two.receive_into(0)
    start = two.sim.now_us
    two.run(500_000)
    assert two.dio1[-1] == (start + 8 * 8_192, 1) and two.irq() == TIMEOUT


def test_symbol_timeout_register_has_mantissa_and_exponent() -> None:
    """With register 0x0706: symbols = mantissa x 2^(2 exponent + 1)."""
    _, two = pair()
    two.send(0xA0, 0)
    two.register(0x0706, 25 << 3 | 1)
    two.receive_into(0)
    start = two.sim.now_us
    two.run(500_000)
    assert two.dio1[-1] == (start + 25 * 8 * 1_024, 1)


def test_preamble_stops_the_symbol_timeout() -> None:
    one, two = pair(sf=10)
    one.configure(sf=10)
    two.send(0xA0, 8)
    one.send(0x0E, 0, *b"hello, tukad")
    two.raw(0x82, 0, 0, 0)
    one.raw(0x83, 0, 0, 0)
    one.run(1_000_000)
    assert two.irq() & RX_DONE and not two.irq() & TIMEOUT


def test_receiver_that_starts_too_late_for_the_preamble_hears_nothing() -> None:
    for delay_symbols, heard in ((1, True), (6, False)):
        one, two = pair()
        two.send(0x80, 1)  # from standby with the TCXO running, RX is 62 us away
        one.transmit(b"hello, tukad")
        one.run(delay_symbols * 1_024)
        two.receive_into()
        one.run(100_000)
        assert bool(two.irq() & RX_DONE) is heard, delay_symbols


def test_implicit_header_leaves_the_timer_running_until_the_workaround() -> None:
    """15.3: a timeout is raised after RxDone unless 0x0902 is 0 and 0x0944 bit 1 is set."""
    for workaround in (False, True):
        one, two = pair(header=1)
        one.configure(header=1)
        two.receive_into(32_000)  # 500 ms
        one.transmit(b"hello, tukad")
        one.run(100_000)
        assert two.irq() & RX_DONE
        if workaround:
            two.register(0x0902, 0)
            two.register(0x0944, two.register(0x0944) | 2)
        two.run(600_000)
        assert bool(two.irq() & TIMEOUT) is not workaround


def test_cad_finds_a_preamble_and_only_then() -> None:
    for on_air in (True, False):
        one, two = pair(sf=9)
        one.configure(sf=9)
        two.send(0x88, 1, 22, 10, 0, 0, 0, 0)
        if on_air:
            one.transmit(b"hello, tukad")
        two.send(0xC5)
        two.run(30_000)
        assert two.irq() == CAD_DONE | (CAD_DETECTED if on_air else 0)
        assert two.mode() == STDBY_RC


def test_rx_duty_cycle_hears_a_long_preamble() -> None:
    one, two = pair(preamble=112)
    one.configure(preamble=112)
    two.send(0x94, 0, 0x02, 0x80, 0, 0x18, 0x00)  # 10 ms of listening, 96 ms of sleep
    one.run(450_000)
    assert two.irq() == 0, "windows without a preamble raise nothing"
    one.transmit(b"hello, tukad")
    one.run(1_000_000)
    assert two.irq() & RX_DONE


def test_statistics_count_packets() -> None:
    one, two = pair()
    two.receive_into()
    for _ in range(3):
        one.transmit(b"hello, tukad")
        one.run(100_000)
    assert two.send(0x10, 0, *[0] * 6)[2:] == bytes([0, 3, 0, 0, 0, 0])
    two.send(0x00, *[0] * 6)
    assert two.send(0x10, 0, *[0] * 6)[2:] == bytes(6)


def test_random_numbers_come_in_reception_only() -> None:
    _, two = pair()
    assert two.register(0x0819) == 0
    two.receive_into()
    assert len({two.register(0x0819) for _ in range(8)}) > 1
