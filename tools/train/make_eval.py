"""Writes what the small model is examined with, none of which is in its training data in this form:
make_eval.py --out tests/data/mini"""

import argparse
import json
from pathlib import Path

import word_lists as words
from mixture import Sources, random_of
from tasks.arithmetic import Arithmetic
from tasks.definitions import HELD_OUT_QUESTIONS, Definitions
from tasks.personal import Personal
from tasks.small_talk import SmallTalk
from tasks.tools import distinct_tools, often_snake_case

TOOL_CASES = 200
MEMORY_CASES = 100
#: The exams stay as they are while the training data changes, so that models can be compared.
TOOL_NAMES = often_snake_case(0.12)
UNKNOWN_WORDS = 0.09
LEAST_OPERAND = 1


def definitions(sources):
    """Every noun of the core."""
    for entry in sources.core:
        yield {"word": entry.word, "gloss": entry.gloss}


def tool_cases():
    """Questions for one of one to four tools whose names training never had."""
    rng = random_of("eval", "tools")
    for _ in range(TOOL_CASES):
        tools = distinct_tools(rng, rng.randint(1, 4), held_out=True, naming=TOOL_NAMES)
        tool = rng.choice(tools)
        arguments = tool.arguments(rng)
        yield {"tools": [{"type": "function", "function": tool.schema} for tool in tools],
               "question": tool.question(rng, arguments), "name": tool.name,
               "arguments": arguments}


def memory_cases(sources):
    """Conversations with a question about something said before; the answer is the last message."""
    rng = random_of("eval", "memory")
    definitions = Definitions(sources.core, sources.more, sources.unknown, UNKNOWN_WORDS,
                              lambda _: "What does {w} mean?")
    personal = Personal((definitions, SmallTalk(), Arithmetic(LEAST_OPERAND)), at_once=0)
    for _ in range(MEMORY_CASES):
        messages = personal.make(rng)["messages"]
        plain = [{"role": m["role"], "content": m["content"]} for m in messages]
        yield {"messages": plain[:-1], "answer": plain[-1]["content"]}


def write_lines(path, rows):
    """One JSON a line."""
    with open(path, "w", encoding="utf-8") as file:
        for row in rows:
            file.write(json.dumps(row, ensure_ascii=False) + "\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("tests/data/mini"))
    parser.add_argument("--packages", default="build/mini-packages", help="folder for downloads")
    arguments = parser.parse_args()
    out = arguments.out
    out.mkdir(parents=True, exist_ok=True)
    sources = Sources(arguments.packages)
    write_lines(out / "definitions.jsonl", definitions(sources))
    write_lines(out / "tools.jsonl", tool_cases())
    write_lines(out / "memory.jsonl", memory_cases(sources))
    (out / "words.json").write_text(json.dumps({
        "definition_questions": HELD_OUT_QUESTIONS, "names": words.FIRST_NAMES,
        "cities": words.CITIES, "adjectives": words.ADJECTIVES, "things": words.THINGS,
        "places": words.PLACES}, indent=1) + "\n")
    texts = [text for text in sources.held_out_texts if text.isascii()]
    (out / "held_out.txt").write_text("\n".join(texts) + "\n")


if __name__ == "__main__":
    main()
