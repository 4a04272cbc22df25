"""What a technician does with a device on a cable: flash, provision, test, commission."""
