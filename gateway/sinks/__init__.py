"""Where readings and alarms go."""
