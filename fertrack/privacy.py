"""What a run is for, and for how long it may be kept: what has to be stated, what is refused, what people must be told.

The law meant here is Regulation (EU) 2024/1689, the AI Act: Article 5(1)(f) prohibits inferring emotions of persons at
work and in education, except for medical or safety reasons; Article 50(3) makes whoever runs such a system elsewhere
inform the persons exposed to it. Estimates of expressions count as such inferences, whatever they are called. This
module is a reminder in the right place, not legal advice.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Literal

from pydantic import Field, ValidationInfo, field_validator

from fertrack.errors import ConfigError
from fertrack.stage_config import StageConfig

__all__ = ["NOTICE", "UNSTATED", "PrivacyConfig", "check_stated", "notice_text", "refused_area"]

_OURS = r"((my|our|your|their|the|a|an|his|her|this|night|day|late|early|all) )*"
_LOOKED_AT = (
    r"attention|behaviou?rs?|boredom|burn ?out|emotions?|engagement|expressions?|faces|feelings|monitoring|mood|morale|"
    r"motivation|satisfaction|stress|well ?being"
)

_AREAS: dict[str, tuple[str, ...]] = {
    "at work": (
        r"work ?places?|workforce|workers?|coworkers?|co workers?|colleagues?|employ(ee|er|ment)s?|staff|"
        rf"(at|during|after) {_OURS}work|on the job|(in|at) {_OURS}office|(on|in|during) {_OURS}shifts?",
        r"hiring|recruit(ing|ment|ers?)?|job (interviews?|applica(nts?|tions?))|human resources|performance reviews?|"
        r"call cent(re|er)s?|(team|staff|business|sales|work) (in )?meetings?",
        rf"({_LOOKED_AT}) (of|in|among|for) {_OURS}(team|nurses|doctors|drivers|cashiers|clerks|agents|operators)|"
        rf"(team|nurses?|doctors?|drivers?|cashiers?|clerks?|agents?|operators?) (s )?({_LOOKED_AT})",
        # German, French, Spanish, without accents
        r"arbeitsplatz\w*|arbeitsplatze\w*|arbeitnehmer\w*|arbeitgeber\w*|mitarbeit(er|end)\w*|belegschaft\w*|"
        r"beschaftigte[nrs]?|(bei|wahrend) der arbeit|im buro|kolleg(e|en|in|innen)|bewerb(er\w*|ung\w*)|"
        r"personalabteilung|vorstellungsgesprach\w*",
        r"au travail|(lieu|poste) de travail|salarie(e?s?)|employe(e?s)|collegues?|recrutement|entretiens? d embauche",
        r"en el trabajo|(lugar|puesto) de trabajo|trabajador(a|es|as)?|emplead[oa]s?|entrevistas? de trabajo",
    ),
    "in education": (
        r"educations?|educational|schools?|schooling|class ?rooms?|(?<!best )in class|during class|pupils?|lectures?|"
        r"proctoring|e ?learning|kindergartens?",
        r"teaching(?! ((my|our|the|a|an) )*(robot|machine|computer|model|network|dog)s?\b)",
        r"(?<!eye )(?<!medical )(?<!health )(?<!physical )(?<!dental )exams?",
        rf"students? (s )?({_LOOKED_AT})|({_LOOKED_AT}|grading|grades) (of|in|among|for) {_OURS}students?|"
        rf"(grading|proctoring|monitoring|watching) {_OURS}students?",
        r"schule|schulen|schulklassen?|schulunterricht|schulkind(er)?|schulung(en)?|schuler(in|innen|n)?|unterricht\w*|"
        r"klassenzimmer\w*|vorlesung(en)?|klausur(en)?|(mund|schrift)liche prufung(en)?|studierende[nr]?",
        r"ecoles?|eleves?|etudiant(e?s)|salles? de classe|en classe|enseignement",
        r"escuelas?|alumn[oa]s?|estudiantes|aulas?|en clase|ensenanza",
    ),
}
"""Area of Article 5(1)(f), and words by which a stated purpose is taken to lie in it. No list is complete."""

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
                [One small picture of each person's face kept: yes / no]
                [Vectors by which faces are recognised again: yes / no]
For how long    [days], then it is deleted.
Your choice     [legal basis, for example your consent, and how to withdraw it]
                You may ask what is held about you, have it corrected, and have it deleted: [contact].
                You may complain to a data protection authority.

This information is given under Article 50(3) of Regulation (EU) 2024/1689 (AI Act) and Articles 13 and 14 of
Regulation (EU) 2016/679 (GDPR).
"""
"""What the people filmed must be told, with blanks in brackets."""


_PICTURES = "[One small picture of each person's face kept: yes / no]"
_VECTORS = "[Vectors by which faces are recognised again: yes / no]"


def refused_area(purpose: str) -> str:
    """In which prohibited area the words of a purpose lie: "at work", "in education", or "" for neither.

    A list of words, in English and a few in German, French and Spanish, that reminds; it does not decide what the law
    says. What it finds may be harmless, and what it does not find may be prohibited.

    >>> refused_area("Workplace wellbeing"), refused_area("e-learning study"), refused_area("usability study")
    ('at work', 'in education', '')
    """
    apart = unicodedata.normalize("NFKD", purpose.casefold().replace("_", " "))
    words = " ".join(re.findall(r"\w+", "".join(each for each in apart if not unicodedata.combining(each))))
    return next((area for area, found in _AREAS.items() if re.search(rf"\b({'|'.join(found)})\b", words)), "")


def notice_text(*, thumbnails: bool = False, embeddings_days: float | None = None) -> str:
    """What the people filmed must be told, with blanks in brackets, and what is kept of their faces filled in.

    Args:
        thumbnails: whether a small picture of each face is kept.
        embeddings_days: for how many days vectors by which faces are recognised again are kept; None: they are not.
    """
    text = NOTICE
    if thumbnails:
        text = text.replace(_PICTURES, "One small picture of your face, for the report.")
    if embeddings_days is not None:
        kept = f"A vector by which your face is recognised again (biometric data): for {embeddings_days:g} days."
        text = text.replace(_VECTORS, kept)
    return text


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
        "(EU AI Act, Art. 5(1)(f)) unless override says medical or safety; a list of words reminds of that, and does "
        "not decide what is allowed.",
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
