"""The code blocks of the manual's chapter, by the names that stand before them."""
import re

from server import ROOT

CHAPTER = ROOT / "docs/manual/authentication.md"


def blocks(language):
    """{name: code} of a language. A block without a name is an error: it would not be run."""
    text = CHAPTER.read_text(encoding="utf-8")
    named = dict(re.findall(rf"<!-- test: (\S+) -->\n```{language}\n(.*?)```", text, re.DOTALL))
    every = len(re.findall(rf"^```{language}$", text, re.MULTILINE))
    assert len(named) == every, f"{every - len(named)} {language} block(s) without a name of their own"
    return named
