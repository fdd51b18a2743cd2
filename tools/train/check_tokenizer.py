"""Writes texts with the ids that bpe.py gives, as rows {"text", "ids"} for a twin to check:
check_tokenizer.py --tokenizer tokenizer.json --packages DIR > cases.jsonl

`golden_text --tokenizer tokenizer.json cases.jsonl` compares them with the engine's own ids."""

import argparse
import json

from bpe import Tokenizer
from chat_format import render
from mixture import Mixture, Sources, random_of

HARD = ("", " ", "  a  b ", "\n\n x\r\n\ty", "naïve café — “quoted” … 100 % ½ ①",
        "漢字とかな 123456789", "a\u0301 e\u0308\u200b\u00a0x\u2028y", "x\x00\x1c\x1fy\x85z",
        "don't I'LL 'tis", "🙂🙃 ok", "#include <a.h>\n\tint x=3;\n",
        "ÅÄÖ straße ΣΊΣΥΦΟΣ русский ไทย हिन्दी", "<|User|> ｜ ▁", "_under_score --flag=1 (a)[b]{c}")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tokenizer", default="models/mini/tokenizer.json")
    parser.add_argument("--packages", default="build/mini-packages")
    parser.add_argument("--chats", type=int, default=300, help="of every task")
    parser.add_argument("--texts", type=int, default=2000, help="lines of plain text")
    arguments = parser.parse_args()
    tokenizer = Tokenizer.load(arguments.tokenizer)
    sources = Sources(arguments.packages)
    texts = list(HARD) + [t for _, t in sources.texts[:: len(sources.texts) // arguments.texts]]
    for name, _, task in Mixture(sources, 2048).tasks:
        rng = random_of("check", name)
        for _ in range(arguments.chats):
            made = task.make(rng)
            texts.append(made if isinstance(made, str) else render(made).text())
    for text in texts:
        ids = tokenizer.encode(text, parse_special=True)
        assert tokenizer.decode(ids) == text
        print(json.dumps({"text": text, "ids": ids}, ensure_ascii=False))


if __name__ == "__main__":
    main()
