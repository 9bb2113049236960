r"""Plain text as LaTeX that prints the same characters, whichever engine compiles it.

What LaTeX has a command for becomes that command: Greek and signs in mathematics, raised and
lowered characters and fractions, accents. What is left (Chinese, Cyrillic, ...) is kept as it is:
XeLaTeX and LuaLaTeX print it with a font that has it, pdfLaTeX stops there. No character is
replaced by another.
"""

# ruff: noqa: RUF001 - tables of characters that look like others

from __future__ import annotations

import re
import unicodedata
from functools import cache
from itertools import groupby

__all__ = ["beyond_pdflatex", "latex_escape", "preamble_note"]

CHARACTERS = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "%": r"\%",
    "_": r"\_",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "`": r"\textasciigrave{}",
    '"': "''",
    "[": "{[}",  # at the start of a row it would be the argument of the line break before
    "*": "{*}",  # likewise
    "\N{NO-BREAK SPACE}": "~",
    "\N{EN DASH}": "--",
    "\N{EM DASH}": "---",
    "\N{LEFT SINGLE QUOTATION MARK}": "`",
    "\N{RIGHT SINGLE QUOTATION MARK}": "'",
    "\N{LEFT DOUBLE QUOTATION MARK}": "``",
    "\N{RIGHT DOUBLE QUOTATION MARK}": "''",
    "…": r"\ldots{}",
    "§": r"\S{}",
    "¶": r"\P{}",
    "©": r"\copyright{}",
    "®": r"\textregistered{}",
    "£": r"\pounds{}",
    "€": r"\texteuro{}",
    "ł": r"\l{}",
    "Ł": r"\L{}",
    "œ": r"\oe{}",
    "Œ": r"\OE{}",
    "ı": r"\i{}",
}
"""Character -> what stands for it in text."""
SYMBOLS = {
    "±": r"\pm", "∓": r"\mp", "×": r"\times", "÷": r"\div", "·": r"\cdot", "⋅": r"\cdot",
    "−": "-", "∗": r"\ast", "∘": r"\circ", "•": r"\bullet", "°": r"^{\circ}", "′": r"^{\prime}",
    "¬": r"\neg", "∧": r"\wedge", "∨": r"\vee", "⊕": r"\oplus", "⊗": r"\otimes", "⊙": r"\odot",
    "≤": r"\leq", "≥": r"\geq", "≠": r"\neq", "≈": r"\approx", "≡": r"\equiv", "∼": r"\sim",
    "≪": r"\ll", "≫": r"\gg", "∝": r"\propto", "≃": r"\simeq", "≅": r"\cong",
    "∈": r"\in", "∉": r"\notin", "∋": r"\ni", "⊂": r"\subset", "⊆": r"\subseteq",
    "⊃": r"\supset", "⊇": r"\supseteq", "∪": r"\cup", "∩": r"\cap", "∅": r"\emptyset",
    "∞": r"\infty", "∀": r"\forall", "∃": r"\exists", "∂": r"\partial", "∇": r"\nabla",
    "∑": r"\sum", "∏": r"\prod", "∫": r"\int", "√": r"\surd", "∥": r"\parallel", "‖": r"\|",
    "→": r"\rightarrow", "←": r"\leftarrow", "↔": r"\leftrightarrow", "↑": r"\uparrow",
    "↓": r"\downarrow", "⇒": r"\Rightarrow", "⇐": r"\Leftarrow", "⇔": r"\Leftrightarrow",
    "↦": r"\mapsto", "⟨": r"\langle", "⟩": r"\rangle", "⌊": r"\lfloor", "⌋": r"\rfloor",
    "⌈": r"\lceil", "⌉": r"\rceil", "ℓ": r"\ell", "ℝ": r"\mathbb{R}", "ℕ": r"\mathbb{N}",
    "ℤ": r"\mathbb{Z}", "ℚ": r"\mathbb{Q}", "ℂ": r"\mathbb{C}", "µ": r"\mu",
    "✓": r"\checkmark", "✗": r"\times", "†": r"\dagger", "‡": r"\ddagger", "★": r"\bigstar",
    "■": r"\blacksquare", "□": r"\square", "▲": r"\blacktriangle", "◆": r"\blacklozenge",
}  # fmt: skip
"""Character -> its command in mathematics; with amssymb."""
ACCENTS = {
    "\u0300": "`", "\u0301": "'", "\u0302": "^", "\u0303": "~", "\u0304": "=", "\u0306": "u",
    "\u0307": ".", "\u0308": '"', "\u030a": "r", "\u030b": "H", "\u030c": "v", "\u0323": "d",
    "\u0327": "c", "\u0331": "b",
}  # fmt: skip
"""Combining mark -> the command that sets it on a letter; ogoneks need another font encoding."""
SMALL = frozenset(
    {"alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta", "iota", "kappa"}
    | {"lambda", "mu", "nu", "xi", "pi", "rho", "sigma", "varsigma", "tau", "upsilon", "phi"}
    | {"chi", "psi", "omega"}
)
CAPITALS = frozenset(
    {"Gamma", "Delta", "Theta", "Lambda", "Xi", "Pi", "Sigma", "Upsilon", "Phi", "Psi", "Omega"}
)
"""Greek letters that have a command; the other capitals look like Latin ones."""
LATIN = dict(zip("ΑΒΕΖΗΙΚΜΝΟΡΤΧ", "ABEZHIKMNOPTX", strict=True))
"""Greek capital -> the Latin letter that LaTeX prints it as."""
PLAIN = frozenset(chr(c) for c in range(0xC0, 0x100)) - set("ÐðÞþ×÷")
"""Letters that pdfLaTeX reads and its default font encoding has."""


