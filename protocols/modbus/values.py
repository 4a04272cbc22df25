"""Values out of registers: `decode_value`, with types, word orders, scales and invalid codes."""

from protocols.errors import LocalError


def decode_value(
    registers: "list[int]",
    kind: str,
    order: str = "ABCD",
    numerator: int = 1,
    denominator: int = 1,
    invalid: "tuple[int, ...]" = (),
) -> "int | None":
    """Scaled integer value: raw * numerator / denominator, rounded half away from zero.

    kind is "u16", "s16" (one register), "u32", "s32", "f32" (two); order ABCD, CDAB, BADC, DCBA.
    None for a raw value listed in `invalid`, NaN or infinity. A f32 is scaled before rounding.
    Raises LocalError("kind" | "order" | "length").
    """
    raise LocalError("unfinished")
