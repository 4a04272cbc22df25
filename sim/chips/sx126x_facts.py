"""Constants of the SX1261/2 data sheet (DS.SX1261-2.W.APP) that the model stands on.

Opcodes and register addresses agree with Semtech's public driver (Lora-net/sx126x_driver,
src/sx126x.c and sx126x_regs.h); switching times agree with table 33 of ST's RM0453, whose
STM32WL carries the same radio.
"""

# Opcode -> (name, parameter bytes: exact count, or least count for "data follows").
# Bytes are counted after the opcode, as the host sends them.
COMMANDS = {
    0x84: ("SetSleep", 1),
    0x80: ("SetStandby", 1),
    0xC1: ("SetFs", 0),
    0x83: ("SetTx", 3),
    0x82: ("SetRx", 3),
    0x9F: ("StopTimerOnPreamble", 1),
    0x94: ("SetRxDutyCycle", 6),
    0xC5: ("SetCad", 0),
    0xD1: ("SetTxContinuousWave", 0),
    0xD2: ("SetTxInfinitePreamble", 0),
    0x96: ("SetRegulatorMode", 1),
    0x89: ("Calibrate", 1),
    0x98: ("CalibrateImage", 2),
    0x95: ("SetPaConfig", 4),
    0x93: ("SetRxTxFallbackMode", 1),
    0x0D: ("WriteRegister", 3),
    0x1D: ("ReadRegister", 4),
    0x0E: ("WriteBuffer", 2),
    0x1E: ("ReadBuffer", 3),
    0x08: ("SetDioIrqParams", 8),
    0x12: ("GetIrqStatus", 3),
    0x02: ("ClearIrqStatus", 2),
    0x9D: ("SetDio2AsRfSwitchCtrl", 1),
    0x97: ("SetDio3AsTcxoCtrl", 4),
    0x86: ("SetRfFrequency", 4),
    0x8A: ("SetPacketType", 1),
    0x11: ("GetPacketType", 2),
    0x8E: ("SetTxParams", 2),
    0x8B: ("SetModulationParams", 4),
    0x8C: ("SetPacketParams", 6),
    0x88: ("SetCadParams", 7),
    0x8F: ("SetBufferBaseAddress", 2),
    0xA0: ("SetLoRaSymbNumTimeout", 1),
    0xC0: ("GetStatus", 1),
    0x13: ("GetRxBufferStatus", 3),
    0x14: ("GetPacketStatus", 4),
    0x15: ("GetRssiInst", 2),
    0x10: ("GetStats", 7),
    0x00: ("ResetStats", 6),
    0x17: ("GetDeviceErrors", 3),
    0x07: ("ClearDeviceErrors", 2),
}
OPEN_ENDED = {0x0D, 0x1D, 0x0E, 0x1E}
# Reads may stop early or go on; only the parameters before the answer must be there.
READS = {0xC0: 0, 0x12: 0, 0x11: 0, 0x13: 0, 0x14: 0, 0x15: 0, 0x10: 0, 0x17: 0}

SLEEP, STDBY_RC, STDBY_XOSC, FS, RX, TX = 0, 2, 3, 4, 5, 6  # chip mode of the status byte

# Command status of the status byte (table 13-77).
STATUS_NONE, STATUS_DATA, STATUS_TIMEOUT = 1, 2, 3
STATUS_PROCESSING, STATUS_EXECUTE, STATUS_TX_DONE = 4, 5, 6

IRQ_TX_DONE = 1 << 0
IRQ_RX_DONE = 1 << 1
IRQ_PREAMBLE = 1 << 2
IRQ_SYNC = 1 << 3
IRQ_HEADER = 1 << 4
IRQ_HEADER_ERROR = 1 << 5
IRQ_CRC_ERROR = 1 << 6
IRQ_CAD_DONE = 1 << 7
IRQ_CAD_DETECTED = 1 << 8
IRQ_TIMEOUT = 1 << 9

