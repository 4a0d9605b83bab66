"""What stays the same through a story."""

from dataclasses import dataclass
from random import Random


@dataclass(frozen=True)
class Setting:
    """What stays the same through a story; `versions` is no, bucket (rows name none) or rows.

    `brake` is how few are believed, `whole` has sheets held whole, however short they are.
    """

    flagging: bool = True
    versions: str = "no"
    brake: str = ""
    whole: bool = False
    etags: bool = False  # rows have them
    skew_s: float = 0.0  # of MinIO's clock


def setting_of(random: Random) -> Setting:
    """Return a setting, from a source of randomness."""
    return Setting(
        flagging=random.random() < 0.85,
        versions=random.choice(("no", "no", "bucket", "rows")),
        brake=random.choice(("few", "few", "a share", "half a bucket")) if random.random() < 0.2 else "",
        whole=random.random() < 0.5,
        etags=random.random() < 0.33,
        skew_s=random.choice((0.0, 0.0, -7200.0, 7200.0)),
    )
