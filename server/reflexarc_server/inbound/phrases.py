"""What mail programs write around what a person wrote: in which words an answer begins to quote, in many languages.

Owns the words only. They are what programs put there by themselves, so a word list says nothing about any one message.
"""

from __future__ import annotations

from typing import Final

WROTE: Final = (
    "wrote", "writes", "has written", "said", "schrieb", "geschrieben", "hat geschrieben", "a écrit", "a ecrit",
    "écrivait", "escribió", "escribio", "ha escrito", "escreveu", "ha scritto", "scrive", "scritto", "schreef",
    "geschreven", "skrev", "skrev følgende", "kirjoitti", "napisał", "napisała", "napisał(a)", "napisal", "napsal",
    "napsala", "napsal(a)", "napísal", "napísal(a)", "napisao", "je napisao/la", "написал", "написала", "написал(а)",
    "пишет", "пише", "написав", "написа", "írta", "yazdı", "şunu yazdı", "a scris", "έγραψε", "viết", "menulis",
    "đã viết", "写道", "寫道", "写到", "のメール", "のメッセージ", "は書きました", "さんは書きました", "님이 작성",
    "작성",
)  # fmt: skip
"""Verbs of a line such as `On Monday, somebody wrote:`."""

FROM: Final = (
    "from", "von", "de", "da", "van", "från", "fra", "lähettäjä", "od", "от", "від", "gönderen", "kimden", "feladó",
    "expéditeur", "remitente", "от кого", "发件人", "寄件者", "寄件人", "差出人", "送信者", "보낸 사람", "보낸사람",
    "από",
)  # fmt: skip
SENT: Final = (
    "sent", "date", "gesendet", "datum", "envoyé", "enviado", "enviado el", "enviada em", "enviado em", "fecha", "data",
    "inviato", "verzonden", "skickat", "sendt", "dato", "lähetetty", "päivämäärä", "wysłano", "odesláno", "odoslané",
    "отправлено", "дата", "надіслано", "tarih", "gönderildi", "elküldve", "发送时间", "日期", "傳送時間", "送信日時",
    "日時", "보낸 날짜", "날짜",
)  # fmt: skip
TO: Final = (
    "to", "an", "à", "a", "para", "aan", "till", "til", "vastaanottaja", "do", "komu", "кому", "kime", "címzett",
    "destinataire", "destinatario", "收件人", "宛先", "받는 사람",
)  # fmt: skip
SUBJECT: Final = (
    "subject", "betreff", "objet", "asunto", "assunto", "oggetto", "onderwerp", "ämne", "emne", "aihe", "temat",
    "předmět", "predmet", "тема", "konu", "tárgy", "sujet", "主题", "主題", "件名", "제목", "θέμα",
)  # fmt: skip
OTHER: Final = (
    "cc", "bcc", "kopie", "copie", "kopia", "reply-to", "antwort an", "importance", "priority", "organization", "копия",
    "抄送", "参照",
)  # fmt: skip

BEGINS: Final = (
    "original message", "original email", "forwarded message", "reply message", "begin forwarded message",
    "start of forwarded message", "ursprüngliche nachricht", "originalnachricht", "original-nachricht",
    "weitergeleitete nachricht", "anfang der weitergeleiteten nachricht", "message d'origine", "message original",
    "message transféré", "début du message transféré", "début du message réexpédié", "mensaje original",
    "mensaje reenviado", "inicio del mensaje reenviado", "mensagem original", "mensagem encaminhada",
    "início da mensagem reencaminhada", "messaggio originale", "messaggio inoltrato", "inizio messaggio inoltrato",
    "oorspronkelijk bericht", "doorgestuurd bericht", "begin doorgestuurd bericht", "ursprungligt meddelande",
    "vidarebefordrat meddelande", "opprinnelig melding", "oprindelig meddelelse", "videresendt melding",
    "alkuperäinen viesti", "välitetty viesti", "oryginalna wiadomość", "wiadomość oryginalna", "przekazana wiadomość",
    "původní zpráva", "исходное сообщение", "пересылаемое сообщение", "начало переадресованного сообщения",
    "конец переадресованного сообщения", "оригінальне повідомлення", "orijinal mesaj", "iletilen ileti", "eredeti üzenet",
    "原始邮件", "邮件原件", "转发邮件信息", "元のメッセージ", "転送メッセージ", "원본 메시지",
)  # fmt: skip
"""Between dashes, or at a line's beginning with a colon: another message follows."""

DEVICE: Final = (
    "sent from", "sent via", "sent with", "sent using", "sent on the go", "get outlook for", "download outlook",
    "von meinem", "von unterwegs", "gesendet mit", "gesendet von", "diese nachricht wurde von meinem", "envoyé de mon",
    "envoyé depuis", "envoyé à partir de", "télécharger outlook", "enviado desde", "enviado de mi", "enviado do meu",
    "enviado via", "obtener outlook", "inviato da", "inviato dal", "verzonden vanaf", "verstuurd vanaf", "verzonden met",
    "skickat från", "sendt fra", "lähetetty", "wysłane z", "wysłano z", "odesláno z", "отправлено с", "отправлено из",
    "надіслано з", "iphone'umdan", "iphone'dan", "发自我的", "發自我的", "iphoneから送信", "androidから送信",
    "나의 iphone", "내 iphone", "from my iphone", "from my ipad", "from my android", "this message was sent from",
)  # fmt: skip
"""How the line begins, or is part of it, that a device adds below what was written."""
