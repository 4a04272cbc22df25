"""`tbeam-supreme`: LilyGO T-Beam Supreme (ESP32-S3, SX1262, GNSS, AXP2101 power chip).

Sources: meshtastic/firmware variants/tbeam-s3-core/variant.h (SPI 12/11/13, CS 10, RESET 5,
BUSY 4, DIO1 1; GNSS on 8/9; AXP2101 on SDA 42, SCL 41); there DIO2 drives the antenna switch and
DIO3 the TCXO at 1.8 V. The AXP2101 feeds the radio from ALDO3 and the receiver from ALDO4,
so both rails must be on before anything answers.
"""

VALUES = {
    "light_sleep": 0,
    "spi": 1,
    "spi_sck": 12,
    "spi_mosi": 11,
    "spi_miso": 13,
    "spi_hz": 8_000_000,
    "radio_cs": 10,
    "radio_reset": 5,
    "radio_busy": 4,
    "radio_dio1": 1,
    "radio_tcxo_mv": 1800,
    "radio_tcxo_us": 5000,
    "radio_dio2_switch": 1,
    "radio_dcdc": 1,
    "radio_power_max_dbm": 22,
    "radio_antenna_gain_db": 2,
    "gnss_uart": 1,
    "gnss_tx": 8,
    "gnss_rx": 9,
    "gnss_baud": 9600,
    "sos": 0,
    "buzzer": 14,
    "float": 2,
    "pmu_i2c": 1,
    "pmu_sda": 42,
    "pmu_scl": 41,
    "pmu_rails": 0b001100,
}
