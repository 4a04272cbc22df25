"""`heltec-v3`: Heltec WiFi LoRa 32 V3 (ESP32-S3, SX1262).

Sources: meshtastic/firmware variants/heltec_v3/variant.h (SPI 9/10/11, CS 8, RESET 12, BUSY 13,
DIO1 14, battery on GPIO1 behind 390k/100k, times 4.9); its heltec board with `ADC_CTRL` 37 low
to connect the divider; beegee-tokyo/SX126x-Arduino issue 82 (TCXO at 1.8 V). DIO2 drives
the antenna switch. Some boards of the series 3.2 need `ADC_CTRL` high: then the battery
reads near 0 and `battery_enable_on` must be 1.
"""

VALUES = {
    "light_sleep": 0,
    "spi": 1,
    "spi_sck": 9,
    "spi_mosi": 10,
    "spi_miso": 11,
    "spi_hz": 8_000_000,
    "radio_cs": 8,
    "radio_reset": 12,
    "radio_busy": 13,
    "radio_dio1": 14,
    "radio_tcxo_mv": 1800,
    "radio_tcxo_us": 5000,
    "radio_dio2_switch": 1,
    "radio_dcdc": 1,
    "radio_power_max_dbm": 22,
    "radio_antenna_gain_db": 2,
    "rs485_uart": 1,
    "rs485_tx": 47,
    "rs485_rx": 48,
    "rs485_de": 26,
    "gnss_uart": 2,
    "gnss_tx": 45,
    "gnss_rx": 46,
    "gnss_baud": 9600,
    "rain": 4,
    "float": 5,
    "siren": 6,
    "siren_test": 33,
    "siren_adc": 2,
    "siren_full_ma": 9390,  # 3100 mV at 11 dB behind a Hall sensor of 330 mV/A from zero
    "sos": 0,  # the PRG button
    "buzzer": 7,
    "led": 35,
    "led_on": 1,
    "battery_adc": 1,
    # `read_u16` is scaled to the 2.5 dB or 11 dB range by the port: 3100 mV at 11 dB, times 4.9.
    "battery_full_mv": 15_190,
    "battery_enable": 37,
    "battery_enable_on": 0,
}
