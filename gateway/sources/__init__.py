"""Where readings come from: Modbus buses and the LoRaWAN network server."""
