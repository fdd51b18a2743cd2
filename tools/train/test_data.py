"""Tests of the data's makers; no downloads: test_data.py"""

import json
import random
import re
import unittest
from pathlib import Path

import make_eval
from bpe_trainer import BpeTrainer
from chat_format import render
from encoded_chat import LEARNED, encode
from engram_map import normalize
from mixture import Sources
from packer import Packer, RowsTooShort
from schedule import Schedule
from special_tokens import BOS, EOS
from tasks.arithmetic import random_sum
from tasks.definitions import HELD_OUT_QUESTIONS, QUESTIONS
from tasks.far_copying import FarCopying
from tasks.filler import CHARACTERS_A_TOKEN, Filler
from tasks.lookup import Lookup
from tasks.tools import USUAL, Tool, any_shape, camel_case, distinct_tools, is_held_out, pascal_case
from wordnet import first_gloss

ROOT = Path(__file__).parents[2]
PACKAGES = ROOT / "build/mini-packages"


class CharacterTokenizer:
    """One id a character."""

    def encode(self, text, parse_special):
        """Template text gives even ids, other text odd ones."""
        return [2 * ord(c) + (not parse_special) for c in text]


class Arithmetic(unittest.TestCase):
    def test_thoughts_end_with_the_result(self):
        rng = random.Random(1)
        for _ in range(500):
            made = random_sum(rng)
            self.assertEqual(made.result, eval(f"{made.a} {made.sign} {made.b}"))
            self.assertTrue(made.thought.endswith(f"The result is {made.result}."))

    def test_written_digits_are_those_of_the_result(self):
        rng = random.Random(2)
        for _ in range(500):
            made = random_sum(rng)
            written = "".join(re.findall(r"[wW]rite (\d+)", made.thought))[::-1]
            self.assertEqual(int(written), made.result, made.thought)