ERROR_RC64K, ERROR_RC13M, ERROR_PLL, ERROR_ADC = 1 << 0, 1 << 1, 1 << 2, 1 << 3
ERROR_IMAGE, ERROR_XOSC, ERROR_PLL_LOCK, ERROR_PA_RAMP = 1 << 4, 1 << 5, 1 << 6, 1 << 8

LORA, GFSK = 1, 0

LORA_BW_HZ = {
    0x00: 7_810, 0x08: 10_420, 0x01: 15_630, 0x09: 20_830, 0x02: 31_250,
    0x0A: 41_670, 0x03: 62_500, 0x04: 125_000, 0x05: 250_000, 0x06: 500_000,
}  # fmt: skip
RAMP_US = {0: 10, 1: 20, 2: 40, 3: 80, 4: 200, 5: 800, 6: 1_700, 7: 3_400}
TCXO_MV = {0: 1_600, 1: 1_700, 2: 1_800, 3: 2_200, 4: 2_400, 5: 2_700, 6: 3_000, 7: 3_300}
CAD_SYMBOLS = {0: 1, 1: 2, 2: 4, 3: 8, 4: 16}

# Switching times (table 8-2), microseconds; `None` is sleep.
COLD_START_US = 3_500
WARM_START_US = 340
SWITCH_US = {
    (STDBY_RC, STDBY_XOSC): 31,
    (STDBY_RC, FS): 50,
    (STDBY_RC, RX): 83,
    (STDBY_RC, TX): 126,
    (STDBY_XOSC, FS): 40,
    (STDBY_XOSC, TX): 105,
    (STDBY_XOSC, RX): 62,
    (FS, RX): 41,
    (FS, TX): 76,
    (RX, FS): 15,
    (RX, TX): 92,
}
COMMAND_BUSY_US = 4  # of a command without a mode change; the sheet gives no single figure
CALIBRATE_US = 3_500
CALIBRATE_IMAGE_US = 2_500
SLEEP_STORE_US = 500  # after SetSleep, NSS stays high at least this long (13.1.1)
RESET_PULSE_US = 50  # least NRESET low time (8.1: 100 us typical, 50 us least)
RTC_STEP_US = 15.625

REG_HOPPING = 0x0385
REG_SYNC_WORD = 0x0740
REG_SYNCH_TIMEOUT = 0x0706
REG_IQ_POLARITY = 0x0736
REG_RANDOM = 0x0819
REG_TX_MODULATION = 0x0889
REG_RX_GAIN = 0x08AC
REG_TX_CLAMP = 0x08D8
REG_OCP = 0x08E7
REG_RTC_CONTROL = 0x0902
REG_XTA_TRIM = 0x0911
REG_EVENT_CLEAR = 0x0944
REG_RETENTION = 0x029F

RESET_REGISTERS = {
    REG_SYNC_WORD: 0x14,
    REG_SYNC_WORD + 1: 0x24,
    REG_IQ_POLARITY: 0x0D,
    REG_TX_MODULATION: 0x01,
    REG_RX_GAIN: 0x94,
    REG_TX_CLAMP: 0xC8,
    REG_OCP: 0x18,
    REG_RTC_CONTROL: 0x00,
    REG_XTA_TRIM: 0x05,
    REG_XTA_TRIM + 1: 0x05,
    REG_EVENT_CLEAR: 0x00,
}
RX_GAIN_BOOSTED = 0x96
OCP_SX1262 = 0x38  # 140 mA, set by SetPaConfig with deviceSel 0
OCP_SX1261 = 0x18  # 60 mA

PUBLIC_SYNC_WORD = 0x3444
PRIVATE_SYNC_WORD = 0x1424

# Largest (paDutyCycle, hpMax) and the power they give at 22 dBm (table 13-21), SX1262.
PA_MAX_DBM = {(4, 7): 22, (3, 5): 20, (2, 3): 17, (2, 2): 14}
