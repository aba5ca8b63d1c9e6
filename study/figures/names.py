"""Names of files and folders as labels that every reader's font can draw."""

from functools import cache

from matplotlib import font_manager


def readable(text: str) -> str:
    r"""`text` for a figure: a sign that the font lacks becomes its code, such as \u87ba.

    Otherwise matplotlib draws an empty box and warns. A dollar sign starts no formula.
    """
    signs = (sign if sign == "\n" or _has(sign) else f"\\u{ord(sign):04x}" for sign in text)
    return "".join(signs).replace("$", r"\$")


@cache
def _has(sign: str) -> bool:
    """Whether the font that matplotlib ships, its default, has this sign."""
    font = font_manager.findfont("DejaVu Sans")
    return bool(font_manager.get_font(font).get_char_index(ord(sign)))
