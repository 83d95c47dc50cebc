"""What a person reads who filled a form in wrong, in the languages we have.

Owns the texts and which language a caller gets. Must never repeat what was typed.
"""

from __future__ import annotations

from typing import Final

LANGUAGES: Final = ("en", "de")
WORDS: Final[dict[str, dict[str, str]]] = {
    "required": {"en": "Please fill this in.", "de": "Bitte füllen Sie dieses Feld aus."},
    "consent": {"en": "Please tick this box.", "de": "Bitte setzen Sie hier einen Haken."},
    "email": {"en": "This is not a complete e-mail address.", "de": "Das ist keine vollständige E-Mail-Adresse."},
    "phone": {
        "en": "This is not a phone number. Write it with the country code, such as +49.",
        "de": "Das ist keine Telefonnummer. Schreiben Sie sie mit Landesvorwahl, zum Beispiel +49.",
    },
    "min_length": {"en": "Please write at least {} characters.", "de": "Bitte schreiben Sie mindestens {} Zeichen."},
    "max_length": {"en": "Please write at most {} characters.", "de": "Bitte schreiben Sie höchstens {} Zeichen."},
    "pattern": {"en": "This does not have the form that is asked for.", "de": "Das hat nicht die verlangte Form."},
    "options": {"en": "Please choose one of the options.", "de": "Bitte wählen Sie eine der Möglichkeiten."},
    "text": {"en": "This is not text.", "de": "Das ist kein Text."},
}


def word(name: str, language: str, *values: int) -> str:
    """One of WORDS in a language."""
    return WORDS[name][language].format(*values)


def language_of(accept_language: str) -> str:
    """The best of LANGUAGES by an `Accept-Language` header; English when it names none of them."""
    wanted: list[tuple[float, int, str]] = []
    for place, part in enumerate(accept_language[:200].split(",")):
        tag, _, weight = part.strip().partition(";q=")
        try:
            quality = float(weight) if weight else 1.0
        except ValueError:
            quality = 0.0
        if tag[:2].lower() in LANGUAGES and quality > 0:
            wanted.append((-quality, place, tag[:2].lower()))
    return min(wanted)[2] if wanted else "en"
