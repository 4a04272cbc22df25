"""`pico-waveshare`: Raspberry Pi Pico on a Waveshare Pico-LoRa-SX1262 (868/915 MHz).

Sources: Waveshare's wiki page and schematic of the module (SPI1 on 10/11/12, CS 3, BUSY 2,
RESET 15, DIO1 20; battery behind 200k/100k on GP26); meshtastic/firmware, the Linux
`lora-*` file for this module (DIO2 drives the antenna switch, TCXO on DIO3 at 1.8 V). The LF
(433 MHz) version has a crystal and needs `radio_tcxo_mv` 0 (ehong-tl/micropySX126X issue 26).
RS-485, GNSS, rain, float, siren and button go to free pins; the choice is ours.
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
    "rs485_power": 22,
    "gnss_uart": 1,
    "gnss_tx": 8,
    "gnss_rx": 9,
    "gnss_baud": 9600,
    "wired_de": 21,
    "rain": 5,
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
    # 3.0 by the resistors; 3.1 to 3.12 was measured on two modules (meshtastic, freakwan), so
    # commissioning should compare with a meter.
    "battery_full_mv": 9900,
}
