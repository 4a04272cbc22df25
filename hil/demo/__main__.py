"""`python -m hil.demo`, the same as `tukad hil demo`."""

from hil.demo.command import demo

demo()
