"""A few things that everybody knows: capitals, opposites, days, counting."""

import word_lists as words

_DAYS = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split()
_MONTHS = """January February March April May June July August September October November
December""".split()
_OPPOSITES = (("hot", "cold"), ("big", "small"), ("old", "new"), ("good", "bad"), ("wet", "dry"),
              ("full", "empty"), ("light", "dark"), ("heavy", "light"), ("fast", "slow"),
              ("high", "low"), ("long", "short"), ("early", "late"), ("open", "closed"),
              ("strong", "weak"), ("rich", "poor"), ("hard", "soft"), ("day", "night"),
              ("black", "white"), ("up", "down"), ("left", "right"))
_FACTS = (
    (("How many days does a week have?", "How many days are in a week?"), "A week has 7 days."),
    (("How many months does a year have?", "How many months are in a year?"),
     "A year has 12 months."),
    (("How many hours does a day have?", "How many hours are in a day?"), "A day has 24 hours."),
    (("How many minutes are in an hour?",), "An hour has 60 minutes."),
    (("How many seconds are in a minute?",), "A minute has 60 seconds."),
    (("What color is the sky?",), "The sky is blue."),
    (("What color is grass?", "What color is the grass?"), "Grass is green."),
    (("What color is snow?",), "Snow is white."),
    (("What color is blood?",), "Blood is red."),
    (("How many legs does a dog have?",), "A dog has 4 legs."),
    (("How many legs does a spider have?",), "A spider has 8 legs."),
    (("How many legs does a bird have?",), "A bird has 2 legs."),
    (("What is the largest planet?",), "The largest planet is Jupiter."),
    (("Which planet do we live on?", "What is the name of our planet?"), "We live on Earth."),
    (("Where does the sun rise?",), "The sun rises in the east."),
    (("Where does the sun set?",), "The sun sets in the west."),
    (("What is water made of?",), "Water is made of hydrogen and oxygen."),
    (("What is ice?",), "Ice is frozen water."),
)


class Knowledge:
    """Questions about it."""

    def __init__(self):
        self._kinds = (self._capital, self._opposite, self._after, self._count, self._fact)

    def ask(self, chat, rng):
        """One exchange."""
        rng.choices(self._kinds, (4, 2, 1, 2, 2))[0](chat, rng)

    def _capital(self, chat, rng):
        country = rng.choice(list(words.CAPITALS))
        question = rng.choice(("What is the capital of {}?", "Which city is the capital of {}?",
                               "Name the capital of {}.", "capital of {}?"))
        chat.ask(words.casual(rng, question.format(country)),
                 f"The capital of {country} is {words.CAPITALS[country]}.",
                 f"The user asks for the capital of {country}.")

    def _opposite(self, chat, rng):
        one, other = rng.sample(rng.choice(_OPPOSITES), 2)
        if one == "light":  # it has two
            one, other = other, one
        chat.ask(words.casual(rng, f"What is the opposite of {one}?"),
                 f"The opposite of {one} is {other}.", f"I need the opposite of {one}.")

    def _after(self, chat, rng):
        names = rng.choice((_DAYS, _MONTHS))
        at = rng.randrange(len(names))
        kind = "day" if names is _DAYS else "month"
        chat.ask(words.casual(rng, f"Which {kind} comes after {names[at]}?"),
                 f"After {names[at]} comes {names[(at + 1) % len(names)]}.",
                 f"The user names a {kind}.")

    def _count(self, chat, rng):
        if rng.random() < 0.5:
            low, high = 1, rng.randint(3, 20)
            question = rng.choice((f"Count to {high}.", f"Can you count to {high}?"))
        else:
            low = rng.randint(0, 90)
            high = low + rng.randint(2, 12)
            question = f"Count from {low} to {high}."
        chat.ask(words.casual(rng, question),
                 ", ".join(map(str, range(low, high + 1))) + ".",
                 f"I begin with {low} and stop at {high}.")

    def _fact(self, chat, rng):
        questions, answer = rng.choice(_FACTS)
        chat.ask(words.casual(rng, rng.choice(questions)), answer, "I know that.")
