/** What a page says to people, in English and German. */

const MESSAGES = {
  en: {
    required: "Please fill this in.",
    consent: "Please tick this box to go on.",
    email: "Please enter an email address, like name@example.com.",
    phone: "Please enter the number with its country code, like +49 30 123456.",
    short: "Please write at least {n} characters.",
    long: "Please write at most {n} characters.",
    pattern: "Please check what you have entered.",
    option: "Please choose one of these.",
    check: "Please check the marked fields.",
    sent: "Thank you. We have received it.",
    kept: "You are offline. It will be sent as soon as you are back.",
    failed: "This could not be sent. Please try again.",
    submit: "Send",
    close: "Close",
  },
  de: {
    required: "Bitte füllen Sie dieses Feld aus.",
    consent: "Bitte stimmen Sie zu, um fortzufahren.",
    email: "Bitte geben Sie eine E-Mail-Adresse ein, etwa name@example.com.",
    phone: "Bitte geben Sie die Nummer mit Landesvorwahl ein, etwa +49 30 123456.",
    short: "Bitte schreiben Sie mindestens {n} Zeichen.",
    long: "Bitte schreiben Sie höchstens {n} Zeichen.",
    pattern: "Bitte prüfen Sie Ihre Eingabe.",
    option: "Bitte wählen Sie eine der Möglichkeiten.",
    check: "Bitte prüfen Sie die markierten Felder.",
    sent: "Vielen Dank. Ihre Nachricht ist angekommen.",
    kept: "Sie sind offline. Ihre Nachricht wird gesendet, sobald Sie wieder verbunden sind.",
    failed: "Das konnte nicht gesendet werden. Bitte versuchen Sie es noch einmal.",
    submit: "Senden",
    close: "Schließen",
  },
};

export type Message = keyof (typeof MESSAGES)["en"];

/** The language of an element: its own, its page's, or the browser's. */
export const language = (element: Element): string =>
  (element.closest<HTMLElement>("[lang]")?.lang || navigator.language).slice(0, 2).toLowerCase();

export const message = (element: Element, name: Message, n = 0): string =>
  (MESSAGES[language(element) as keyof typeof MESSAGES] ?? MESSAGES.en)[name].replace("{n}", String(n));
