"""Count code, pronoun-like names, clauses as docstrings, repeated class names, long functions.

    python scripts/style.py              # the table, for harness/ and models/
    python scripts/style.py --list names # every pronoun-like name with its place
    python scripts/style.py --check      # exit 1 where a limit of CONTRIBUTING.md is passed

A name is bound where it is defined: arguments, assignments, loop and comprehension targets,
`with ... as`, `except ... as`, functions, classes and attributes of `self`. Each scope counts a
name once.
"""

from __future__ import annotations

import argparse
import ast
import io
import re
import sys
import tokenize
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = ("harness", "models")
_WORDS = """
    about another apart aside asked asks away beside beyond both chosen done each either enough
    ever everything found given goes gone happened heard hears held here his how itself kept
    known lacking least left likely made many met more most much named needed neither none_of
    nothing one ones onto other others ours own owned part parts place places rest said same
    seen shown some somebody something soon such taken tell tells that theirs them there these
    they thing things this those told too turn turned twin twins unlike used wanted what
    whatever when where which who whole whom whose why without written
    """
PRONOUNS = frozenset(_WORDS.split())
"""Words that stand for a value without saying what it is."""
OPENING = re.compile(
    r"^(What|Whether|Why|When|Where|Which|Who|Whose|How)\b|^(Return|Yield|Say|Tell) what\b"
)
LIMITS = {
    "pronoun-like names, percent": 1.0,
    "docstrings opening with a clause": 0,
    "class names used twice": 0,
}


@dataclass
class Count:
    """Counts of one package; names and docstrings come with file:line."""

    lines: int = 0
    code: int = 0
    """Lines that are not blank, a comment, a docstring, an import or a part of ``__all__``."""
    comments: int = 0
    bound: int = 0
    lengths: list[int] = field(default_factory=list)
    names: list[tuple[str, str]] = field(default_factory=list)
    docstrings: list[tuple[str, str]] = field(default_factory=list)

    def add(self, other: Count) -> None:
        """Add the counts of another package."""
        self.lines += other.lines
        self.code += other.code
        self.comments += other.comments
        self.bound += other.bound
        self.lengths += other.lengths
        self.names += other.names
        self.docstrings += other.docstrings


def bound_names(scope: ast.AST) -> Iterator[tuple[str, int]]:
    """Yield the names that a scope binds, with lines, without those of nested scopes."""
    seen = set()
    for node in _own_nodes(scope):
        for name, line in _bindings(node):
            if name not in seen:
                seen.add(name)
                yield name, line


def _own_nodes(scope: ast.AST) -> Iterator[ast.AST]:
    nested = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)
    stack = list(ast.iter_child_nodes(scope))
    while stack:
        node = stack.pop()
        yield node
        if not isinstance(node, nested):
            stack.extend(ast.iter_child_nodes(node))


def _bindings(node: ast.AST) -> Iterator[tuple[str, int]]:
    match node:
        case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
            yield node.name, node.lineno
        case ast.arg() if node.arg not in ("self", "cls"):
            yield node.arg, node.lineno
        case ast.Name(ctx=ast.Store()):
            yield node.id, node.lineno
        case ast.Attribute(ctx=ast.Store(), value=ast.Name(id="self")):
            yield node.attr, node.lineno
        case ast.ExceptHandler(name=str(name)):
            yield name, node.lineno


def pronoun_like(name: str) -> bool:
    """Tell whether a name, leading underscores aside, is a bare pronoun, participle or adverb."""
    return name.strip("_") in PRONOUNS


