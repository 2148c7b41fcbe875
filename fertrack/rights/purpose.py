"""Purpose and retention of a run: what must be stated, what is refused, what people must be told.

The law meant here is Regulation (EU) 2024/1689, the AI Act: Article 5(1)(f) prohibits inferring emotions of persons at
work and in education, except for medical or safety reasons; Article 50(3) makes whoever runs such a system elsewhere
inform the persons exposed to it. Estimates of expressions count as such inferences, whatever they are called. This
module is a reminder in the right place, not legal advice.
"""

from __future__ import annotations

from fertrack.errors import ConfigError, WrongUsageError
from fertrack.rights.config import PrivacyConfig
from fertrack.storage.config import RecordingConfig
from fertrack.storage.people.plain_text import MAX_LINE, check_plain

__all__ = ["NOTICE", "UNSTATED", "check_stated", "notice_text"]


UNSTATED = (
    "no purpose was stated (--purpose, --consent): people who are filmed must know what for; 'fertrack privacy "
    "notice' prints what to tell them, 'fertrack guide rights' explains why"
)
"""The line shown after a run that says nothing about its purpose."""

NOTICE = """\
NOTICE: FACIAL EXPRESSION ANALYSIS

An AI system is used on recordings in which you can be seen.

What it does    It finds faces in the video, follows each person through it, and estimates which of seven
                expressions (surprise, fear, disgust, happiness, sadness, anger, neutral) each face resembles.
                Under EU law this is an emotion recognition system. An estimate describes how a face looks in a
                image; it does not show what a person feels, and it can be wrong.
What it is for  [purpose of the recording and of the analysis]
Who runs it     [name and contact of the person or organisation responsible]
What is kept    Per person and video frame: time, position of the face, estimated expression. [Video kept: yes / no]
                [One small image of each person's face kept: yes / no]
                [Vectors by which faces are recognised again: yes / no]
For how long    [days], then it is deleted.
Your choice     [legal basis, for example your consent, and how to withdraw it]
                You may ask what is held about you, have it corrected, and have it deleted: [contact].
                You may complain to a data protection authority.

This information is given under Article 50(3) of Regulation (EU) 2024/1689 (AI Act) and Articles 13 and 14 of
Regulation (EU) 2016/679 (GDPR).
"""
"""Notice for the people filmed, with blanks in brackets."""


_PICTURES = "[One small image of each person's face kept: yes / no]"
_VECTORS = "[Vectors by which faces are recognised again: yes / no]"


def notice_text(*, thumbnails: bool = False, embeddings_days: float | None = None) -> str:
    """Notice for the people filmed, with blanks in brackets, and what is kept of their faces filled in.

    Args:
        thumbnails: whether a small image of each face is kept.
        embeddings_days: for how many days vectors by which faces are recognised again are kept; None: they are not.
    """
    text = NOTICE
    if thumbnails:
        text = text.replace(_PICTURES, "One small image of your face, for the report.")
    if embeddings_days is not None:
        kept = f"A vector by which your face is recognised again (biometric data): for {embeddings_days:g} days."
        text = text.replace(_VECTORS, kept)
    return text


def check_stated(config: PrivacyConfig, recording: RecordingConfig | None = None) -> None:
    """Check that a run states its purpose, if it has to, and that what it states is plain text.

    Raises:
        ConfigError: ``require_purpose`` is set and no purpose is stated; or a text cannot be stored and printed.
    """
    texts = {"privacy.purpose": config.purpose, "privacy.consent": config.consent}
    if recording is not None:
        texts |= {f"recording.{name}": text for name, text in recording.model_dump().items()}
    for option, text in texts.items():
        try:
            check_plain(text, option, MAX_LINE)
        except ValueError as error:
            raise WrongUsageError(str(error)) from error
    if config.require_purpose and not config.purpose:
        raise ConfigError(
            "privacy.require_purpose is set and no purpose is stated: say what the analysis is for with --purpose, or "
            "privacy.purpose in the configuration"
        )
