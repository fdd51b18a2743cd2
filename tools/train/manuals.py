"""Sentences of manual pages."""

import gzip
import re


def sentences(package):
    """Plain sentences of the pages about formats and conventions, in the package manpages."""
    for section in ("man5", "man7"):
        for path in sorted((package / "usr/share/man" / section).glob("*.gz")):
            with gzip.open(path, "rt", encoding="utf-8", errors="replace") as file:
                yield from _sentences_of(file.read())


def _sentences_of(source):
    paragraph = []
    for line in source.split("\n"):
        if line.startswith((".B ", ".I ")):
            line = line[3:]
        if line.startswith((".", "'")) or not line.strip():
            yield from _cut(" ".join(paragraph))
            paragraph = []
        else:
            paragraph.append(line.strip())
    yield from _cut(" ".join(paragraph))


def _cut(text):
    text = re.sub(r"\\f[A-Z]|\\&|\\c", "", text).replace("\\-", "-").replace('"', "")
    for part in re.split(r"(?<=[.!?]) +", text):
        if re.fullmatch(r"[A-Z][A-Za-z0-9 ,;:'()/.\-]{20,160}[.]", part):
            yield part
