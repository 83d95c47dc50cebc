"""The reply alone: a public set of 64, and mail as programs in several languages write it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reflexarc_server.inbound.reply_text import TEXT_CHARACTERS_MAX, reply_text

EXACT_MIN = 40
"""Of the 64, white space folded; the best library reaches 28. What the code reaches is in docs/replies.md."""


def folded(text: str) -> str:
    return re.sub(r"\s+", " ", text).strip()


def test_the_public_set(real_sets: Path) -> None:
    folder = real_sets / "email_replies_discourse"
    names = sorted(path.name for path in (folder / "emails").iterdir())
    assert len(names) == 64
    wrong = [
        name for name in names
        if folded(reply_text((folder / "emails" / name).read_text())) != folded((folder / "trimmed" / name).read_text())
    ]  # fmt: skip
    print(f"{len(names) - len(wrong)} of {len(names)} exact; not: {', '.join(wrong)}")
    assert len(names) - len(wrong) >= EXACT_MIN, wrong


QUOTE = "> Shall we meet on Monday?\n> At ten?\n"


@pytest.mark.parametrize(
    "introduction",
    [
        "On Tue, 3 Nov 2026 at 09:12, Anna Example <anna@example.com> wrote:",
        "On Tue, 3 Nov 2026 at 09:12, Anna Example-With-A-Long-Name <\nanna@example.com> wrote:",
        "On Nov 3, 2026, at 9:12 AM, Anna <anna@example.com> wrote:",
        "Am 03.11.2026 um 09:12 schrieb Anna Example <anna@example.com>:",
        "Am Di., 3. Nov. 2026 um 09:12 Uhr schrieb Anna <\nanna@example.com>:",
        "Le mar. 3 nov. 2026 à 09:12, Anna <anna@example.com> a écrit :",
        "El mar, 3 nov 2026 a las 9:12, Anna (<anna@example.com>) escribió:",
        "Em ter., 3 de nov. de 2026 às 09:12, Anna <anna@example.com> escreveu:",
        "Il giorno mar 3 nov 2026 alle ore 09:12 Anna <anna@example.com> ha scritto:",
        "Op di 3 nov 2026 om 09:12 schreef Anna <anna@example.com>:",
        "Den tis 3 nov. 2026 kl 09:12 skrev Anna <anna@example.com>:",
        "wt., 3 lis 2026 o 09:12 Anna <anna@example.com> napisał(a):",
        "вт, 3 нояб. 2026 г. в 09:12, Анна <anna@example.com> написал(а):",
        "út 3. 11. 2026 v 9:12 odesílatel Anna <anna@example.com> napsal:",
        "Anna <anna@example.com>, 3 Kas 2026 Sal, 09:12 tarihinde şunu yazdı:",
        "2026年11月3日(火) 9:12 Anna <anna@example.com> さんは書きました:",
        "Anna <anna@example.com> 于2026年11月3日周二 09:12写道：",
        "-----Original Message-----\nFrom: Anna <anna@example.com>\nSent: November 3, 2026 9:12 AM\nTo: Ben\nSubject: A\n",
        "____________________\nVon: Anna <anna@example.com>\nGesendet: Dienstag, 3. November 2026 09:12\nAn: Ben\nBetreff: A\n",
        "De : Anna <anna@example.com>\nEnvoyé : mardi 3 novembre 2026 09:12\nÀ : Ben\nObjet : Lundi\n",
        "*From:* Anna <anna@example.com>\n*Sent:* Tuesday, November 3, 2026\n*To:* Ben\n*Subject:* Monday\n",
        "差出人: Anna <anna@example.com>\n送信日時: 2026年11月3日 9:12\n宛先: Ben\n件名: 月曜日\n",
        "---------- Forwarded message ---------\nFrom: Anna <anna@example.com>\nDate: Tue, Nov 3, 2026\nSubject: A\nTo: Ben\n",
    ],
)
def test_an_answer_above_the_mail_it_answers(introduction: str) -> None:
    text = f"Gladly, Monday at ten is fine.\n\nBen\n\n{introduction}\n\n{QUOTE}"
    assert reply_text(text) == "Gladly, Monday at ten is fine.\n\nBen"
    assert reply_text(text.replace("\n", "\r\n")) == "Gladly, Monday at ten is fine.\n\nBen"


def test_answers_between_quoted_lines_are_kept() -> None:
    introduction = "On Tue, 3 Nov 2026 at 09:12, Anna <anna@example.com> wrote:"
    text = f"Hello Anna,\n\n{introduction}\n\n{QUOTE}\nTen is fine.\n\n> And lunch?\n\nYes please.\n"
    assert folded(reply_text(text)) == "Hello Anna, Ten is fine. Yes please."


def test_an_answer_below_the_mail_it_answers() -> None:
    text = f"On Tue, 3 Nov 2026 at 09:12, Anna <anna@example.com> wrote:\n{QUOTE}\nTen is fine.\n"
    assert reply_text(text) == "Ten is fine."


@pytest.mark.parametrize(
    "tail",
    [
        "-- \nBen Example\nExample Ltd\n+49 30 123456", "Sent from my iPhone", "Von meinem iPhone gesendet", "Envoyé de mon iPad",
        "Enviado desde mi iPhone", "Inviato da iPhone", "Verstuurd vanaf mijn iPad", "发自我的 iPhone", "iPhoneから送信",
        "Get Outlook for iOS<https://example.com>", "*****", "> Shall we meet?",
    ],
)  # fmt: skip
def test_what_stands_below_is_left_out(tail: str) -> None:
    assert reply_text(f"Ten is fine.\n\n{tail}\n") == "Ten is fine."


@pytest.mark.parametrize(
    "text",
    [
        "He wrote: I will come.\n\nThat was on Monday, and I believe him.",
        "From: here to there it takes an hour.\nI will be late.",
        "My address: Example street 1\nSubject: to change.\nSo ask again.",
        "Zwei Punkte:\n- eins\n- zwei\n\nDanke",
        "> only a quote",
        "The list:\n\n---\n\none\n\n---\n\ntwo",
        "",
    ],
)
def test_what_a_person_wrote_stays(text: str) -> None:
    assert reply_text(text) == text


@given(st.text(alphabet=st.sampled_from("ab> \n:-_1.@<>|wrote,On"), max_size=400))
def test_text_is_left_out_never_made_up(text: str) -> None:
    left = reply_text(text).split("\n")
    lines = iter(text.split("\n"))
    assert all(any(line == one for one in lines) for line in left if line.strip())


def test_a_long_text_is_read_soon() -> None:
    text = "On 1.1.2026 a@b.example " * 40 + "\n" + ("wrote wrote 1.1.2026 x\n" * 4_000) + "x" * TEXT_CHARACTERS_MAX
    assert reply_text(text)
