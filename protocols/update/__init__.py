"""Updates of the device's program: signatures, manifest, and their transport in fragments."""
