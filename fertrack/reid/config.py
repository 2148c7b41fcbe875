"""Options of re-identification."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from fertrack.errors import ConfigError
from fertrack.stage_config import StageConfig

__all__ = ["LinkingConfig"]


class LinkingConfig(StageConfig):
    """Options of re-identification: tracks joined to persons after a gap.

    Similarity is 1 minus the Euclidean distance of two tracks' mean embeddings. The defaults were set on the faces of
    eleven people in twelve single-person clips, on a composed clip of five known people, and on a stage show and a
    walking crowd, whose persons are told apart by being seen together. With faces of quality 0.03 and better: of one
    person in one clip (first against last faces, from crying to laughing, from neutral to shouting) similarity is 0.68
    to 0.94, and 0.62 for a singer filmed from two sides; of different people it is at most 0.57, in most cases under
    0.4. Below that quality everybody resembles everybody (0.7 to 0.9 for blurred faces seen side by side). The closest
    pairs of different people were all East Asian men: the network is known to tell some groups apart less well, so
    look at the links where that matters. By looks, two people who were covered for a second resembled themselves by
    0.94 and 0.82, and people side by side in the crowd each other by up to 0.79.

    Raises:
        ConfigError: ``suggest_similarity`` is above ``accept_similarity``.
    """

    method: Literal["auto", "face", "appearance", "off"] = Field(
        "auto",
        description='face: face recognition, needs the extra [reid]; appearance: looks, within seconds; "auto": face '
        "if installed, else appearance; off: every track stays on its own",
    )
    accept_similarity: float = Field(
        0.62, ge=0.0, le=1.0, description="minimum similarity at which tracks are joined (face recognition)"
    )
    suggest_similarity: float = Field(
        0.52, ge=0.0, le=1.0, description="minimum similarity at which tracks that are not joined are suggested"
    )
    min_quality: float = Field(
        0.03, ge=0.0, le=1.0, description="minimum quality (size x frontality x sharpness) of faces that are compared"
    )
    faces_per_track: int = Field(
        5, ge=1, le=50, description="number of best faces compared per track; each costs 50 to 100 ms with [reid]"
    )
    appearance_similarity: float = Field(
        0.8, ge=0.0, le=1.0, description="minimum similarity at which tracks are joined (appearance)"
    )
    appearance_gap_s: float = Field(
        3.0, ge=0.0, le=60.0, description="longest gap that appearance alone may bridge, seconds"
    )
    across: bool = Field(
        False, description="join persons across the files of one command, and with persons whose embeddings are stored"
    )
    store_embeddings: bool = Field(
        False, description="keep the embeddings in the database, so that later runs can be compared with this one"
    )
    embeddings_ttl_days: float = Field(
        30.0, gt=0.0, le=3650.0, description="days after which stored embeddings are deleted"
    )

    @model_validator(mode="after")
    def _suggestions_are_below_links(self) -> Self:
        if self.suggest_similarity > self.accept_similarity:
            raise ConfigError(
                f"linking.suggest_similarity = {self.suggest_similarity:g} is above linking.accept_similarity = "
                f"{self.accept_similarity:g}: suggest less similar tracks than are linked"
            )
        return self