def code_lines(text: str, tree: ast.AST) -> int:
    """Return the number of lines that are neither blank, comment, docstring, import nor export."""
    outside: set[int] = set()
    for node in ast.walk(tree):
        match node:
            case ast.Expr(value=ast.Constant(value=str())) | ast.Import() | ast.ImportFrom():
                outside.update(range(node.lineno, (node.end_lineno or node.lineno) + 1))
            case ast.Assign(targets=[ast.Name(id="__all__")]):
                outside.update(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    lines = enumerate(text.splitlines(), start=1)
    return sum(
        number not in outside and not line.lstrip().startswith("#") and bool(line.strip())
        for number, line in lines
    )


def count(path: Path, classes: dict[str, list[str]]) -> Count:
    """Count one file; its classes are added to `classes`, by name."""
    text = path.read_text(encoding="utf-8")
    tree = ast.parse(text)
    shown = path.relative_to(ROOT).as_posix()
    tokens = tokenize.generate_tokens(io.StringIO(text).readline)
    result = Count(
        lines=text.count("\n"),
        code=code_lines(text, tree),
        comments=sum(token.type == tokenize.COMMENT for token in tokens),
    )
    for node in ast.walk(tree):
        if not isinstance(
            node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda
        ):
            continue
        names = list(bound_names(node))
        result.bound += len(names)
        result.names += [(f"{shown}:{line}", name) for name, line in names if pronoun_like(name)]
        if isinstance(node, ast.Lambda):
            continue
        docstring = ast.get_docstring(node)
        if docstring and OPENING.match(docstring):
            result.docstrings.append(
                (f"{shown}:{getattr(node, 'lineno', 1)}", docstring.splitlines()[0])
            )
        if isinstance(node, ast.ClassDef):
            classes[node.name].append(f"{shown}:{node.lineno}")
        elif not isinstance(node, ast.Module):
            result.lengths.append((node.end_lineno or node.lineno) - node.lineno + 1)
    return result


def packages(folders: Sequence[str]) -> tuple[dict[str, Count], dict[str, list[str]]]:
    """Count every package; return counts by package and file:line of repeated class names."""
    counts: dict[str, Count] = defaultdict(Count)
    classes: dict[str, list[str]] = defaultdict(list)
    for folder in folders:
        for path in sorted((ROOT / folder).rglob("*.py")):
            inner = path.relative_to(ROOT / folder).parts
            counts[f"{folder}/{inner[0]}" if len(inner) > 1 else folder].add(count(path, classes))
    return dict(counts), {name: places for name, places in classes.items() if len(places) > 1}


def table(counts: dict[str, Count]) -> Iterator[str]:
    """Yield the lines of the table."""
    heads = (
        ("code", 7),
        ("names", 7),
        ("pron.", 6),
        ("%", 6),
        ("clauses", 9),
        ("p90", 5),
        ("max", 5),
    )
    yield f"{'package':<22}{'lines':>7}{''.join(f'{h:>{w}}' for h, w in heads)}{'comments':>10}"
    for package, entry in sorted(counts.items()):
        lengths = sorted(entry.lengths) or [0]
        share = 100 * len(entry.names) / max(entry.bound, 1)
        yield (
            f"{package:<22}{entry.lines:>7,}{entry.code:>7,}{entry.bound:>7,}{len(entry.names):>6}{share:>6.1f}"
            f"{len(entry.docstrings):>9}{lengths[int(0.9 * (len(lengths) - 1))]:>5}{lengths[-1]:>5}"
            f"{100 * entry.comments / max(entry.lines, 1):>9.1f}%"
        )


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table or a list; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("folders", nargs="*", default=FOLDERS)
    parser.add_argument("--list", choices=("names", "words", "docstrings", "classes"))
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args(arguments)
    counts, homonyms = packages(options.folders)
    total = Count()
    for entry in counts.values():
        total.add(entry)
    measured = {
        "pronoun-like names, percent": 100 * len(total.names) / max(total.bound, 1),
        "docstrings opening with a clause": len(total.docstrings),
        "class names used twice": len(homonyms),
    }
    if options.list == "words":
        for word, number in Counter(name.strip("_") for _, name in total.names).most_common():
            print(f"{number:>5}  {word}")
    elif options.list == "classes":
        for name, places in sorted(homonyms.items()):
            print(f"{name}: {', '.join(places)}")
    elif options.list:
        for place, text in total.names if options.list == "names" else total.docstrings:
            print(f"{place}: {text}")
    else:
        print("\n".join(table({**counts, "~ all": total})))
        for name, value in measured.items():
            print(f"{name}: {value:.3g} (at most {LIMITS[name]})")
    return int(options.check and any(value > LIMITS[name] for name, value in measured.items()))


if __name__ == "__main__":
    sys.exit(main())
