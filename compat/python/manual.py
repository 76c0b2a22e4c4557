"""The code blocks of a chapter of the manual, by the names that stand before them."""
import re

from server import ROOT

MANUAL = ROOT / "docs/manual"


def blocks(language, chapter="authentication.md"):
    """{name: code} of a language. A block without a name is an error: it would not be run."""
    text = (MANUAL / chapter).read_text(encoding="utf-8")
    named = dict(re.findall(rf"<!-- test: (\S+) -->\n```{language}\n(.*?)```", text, re.DOTALL))
    # Blocks with other marks are run by compat/node/chapters.test.mjs.
    unnamed = len(re.findall(rf"(?<!-->\n)^```{language}$", text, re.MULTILINE))
    assert unnamed == 0, f"{unnamed} {language} block(s) without a name of their own"
    return named
