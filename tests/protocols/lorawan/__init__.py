"""LoRaWAN tests for both runtimes."""
