"""What a run is for, and for how long it may be kept: what has to be stated, what is refused, what people must be told.

The law meant here is Regulation (EU) 2024/1689, the AI Act: Article 5(1)(f) prohibits inferring emotions of persons at
work and in education, except for medical or safety reasons; Article 50(3) makes whoever runs such a system elsewhere
inform the persons exposed to it. Estimates of expressions count as such inferences, whatever they are called. This
module is a reminder in the right place, not legal advice.
"""

from __future__ import annotations

import re
from typing import Literal

from pydantic import Field, ValidationInfo, field_validator

from fertrack.errors import ConfigError
from fertrack.stage_config import StageConfig

__all__ = ["NOTICE", "UNSTATED", "PrivacyConfig", "check_stated", "refused_area"]

_AREAS: dict[str, str] = {
    "at work": (
        r"work ?places?|at work|employ(ee|er|ment)s?|staff|workforce|workers?|hiring|recruit(ing|ment|ers?)?|"
        r"job (interviews?|applica(nts?|tions?))|human resources|performance reviews?|call cent(re|er)s?"
    ),
    "in education": (
        r"educations?|educational|schools?|schooling|class ?rooms?|pupils?|teaching|lectures?|exams?|proctoring|"
        r"e ?learning|kindergartens?|students? (attention|engagement|monitoring|behaviou?r)|"
        r"(attention|engagement|monitoring) of students"
    ),
}
"""Area of Article 5(1)(f), and the words by which a stated purpose is taken to lie in it."""

UNSTATED = (
    "no purpose was stated (--purpose, --consent): people who are filmed must know what for; 'fertrack notice' prints "
    "what to tell them"
)
"""The line shown after a run that says nothing about its purpose."""

NOTICE = """\
NOTICE: FACIAL EXPRESSION ANALYSIS

An AI system is used on recordings in which you can be seen.

What it does    It finds faces in the video, follows each person through it, and estimates which of seven
                expressions (surprise, fear, disgust, happiness, sadness, anger, neutral) each face resembles.
                Under EU law this is an emotion recognition system. An estimate describes how a face looks in a
                picture; it does not show what a person feels, and it can be wrong.
What it is for  [purpose of the recording and of the analysis]
Who runs it     [name and contact of the person or organisation responsible]
What is kept    Per person and video frame: time, position of the face, estimated expression. [Video kept: yes / no]
                [Vectors by which faces are recognised again: yes / no]
For how long    [days], then it is deleted.
Your choice     [legal basis, for example your consent, and how to withdraw it]
                You may ask what is held about you, have it corrected, and have it deleted: [contact].
                You may complain to a data protection authority.

This information is given under Article 50(3) of Regulation (EU) 2024/1689 (AI Act) and Articles 13 and 14 of
Regulation (EU) 2016/679 (GDPR).
"""
"""What the people filmed must be told, with blanks in brackets."""


def refused_area(purpose: str) -> str:
    """In which prohibited area a purpose lies: "at work", "in education", or "" for neither.

    >>> refused_area("Workplace wellbeing"), refused_area("e-learning study"), refused_area("usability study")
    ('at work', 'in education', '')
    """
    words = " ".join(re.findall(r"\w+", purpose.casefold().replace("_", " ")))
    return next((area for area, pattern in _AREAS.items() if re.search(rf"\b({pattern})\b", words)), "")


class PrivacyConfig(StageConfig):
    """What a run is for, on what consent, and for how long it is kept. Stored with the run, shown in its report."""

    # Before purpose: whether a purpose is refused depends on it.
    override: Literal["", "medical", "safety"] = Field(
        "",
        description='"medical" or "safety": this run at work or in education serves a medical or safety reason, the '
        "exceptions of EU AI Act Art. 5(1)(f). Stored with the run. Nothing else lifts that prohibition.",
    )
    purpose: str = Field(
        "",
        max_length=500,
        description='What the analysis is for, for example "usability study 7". Workplace and education are refused '
        "(EU AI Act, Art. 5(1)(f)) unless override says medical or safety.",
    )
    consent: str = Field(
        "", max_length=500, description='On what consent, for example "signed forms 12-19" or "public-domain pictures".'
    )
    require_purpose: bool = Field(False, description="Process nothing whose purpose is not stated.")
    retention_days: int | None = Field(
        None,
        ge=1,
        le=36_500,
        description="`fertrack purge` deletes the run this many days after it ended; never if unset.",
    )
    thumbnails: bool = Field(
        False,
        description="Keep one small picture of each person's face in the database, for the report. It shows who they "
        "are: ask the people first. Without it no picture of a face is stored.",
    )

    @field_validator("purpose", "consent")
    @classmethod
    def _one_line(cls, text: str) -> str:
        return " ".join(text.split())

    @field_validator("purpose")
    @classmethod
    def _permitted(cls, purpose: str, info: ValidationInfo) -> str:
        area = refused_area(purpose)
        if area and not info.data.get("override"):
            raise ValueError(
                f"inferring emotions of people {area} is prohibited in the EU (AI Act, Art. 5(1)(f) of Regulation (EU) "
                '2024/1689), so fertrack refuses it; for a medical or safety reason set privacy.override to "medical" '
                'or "safety"'
            )
        return purpose


def check_stated(config: PrivacyConfig) -> None:
    """Let a run pass that says what it is for, if it has to.

    Raises:
        ConfigError: ``require_purpose`` is set and no purpose is stated.
    """
    if config.require_purpose and not config.purpose:
        raise ConfigError(
            "privacy.require_purpose is set and no purpose is stated: say what the analysis is for with --purpose, or "
            "privacy.purpose in the configuration"
        )
