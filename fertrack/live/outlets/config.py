"""Options of what a live run sends to other programs."""

from __future__ import annotations

from pydantic import Field

from fertrack.stage_config import StageConfig

__all__ = ["OutletConfig"]


class OutletConfig(StageConfig):
    """Outlets of a live run for other programs of this machine or, with LSL, of its network."""

    lsl: bool = Field(
        False,
        description="Send estimates and events over Lab Streaming Layer, which the local network can receive; needs "
        "the extra [lsl].",
    )
    lsl_slots: int = Field(
        4, ge=1, le=64, description="Persons with a stream of their own; further ones wait until somebody has left."
    )
    jsonl: bool = Field(
        False, description="Write each result and event to standard output, a line of JSON each; so is the summary."
    )
    jsonl_port: int = Field(
        0,
        ge=0,
        le=65535,
        description="Send the same lines to programs of this machine that connect to this port; 0: none.",
    )
