"""Options about people's rights: purpose, consent and retention."""

from __future__ import annotations

import re
import unicodedata
from typing import Literal

from pydantic import Field, ValidationInfo, field_validator

from fertrack.stage_config import StageConfig

__all__ = ["PrivacyConfig", "refused_area"]

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


def refused_area(purpose: str) -> str:
    """Prohibited area that a purpose names: "at work", "in education", or "" for neither.

    A list of words, in English and a few in German, French and Spanish, that reminds; it does not decide what the law
    says. What it finds may be harmless, and what it does not find may be prohibited.

    >>> refused_area("Workplace wellbeing"), refused_area("e-learning study"), refused_area("usability study")
    ('at work', 'in education', '')
    """
    apart = unicodedata.normalize("NFKD", purpose.casefold().replace("_", " "))
    words = " ".join(re.findall(r"\w+", "".join(each for each in apart if not unicodedata.combining(each))))
    return next((area for area, found in _AREAS.items() if re.search(rf"\b({'|'.join(found)})\b", words)), "")


class PrivacyConfig(StageConfig):
    """Purpose, consent and retention of a run. Stored with the run, shown in its report."""

    # Before purpose: whether a purpose is refused depends on it.
    override: Literal["", "medical", "safety"] = Field(
        "",
        description='"medical" or "safety": this run at work or in education serves a medical or safety reason, the '
        "exceptions of EU AI Act Art. 5(1)(f). Stored with the run. Nothing else lifts that prohibition.",
    )
    purpose: str = Field(
        "",
        max_length=500,
        description='Purpose of the analysis, for example "usability study 7". Workplace and education are '
        "refused (EU AI Act, Art. 5(1)(f)) unless override says medical or safety. The check is a "
        "word list: it reminds, it does not decide what is allowed.",
    )
    consent: str = Field(
        "",
        max_length=500,
        description='Basis of consent, for example "signed forms 12-19" or "public-domain images".',
    )
    require_purpose: bool = Field(False, description="Refuse to process anything without a stated purpose.")
    retention_days: int | None = Field(
        None,
        ge=1,
        le=36_500,
        description="`fertrack privacy purge` deletes the run this many days after it ended; never if unset.",
    )
    thumbnails: bool = Field(
        False,
        description="Keep one small image of each person's face in the database, for the report. It shows who "
        "they are: ask the people first. Without it no image of a face is stored.",
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
