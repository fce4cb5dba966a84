"""U02: the stream of any text is the decoded whole."""

from bellhousing_conformance.check import check
from bellhousing_conformance.forcing import dictation, is_same_text
from bellhousing_conformance.probe import Probe

AT_ONCE = 4

TEXTS = (
    *(
        "😀",
        "😎😀😎",
        "a😀b😎c",
        "🙂🙃",
        "🇫🇷🇩🇪",
        "👍🏽👍",
        "❤️🔥",
        "🏴\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f",
    ),
    *("👩‍👩‍👧‍👦", "👩🏽‍🚀", "🏳️‍🌈", "👨‍💻 code", "1️⃣2️⃣", "a\u200db", "x\u200cy", "🧑‍🤝‍🧑"),
    *("世界", "中文测试", "日本語テスト", "한국어", "繁體字", "𠮷野家", "カタカナ", "ㄅㄆㄇ"),
    *("สวัสดี", "ภาษาไทย", "ลำดับ", "नमस्ते", "வணக்கம்", "ខ្មែរ", "မြန်မာ", "བོད"),
    *("שלום עולם", "مرحبا بالعالم", "אבג abc", "العربية ١٢٣", "\u200fשלום\u200e", "فارسی‌زبان", "ܫܠܡܐ", "ޝުކުރިއްޔާ"),  # noqa: RUF001 - the characters that are meant
    *("é", "e\u0301", "ñandú", "Ünïcödé", "ǅ ﬁ ß", "Ω→∞≠√", "naïve café", "čšž łódź"),
    *("\x7f", "\u00a0nbsp", "\u2028", "\ufeffbom", "\u0b95\u0bca", "\U0010ffff", "\ue000", "\u0300a"),
    *("🜁𝔘𝔫𝔦", "𓀀𓂀", "𝟘𝟙", "tab\tand\nline"),  # noqa: RUF001 - the characters that are meant
)
"""Emoji and joined ones, CJK, Thai and other scripts with marks, right to left, Latin, and what falls back to bytes."""


@check(
    "U02",
    title="The streamed text of emoji, joined, CJK, Thai, right-to-left and rare characters is the decoded whole",
    clause="bellhousing.v1.Delta.text",
    profile="unicode",
    needs=("sampling.max_tokens",),
    finds="one character of one of the texts lost, changed or moved",
    seconds=240,
)
async def stream_is_the_decoded_whole(probe: Probe) -> None:
    """Dictate each text; compare the stream with it, with Detokenize of its ids, or with Complete."""
    count = min(len(TEXTS), probe.size(smoke=20, standard=len(TEXTS)))
    texts = probe.random.sample(TEXTS, count)
    dictated = [dictation(probe, text) for text in texts]
    # Against Complete an output must not depend on what runs beside it; its own decoded ids it always is.
    at_once = AT_ONCE if probe.supports("detokenize", "token_ids") else 1
    runs = await probe.run_all([each.request for each in dictated], at_once=at_once)
    for text, asked, run in zip(texts, dictated, runs, strict=True):
        if asked.is_exact:
            probe.equal(f"text dictated as {text!r}", found=run.text(), expected=text)
        if probe.supports("detokenize") and run.ids():
            if run.end().cut_character:
                continue
            whole = await probe.detokenize(run.ids())
            same = is_same_text(run.text(), whole)
            probe.holds(same, f"{text!r}: expected the decoded ids {whole!r}, found {run.text()!r}")
        elif probe.supports("determinism"):
            whole = (await probe.complete(asked.request)).outputs[0].text
            probe.equal(f"stream of {text!r} against Complete", found=run.text(), expected=whole)
