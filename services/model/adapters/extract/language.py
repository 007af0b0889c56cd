"""The English that quoting needs: sentences, words with a meaning, and questions."""

import re

_SENTENCE = re.compile(r"(?<=[.!?…])[\"'”’)\]]*\s+|\n+")
_ABBREVIATION = re.compile(r"(?:\b(?:Mr|Mrs|Ms|Dr|Prof|St|vs|etc|e\.g|i\.e|approx|No)\.|\b[A-Z]\.|^\d{1,3}\.)$")
_WORD = re.compile(r"\w+(?:['’]\w+)?")
_PUNCTUATION = re.compile(r"^[\s\-*•>#\d.)]*(?=[^\s\d.)])")

_EMPTY_WORDS = """
a an and are as at be been being but by can could did do does doing for from had has have having he her hers him
his how i i'd i'll i'm i've if in into is it it's its just me my mine no nor not of on or our ours please she
should so some than that that's the their theirs them then there these they this those to too up us very was we
were what what's when where which while who whom who's whose why will with would you you'd you'll you're your
yours about am any all also again tell remember know called name say said ok okay hello hi hey thanks thank
"""
# `name` and `called` are synonyms in questions ("what is my dog's name?"), so both are ignored.

_ASKING_WORDS = """
what who whom whose which when where why how is are am was were do does did can could will would should shall
may might has have had tell explain describe list summarize summarise show give find write translate compare
suggest recommend remind name define help make create generate compose calculate draw what's who's where's
when's how's isn't aren't don't doesn't didn't
"""
_EMPTY = frozenset(_EMPTY_WORDS.split())
_ASKING = frozenset(_ASKING_WORDS.split())
_NOTING = re.compile(r"^(?:please\s+)?(?:remember|note|keep in mind|know)\b(?:\s+that\b)?[\s:,]*", re.IGNORECASE)
_GREETING = re.compile(
    r"^(?:hi|hello|hey|good (?:morning|afternoon|evening)|thanks|thank you|ok|okay|bye)\b", re.IGNORECASE
)


def sentences(text: str) -> list[str]:
    """The sentences and lines of a text, without list markers."""
    found: list[str] = []
    for piece in _SENTENCE.split(text):
        if found and _ABBREVIATION.search(found[-1]):
            found[-1] = f"{found[-1]} {piece.strip()}"
        elif piece.strip():
            found.append(piece.strip())
    return [cleaned for sentence in found if (cleaned := _PUNCTUATION.sub("", sentence).strip())]


def terms(text: str) -> frozenset[str]:
    """The stems of the words with a meaning."""
    words = (word.replace("’", "'").lower().removesuffix("'s") for word in _WORD.findall(text))
    return frozenset(_stem(word) for word in words if word not in _EMPTY and len(word) > 1)


def is_question(sentence: str) -> bool:
    """Whether a sentence is a question or a request, not a statement."""
    if sentence.rstrip("\"'”’) ").endswith("?"):
        return True
    if _NOTING.match(sentence):
        return False
    first = _WORD.search(sentence)
    return first is not None and first.group().replace("’", "'").lower() in _ASKING


def is_greeting(sentence: str) -> bool:
    """Whether a sentence is only a greeting or thanks."""
    return _GREETING.match(sentence) is not None and len(terms(sentence)) <= 1


def without_request(sentence: str) -> str:
    """A statement without the request to remember it."""
    rest = _NOTING.sub("", sentence)
    return rest[:1].upper() + rest[1:] if rest else sentence


def _stem(word: str) -> str:
    for ending in ("ing", "ies", "ed", "es", "s"):
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            word = word.removesuffix(ending) + ("y" if ending == "ies" else "")
            break
    return word.removesuffix("e") if len(word) > 3 else word
