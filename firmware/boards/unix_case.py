"""`unix-case`: the simulated board (`unix_pico`) in a case with lid switch, I2C chips, solar input.

Apart from `unix-pico`: a simulation that does not shut the lid would be told of an open one.
"""

VALUES = {
    "light_sleep": 1,
    "spi": 1,
    "spi_sck": 10,
    "spi_mosi": 11,
    "spi_miso": 12,
    "spi_hz": 8_000_000,
    "radio_cs": 3,
    "radio_reset": 15,
    "radio_busy": 2,
    "radio_dio1": 20,
    "radio_tcxo_mv": 1800,
    "radio_tcxo_us": 5000,
    "radio_dio2_switch": 1,
    "radio_dcdc": 1,
    "radio_power_max_dbm": 22,
    "radio_antenna_gain_db": 2,
    "rs485_uart": 0,
    "rs485_tx": 0,
    "rs485_rx": 1,
    "rs485_de": 4,
    "gnss_uart": 1,
    "gnss_tx": 8,
    "gnss_rx": 9,
    "gnss_baud": 9600,
    "wired_de": 21,
    "rain": 5,
    "supply": 17,
    "float": 6,
    "siren": 7,
    "siren_test": 18,
    "siren_adc": 27,
    "siren_full_ma": 10_000,  # behind a Hall sensor of 330 mV/A from zero
    "sos": 14,
    "buzzer": 16,
    "led": 25,
    "led_on": 1,
    "battery_adc": 26,
    "battery_full_mv": 9900,  # 3300 mV reference behind 200k/100k
    "i2c": 0,
    "i2c_sda": 22,
    "i2c_scl": 19,
    "accel": 1,
    "humidity": 1,
    "lid": 13,
    "solar_adc": 28,
    "solar_full_mv": 33_000,  # behind 900k/100k
}
