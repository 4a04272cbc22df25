"""Signed commands and configurations from operators, over MQTT."""
