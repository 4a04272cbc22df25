"""LED running-text boards and price boards on Modbus: flood text first, else the market."""