def latex_escape(text: str) -> str:
    """Return text in which LaTeX reads nothing as a command; commands in backticks become code."""
    pieces = text.split("`")
    if len(pieces) % 2 == 0:
        return _words(text)
    return "".join(
        _words(p) if i % 2 == 0 else rf"\texttt{{{_characters(p)}}}" for i, p in enumerate(pieces)
    )


def beyond_pdflatex(source: str) -> str:
    """Return the characters of a LaTeX source that need XeLaTeX or LuaLaTeX, each once."""
    return "".join(dict.fromkeys(c for c in source if not c.isascii() and c not in PLAIN))


def preamble_note(source: str) -> str:
    """Return comment lines on what a source needs to be compiled; "" where any LaTeX will do."""
    exotic = beyond_pdflatex(source)
    if not exotic:
        return ""
    codes = " ".join(f"U+{ord(c):04X}" for c in exotic)
    characters = "".join(c for c in exotic if c.isprintable())
    return (
        f"% Needs XeLaTeX or LuaLaTeX for {characters} ({codes}),\n"
        r"% and in the preamble \usepackage{fontspec}\setmainfont{FONT}, a font that has them."
        "\n"
    )


def _words(text: str) -> str:
    """Escape text; a quotation mark that opens a word becomes an opening one."""
    return re.sub(r"(^|[\s(])'", r"\1`", _characters(text))


def _characters(text: str) -> str:
    # Hyphens in a row would be printed as one long dash, in commands too.
    parts = re.split(r"(-{2,})", text)
    return "".join("{-}" * len(p) if p.startswith("--") else _each(p) for p in parts)


def _each(text: str) -> str:
    printed = []
    for raised, run in groupby(unicodedata.normalize("NFC", text), key=_raised):
        if raised:
            printed.append(_script(raised, "".join(run)))
        else:
            printed += [CHARACTERS.get(c) or _character(c) for c in run]
    return "".join(printed)


def _raised(character: str) -> str:
    """Return "^" of a raised character, "_" of a lowered one that is a digit, letter or sign."""
    tag, *codes = unicodedata.decomposition(character).split() or [""]
    plain = all(chr(int(code, 16)) in "−" or int(code, 16) < 0x80 for code in codes)
    return {"<super>": "^", "<sub>": "_"}.get(tag, "") if plain else ""


def _script(command: str, run: str) -> str:
    plain = unicodedata.normalize("NFKD", run).replace("−", "-")
    inner = plain if not re.search("[A-Za-z]", plain) else rf"\mathrm{{{plain}}}"
    return f"${command}{{{inner}}}$"


@cache
def _character(character: str) -> str:
    """Return a character as a command, or itself where LaTeX has none."""
    if (character.isascii() and character.isprintable()) or character in PLAIN:
        return character
    if character.isspace():
        return " "
    if unicodedata.category(character) == "Cc":
        return rf"\textbackslash{{}}x{ord(character):02x}"
    if command := SYMBOLS.get(character) or _greek(character):
        return f"${command}$"
    return _fraction(character) or _accented(character) or character


def _greek(character: str) -> str:
    """Return a Greek letter without accents in mathematics, "" for other characters."""
    if character in LATIN:
        return rf"\mathrm{{{LATIN[character]}}}"
    size, _, name = unicodedata.name(character, "").removeprefix("GREEK ").partition(" LETTER ")
    name = {"LAMDA": "lambda", "FINAL SIGMA": "varsigma"}.get(name, name.lower())
    if size == "SMALL" and name == "omicron":
        return "o"
    commands = {"SMALL": SMALL & {name}, "CAPITAL": CAPITALS & {name.title()}}.get(size, ())
    return "".join(f"\\{command}" for command in commands)


def _fraction(character: str) -> str:
    """Return ½ and the like as fractions, "" of other characters."""
    if not unicodedata.decomposition(character).startswith("<fraction>"):
        return ""
    above, _, below = unicodedata.normalize("NFKD", character).partition("\N{FRACTION SLASH}")
    return rf"$\frac{{{above}}}{{{below}}}$" if below else ""


def _accented(character: str) -> str:
    r"""Return \v{c} for č and the like, "" of what is no Latin letter with one known accent."""
    letter, *marks = list(unicodedata.normalize("NFD", character))
    if len(marks) != 1 or marks[0] not in ACCENTS or not (letter.isascii() and letter.isalpha()):
        return ""
    above = marks[0] not in "\u0323\u0327\u0331"
    base = f"\\{letter}" if above and letter in "ij" else letter  # without its dot
    return f"\\{ACCENTS[marks[0]]}{{{base}}}"
