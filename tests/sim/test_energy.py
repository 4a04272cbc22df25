"""The account adds up, and the battery obeys it."""

import pytest

from sim.energy import Battery, EnergyAccount
from sim.kernel import HOUR, MINUTE, Simulation


def test_account_is_current_times_time_by_consumer() -> None:
    sim = Simulation()
    account = EnergyAccount(sim)
    account.set("radio", 4.6)
    sim.run_until(2 * HOUR)
    account.set("radio", 0.0)
    sim.run_until(4 * HOUR)
    account.add("processor", 24.0, HOUR / 4)
    assert account.mah() == pytest.approx({"processor": 6.0, "radio": 9.2})
    assert account.average_ma() == pytest.approx(15.2 / 4)


def play(battery: Battery, sim: Simulation, hours: float) -> list[bool]:
    on: list[bool] = []
    end = sim.now_us + hours * HOUR
    while sim.now_us < end:
        sim.run_until(sim.now_us + MINUTE)
        on.append(battery.step())
    return on


def test_battery_falls_as_the_load_draws_and_cuts_off_empty() -> None:
    sim = Simulation()
    account = EnergyAccount(sim)
    account.set("load", 100.0)
    battery = Battery(sim, account, capacity_mah=1000, start=0.5)
    full = battery.volts()
    on = play(battery, sim, 4.8)
    assert all(on) and battery.charge == pytest.approx(0.02, abs=0.002)
    assert battery.volts() < 3.2 < full
    assert not play(battery, sim, 0.5)[-1]


def test_sun_charges_by_day_only_and_lets_the_load_back() -> None:
    sim = Simulation()
    battery = Battery(
        sim, EnergyAccount(sim), capacity_mah=1000, solar_ma=50, start=0.0, first_hour=0.0
    )
    assert not any(play(battery, sim, 6)) and battery.charge == 0
    on = play(battery, sim, 12)
    # Half a sine of 12 hours: 50 mA x 24 / pi hours, 95 % of it kept.
    assert battery.charge == pytest.approx(50 * 24 / 3.14159 * 0.95 / 1000, rel=0.01)
    assert on[-1] and not on[0], "there is a hysteresis between off and on"
    evening = battery.charge
    play(battery, sim, 6)
    assert battery.charge == evening


def test_a_stolen_battery_is_dark_at_once() -> None:
    sim = Simulation()
    battery = Battery(sim, EnergyAccount(sim), capacity_mah=1000)
    battery.stolen = True
    assert not battery.step() and battery.volts() == 0
