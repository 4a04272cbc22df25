"""Why a batch was refused: `BatchError`, a remote error with a code from a closed list.

code         meaning, and what the receiver should do
-----------  -----------------------------------------------------------------------------
truncated    fewer bytes than the smallest batch has: drop it
checksum     CRC-32C does not match: damaged on the way, or made with another catalogue
version      a format version this code does not know: update the decoder
prior        a trained prior this code does not carry: update the decoder
catalogue    the catalogue named in the header is not known: get the retained message
reference    the batch that this one builds on is not known: ask for a self-contained one
structure    the checksum matches but the content contradicts itself: a bug at the sender
"""

from protocols.errors import RemoteError

CODES = ("truncated", "checksum", "version", "prior", "catalogue", "reference", "structure")


class BatchError(RemoteError):
    """A batch or a catalogue message that cannot be used; nothing of it was used."""