class Lookups(unittest.TestCase):
    def setUp(self):
        texts = [("sentence", f"Sentence {n} says nothing.") for n in range(100)]
        self.task = Lookup(Filler(texts), 40, 600, 2048)

    def test_every_answer_stands_in_the_text(self):
        rng = random.Random(3)
        for _ in range(200):
            messages = self.task.make(rng)["messages"]
            for at, message in enumerate(messages):
                if message["role"] != "assistant" or len(message["content"].split()) < 3:
                    continue
                value = message["content"].rstrip(".").split()[-1]
                before = " ".join(m["content"] for m in messages[:at])
                if "read it" not in message["content"] and "remember" not in message["content"]:
                    self.assertTrue(value in before or "Good to know" in message["content"])

    def test_only_answers_are_learned(self):
        ids, weights = encode(self.task.make(random.Random(4)), CharacterTokenizer())
        learned = "".join(chr(i // 2) for i, w in zip(ids, weights) if w == LEARNED)
        self.assertTrue(learned.endswith(EOS))
        self.assertNotIn("Sentence", learned)


class FarCopies(unittest.TestCase):
    def test_every_answer_was_given_and_stands_far_back(self):
        texts = [("sentence", f"Sentence {n} says nothing of {n * n}.") for n in range(100)]
        vocabulary = [f"{a}{b}" for a in "bdfglm" for b in ("ank", "oor", "ill", "est")]
        task = FarCopying(vocabulary, Filler(texts), 150, 860)
        rng = random.Random(11)
        for _ in range(200):
            messages = task.make(rng)["messages"]
            told = next(m["content"] for m in messages if m["role"] == "user")
            answers = [m["content"] for m in messages if m["role"] == "assistant"]
            if len(answers) == 1:  # told and asked in one message
                told, _, _ = told.rpartition("\n\n")
            else:
                answers = answers[1:]
            self.assertGreater(len(told) / CHARACTERS_A_TOKEN, 100)
            for answer in answers:
                if answer.startswith("After ") and " comes " in answer:
                    first, second = answer[len("After "):-1].split(" comes ")
                    self.assertIn(f"{first}, {second}", told)
                elif answer not in told:
                    self.assertIn(answer.rstrip("."), told)


def plain(name):
    """A tool's name whatever its shape."""
    return re.sub("[_-]", "", name).lower()


class Tools(unittest.TestCase):
    def test_training_and_evaluation_share_no_name(self):
        rng = random.Random(5)
        for naming in (USUAL, any_shape):
            names = {held: {plain(Tool(rng, held, naming).name) for _ in range(2000)}
                     for held in (False, True)}
            self.assertFalse(names[False] & names[True])

    def test_shapes_of_names(self):
        parts = ["set", "old", "timer"]
        self.assertEqual("setOldTimer", camel_case(parts))
        self.assertEqual("SetOldTimer", pascal_case(parts))
        rng = random.Random(10)
        shapes = {any_shape(rng, parts) for _ in range(200)}
        self.assertEqual({"setOldTimer", "set_old_timer", "SetOldTimer", "set-old-timer"}, shapes)

    def test_no_two_tools_have_one_subject(self):
        rng = random.Random(6)
        for _ in range(100):
            tools = distinct_tools(rng, 4, held_out=True)
            self.assertEqual(4, len({tool.subject.split()[-1] for tool in tools}))
            self.assertTrue(all(is_held_out(t.verb, t.subject.split()[-1]) for t in tools))


class Definitions(unittest.TestCase):
    def test_evaluation_asks_in_other_words(self):
        self.assertFalse(set(QUESTIONS) & set(HELD_OUT_QUESTIONS))

    def test_a_gloss_is_the_first_explanation(self):
        self.assertEqual("an adult person who is male",
                         first_gloss('an adult person who is male (as opposed to a woman); "x"'))


class Exams(unittest.TestCase):
    """The stored questions are those that make_eval.py writes."""

    def stored(self, name):
        lines = (ROOT / "tests/data/mini" / name).read_text(encoding="utf-8").splitlines()
        return [json.loads(line) for line in lines]

    def test_tools(self):
        self.assertEqual(self.stored("tools.jsonl"), list(make_eval.tool_cases()))

    @unittest.skipUnless((PACKAGES / "wordnet-base").is_dir() and (PACKAGES / "manpages").is_dir(),
                         f"make_data.py has not fetched its packages to {PACKAGES}")
    def test_memory_and_definitions(self):
        sources = Sources(PACKAGES)
        self.assertEqual(self.stored("memory.jsonl"), list(make_eval.memory_cases(sources)))
        self.assertEqual(self.stored("definitions.jsonl"), list(make_eval.definitions(sources)))


class Rows(unittest.TestCase):
    def test_rows_are_full_and_begin_with_a_conversation(self):
        texts = [("sentence", f"Sentence {n}.") for n in range(10)]
        rng = random.Random(7)
        filler = Filler(texts)
        schedule = Schedule((("lookup", 1.0, Lookup(filler, 20, 60, 2048)),), rng)
        packer = Packer(3000, CharacterTokenizer(), schedule, lambda: filler.page(rng, 3))
        for _ in range(5):
            ids, weights = packer.row()
            self.assertEqual((3000, 3000), (len(ids), len(weights)))
            self.assertEqual(2 * ord(BOS[0]), ids[0])
            self.assertEqual(0, weights[0])

    def test_rows_that_nothing_fits_into_are_an_error(self):
        filler = Filler([("sentence", "Sentence.")])
        schedule = Schedule((("lookup", 1.0, Lookup(filler, 400, 600, 2048)),), random.Random(9))
        packer = Packer(100, CharacterTokenizer(), schedule, lambda: "")
        with self.assertRaisesRegex(RowsTooShort, "task lookup .* 99 tokens"):
            packer.row()

    def test_shares_are_kept(self):
        class Fixed:
            """Makes itself."""

            def make(self, _):
                """Nothing new."""
                return self

        schedule = Schedule((("a", 0.75, Fixed()), ("b", 0.25, Fixed())), random.Random(8))
        begin = dict(schedule.tokens)
        for _ in range(1000):
            name, _ = schedule.make()
            schedule.took(name, 100)
        self.assertAlmostEqual(0.75, (schedule.tokens["a"] - begin["a"]) / 100000, delta=0.05)


class Tokens(unittest.TestCase):
    def test_the_most_frequent_pair_is_merged_first(self):
        merges = BpeTrainer({b"abab": 5, b"abc": 1}).train(2)
        self.assertEqual([(b"a", b"b"), (b"ab", b"ab")], merges)

    def test_normal_forms(self):
        self.assertEqual("the", normalize(" Th\u00e9"))
        self.assertEqual(" ", normalize("\n\t"))


class Prompts(unittest.TestCase):
    def test_client_text_is_never_template(self):
        request = {"messages": [{"role": "user", "content": EOS}], "thinking": {"type": "disabled"}}
        inside = [s for s in render(request).segments if s.text == EOS]
        self.assertEqual([False], [segment.is_template for segment in inside])


if __name__ == "__main__":
    unittest.main()
