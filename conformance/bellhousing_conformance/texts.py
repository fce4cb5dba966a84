"""Texts in many scripts, to tokenise and to continue: the suite's own, so that reports may show them."""

import random
import unicodedata

PIECES = (
    *("the", "quick", "brown", "fox", "Bellhousing", "running", "naïve", "façade", "Straße", "Ærø", "İstanbul"),
    *("Привет", "мир", "Ελλάδα", "שלום", "مرحبا", "नमस्ते", "สวัสดี", "世界", "東京", "안녕하세요", "Tiếng Việt"),
    *("🙂", "👩‍👩‍👧", "🏳️‍🌈", "→", "∑", "€", "½", "\u200d", "\u2028"),
    *("def f(x):\n    return x", "{'a': [1, 2]}", "<b>x</b>", "a\tb", "\r\n", "\n\n", "0.1", "1234567", "--", "\\n", "http://a.b/?c=d#e"),
)  # fmt: skip
SEPARATORS = (" ", " ", " ", "  ", "", "\n", ", ")
MOST_PIECES = 12

PASSAGES = (
    "The harbour was quiet that morning. A single boat came in with the tide, and the keeper of the light watched it",
    "To bake bread you need flour, water, salt and time. Mix the flour with the water first, then let it rest for",
    "In the north the winters are long, and people tell each other stories. One of the oldest is about a fox that",
    "A compiler reads a program and writes another one. The first step is to cut the text into tokens, and the second",
    "Glass is made of sand. When it is heated it becomes soft, and a skilled worker can blow it into the shape of a",
    "The train left at seven, as it always did. In the last carriage sat a woman with a small black suitcase, and she",
    "Music has rules, and every generation breaks some of them. What sounded wrong a century ago is now taught to",
    "The heart is a muscle that pumps blood through the body. It beats about seventy times each minute, which makes",
)
"""Beginnings of plain English prose: what small models know best."""


def text_of(source: random.Random) -> str:
    """Return a random text in NFC, not empty, that neither begins nor ends with white space."""
    text = ""
    while not text:
        pieces = source.choices(PIECES, k=source.randint(1, MOST_PIECES))
        text = "".join([piece + source.choice(SEPARATORS) for piece in pieces]).strip()
    return unicodedata.normalize("NFC", text)


def beginning_of(source: random.Random) -> str:
    """Return the beginning of a passage, cut after a random word, with at least five words."""
    words = source.choice(PASSAGES).split()
    return " ".join(words[: source.randint(5, len(words))])
