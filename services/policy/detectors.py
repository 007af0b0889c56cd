"""Built-in detectors. Some check more than a pattern can, such as the check digit of payment cards."""

import re
from collections.abc import Callable, Iterator

Span = tuple[int, int]
Detector = Callable[[str], Iterator[Span]]

_CARD_DIGITS = 13
# The first digit stands before the look behind it: `re` then skips what is no digit three times as fast.
_CARD = re.compile(r"\d(?<![\d.]\d)(?:[ -]?\d){12,18}(?![\d.])")
_EMAIL = re.compile(r"(?<![\w.+-])[\w.+-]{1,64}@(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)+[A-Za-z]{2,24}\b")
_PRIVATE_KEY = re.compile(
    r"-----BEGIN (?:[A-Z]+ )?PRIVATE KEY-----.*?(?:-----END (?:[A-Z]+ )?PRIVATE KEY-----|\Z)", re.DOTALL
)
_IPV4 = re.compile(r"(?<![\d.])(?:(?:25[0-5]|2[0-4]\d|1?\d?\d)\.){3}(?:25[0-5]|2[0-4]\d|1?\d?\d)(?![\d.])")
_US_SSN = re.compile(r"(?<!\d)(?!000|666|9\d\d)\d{3}-(?!00)\d\d-(?!0000)\d{4}(?!\d)")

# A run of digits is looked for in the bytes of a text, which takes a tenth of the time of the expression. There, digits
# become zeros, and so do the bytes of characters outside ASCII, which may be digits too.
_ZEROS = bytes(ord("0") if byte >= 128 or chr(byte).isdigit() else byte for byte in range(256))
_SEPARATORS = b" -"
_SHORTEST = b"0" * _CARD_DIGITS


def pattern(expression: re.Pattern[str], part: str = "") -> Detector:
    """A detector that finds every non-empty match of an expression; each match has `part` in it."""

    def find(text: str) -> Iterator[Span]:
        if part not in text:
            return iter(())
        return (match.span() for match in expression.finditer(text) if match.group())

    return find


def payment_card(text: str) -> Iterator[Span]:
    """Runs of 13 to 19 digits that satisfy the Luhn check (ISO/IEC 7812-1)."""
    if not _has_run(text):
        return
    for match in _CARD.finditer(text):
        if luhn(match.group()):
            yield match.span()


def _has_run(text: str) -> bool:
    """Whether a text may have a run of digits that is long enough. It has none in nearly all texts."""
    if len(text) < _CARD_DIGITS:
        return False
    # Half of a surrogate pair has no other encoding.
    return _SHORTEST in text.encode(errors="surrogatepass").translate(_ZEROS, _SEPARATORS)


def luhn(number: str) -> bool:
    """Whether the digits of `number` end with their Luhn check digit."""
    digits = [int(c) for c in number if c.isdigit()]
    doubled = (sum(divmod(2 * d, 10)) for d in digits[-2::-2])
    return (sum(digits[-1::-2]) + sum(doubled)) % 10 == 0


DETECTORS: dict[str, Detector] = {
    "payment_card": payment_card,
    "email": pattern(_EMAIL, "@"),
    "private_key": pattern(_PRIVATE_KEY, "-----BEGIN "),
    "ipv4": pattern(_IPV4),
    "us_ssn": pattern(_US_SSN),
}
