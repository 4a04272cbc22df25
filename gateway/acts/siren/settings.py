"""Section [siren]: which sirens there are, and which sounds for which gauge and level."""

from dataclasses import dataclass

from gateway.config import setting

FEEDBACKS = ("none", "input", "register")
DURATIONS_S = (0, 30, 60, 120)  # by level, where a rule gives none
PATTERNS = 8


@dataclass(frozen=True, kw_only=True)
class UnitSettings:
    """[[siren.unit]]: a siren node by LoRaWAN (`device`), or a relay on Modbus (`port`)."""

    name: str = setting(doc="name in rules, messages and alarms")
    device: str = setting("", doc="name of the [[device]] that is this siren")
    port: str = setting("", doc='or: the relay\'s line, "/dev/..." or "tcp://HOST:PORT"')
    baud: int = setting(9600, low=1200, high=115_200, doc="of a serial line, 8N1")
    unit: int = setting(1, low=1, high=247, doc="Modbus address of the relay")
    coil: int = setting(0, low=0, high=65_535, doc="Modbus coil that sounds the siren")
    feedback: str = setting(
        "none",
        choices=FEEDBACKS,
        doc="proof of a wired siren: a discrete input, or an input register with a current",
    )
    feedback_address: int = setting(0, low=0, high=65_535, doc="of the input or register")
    feedback_least: int = setting(1, low=1, high=65_535, doc="register value that means sound")
    proof: bool = setting(True, doc="false: a node that cannot measure its amplifier")

    def __post_init__(self) -> None:
        if bool(self.device) == bool(self.port):
            raise ValueError(f'siren.unit "{self.name}": give device or port, one of them')


@dataclass(frozen=True, kw_only=True)
class RuleSettings:
    """[[siren.rule]]: a level at a gauge sounds these sirens."""

    gauges: tuple[str, ...] = setting(doc="devices or sensors whose stage counts")
    level: int = setting(low=1, high=3, doc="1 Waspada, 2 Siaga, 3 Awas")
    sirens: tuple[str, ...] = setting(doc="units that sound")
    backup: tuple[str, ...] = setting((), doc="units that sound, in turn, when one gave no proof")
    pattern: int = setting(0, low=0, high=7, doc="0: the level's own; 1..7 as in docs/siren.md")
    duration_s: int = setting(0, low=0, high=900, unit="s", doc="0: 30, 60, 120 s by level")

    @property
    def sound(self) -> tuple[int, int]:
        """Pattern and seconds."""
        return self.pattern or self.level, self.duration_s or DURATIONS_S[self.level]


@dataclass(frozen=True, kw_only=True)
class SirenSettings:
    """Section [siren]."""

    unit: tuple[UnitSettings, ...] = setting(doc="the sirens")
    rule: tuple[RuleSettings, ...] = setting((), doc="when they sound")
    answer_s: float = setting(
        2.0,
        low=1,
        high=60,
        unit="s",
        doc="a node says nothing: the same order is sent again, and after twice as long once more",
    )
    proof_s: float = setting(
        20.0, low=5, high=600, unit="s", doc="no proof of sound: retry once, then the backup"
    )
    max_age_s: float = setting(
        600.0, low=10, high=86_400, unit="s", doc="an alarm older than this sounds nothing"
    )
    max_soundings: int = setting(
        6, low=1, high=100, doc="of one siren for one incident, retries apart"
    )
    quiet_from_h: int = setting(21, low=0, high=23, unit="h", doc="no audible test from here")
    quiet_to_h: int = setting(7, low=0, high=23, unit="h", doc="to here, local time")

    def __post_init__(self) -> None:
        names = [one.name for one in self.unit]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f'two [[siren.unit]] tables have the name "{name}"')
        for rule in self.rule:
            for name in (*rule.sirens, *rule.backup):
                if name not in names:
                    raise ValueError(
                        f'siren.rule: there is no [[siren.unit]] "{name}"; there are: '
                        + ", ".join(names)
                    )
