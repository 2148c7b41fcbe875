"""The base of every stage's configuration: strict, frozen, and readable when it refuses something."""

from pydantic import BaseModel, ConfigDict

__all__ = ["StageConfig"]


class StageConfig(BaseModel):
    """Options of one stage. Unknown keys and out-of-range values are errors; instances cannot be changed.

    Each stage's config class sits beside its stage; ``fertrack.config.Settings`` composes them. Every field has a
    default, written once, there.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True, allow_inf_nan=False)
