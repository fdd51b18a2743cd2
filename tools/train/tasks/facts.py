"""Facts about invented people and things: a statement, how to ask for it, and the answer."""

from dataclasses import dataclass, field

import word_lists as words

_ACKNOWLEDGEMENTS = ("I have read it.", "Noted.", "I will remember that.", "Good to know.",
                     "Thank you, I have read it.")


def acknowledgement(rng):
    """What is said to a fact that is told."""
    return rng.choice(_ACKNOWLEDGEMENTS)


@dataclass
class Fact:
    """`identity`: what may occur once in a text; `subject`: what thinking names."""

    identity: tuple
    subject: str
    statement: str
    answer: str
    questions: tuple = field(repr=False)

    def question(self, rng):
        """One of the ways to ask."""
        return words.casual(rng, rng.choice(self.questions))


class Relation:
    """A kind of fact: templates with {k} for the key and {v} for the value."""

    def __init__(self, name, key, value, subject, statements, questions):
        self.name = name
        self._key = key
        self._value = value
        self._subject = subject
        self._statements = statements
        self._questions = questions

    def make(self, rng):
        """A random fact of this kind."""
        key = self._key(rng)
        value = self._value(rng)
        answer = _capital(self._statements[0].format(k=key, v=value))
        statement = answer
        if rng.random() < 0.2:
            statement = _capital(rng.choice(self._statements).format(k=key, v=value))
        return Fact((self.name, key), self._subject.format(k=key), statement, answer,
                    tuple(question.format(k=key) for question in self._questions))


def _capital(text):
    return text[:1].upper() + text[1:]


def _person(rng):
    return words.first_name(rng) if rng.random() < 0.6 else words.full_name(rng)


def _thing(rng):
    return f"the {rng.choice(words.ADJECTIVES)} {rng.choice(words.THINGS)}"


def _any_key(rng):
    return _person(rng) if rng.random() < 0.5 else _thing(rng)


def _password(rng):
    kind = rng.random()
    if kind < 0.4:
        return f"{rng.choice(words.THINGS)}{rng.randint(10, 99)}"
    if kind < 0.7:
        return words.pseudo_word(rng, 3)
    return f"{rng.choice(words.COLORS)}-{rng.choice(words.ANIMALS)}"


def _pet(rng):
    return f"{words.article(rng.choice(words.ANIMALS))} called {words.first_name(rng)}"


def _one_of(values):
    return lambda rng: rng.choice(values)


def _number(low, high):
    return lambda rng: rng.randint(low, high)


RELATIONS = (
    Relation("code", _any_key, words.digits, "the code for {k}",
             ("the code for {k} is {v}.", "{v} is the code for {k}.",
              "remember that the code for {k} is {v}."),
             ("What is the code for {k}?", "What is the code for {k}?", "Tell me the code for {k}.",
              "Which code belongs to {k}?", "code for {k}?")),
    Relation("code", _any_key, lambda rng: words.digits(rng, 4, 4), "the code for {k}",
             ("the code for {k} is {v}.",), ("What is the code for {k}?",)),
    Relation("password", _any_key, _password, "the password of {k}",
             ("the password of {k} is {v}.",),
             ("What is the password of {k}?", "Which password does {k} have?")),
    Relation("home", _person, words.city, "the home of {k}",
             ("{k} lives in {v}.", "the home of {k} is in {v}."),
             ("Where does {k} live?", "In which city does {k} live?")),
    Relation("job", _person, _one_of([words.article(job) for job in words.JOBS]), "the job of {k}",
             ("{k} works as {v}.", "{k} is {v}."),
             ("What does {k} work as?", "What is the job of {k}?")),
    Relation("color", _thing, _one_of(words.COLORS), "the color of {k}",
             ("the color of {k} is {v}.",), ("What is the color of {k}?", "Which color has {k}?")),
    Relation("favorite", _person, _one_of(words.COLORS), "the favorite color of {k}",
             ("the favorite color of {k} is {v}.",),
             ("What is the favorite color of {k}?", "Which color does {k} like best?")),
    Relation("age", _person, _number(3, 99), "the age of {k}",
             ("{k} is {v} years old.",), ("How old is {k}?", "What is the age of {k}?")),
    Relation("price", _thing, _number(2, 990), "the price of {k}",
             ("the price of {k} is {v} coins.", "{k} costs {v} coins."),
             ("What is the price of {k}?", "How much does {k} cost?")),
    Relation("place", _thing, _one_of(words.PLACES), "the place of {k}",
             ("{k} is in the {v}.", "you can find {k} in the {v}."),
             ("Where is {k}?", "Where can I find {k}?")),
    Relation("owner", _thing, _person, "the owner of {k}",
             ("{k} belongs to {v}.", "{v} owns {k}."),
             ("Who owns {k}?", "To whom does {k} belong?")),
    Relation("birth", _person, _number(1900, 2020), "the birth of {k}",
             ("{k} was born in {v}.",), ("When was {k} born?", "In which year was {k} born?")),
    Relation("phone", _person, lambda rng: f"555-{rng.randint(0, 9999):04d}", "the phone of {k}",
             ("the phone number of {k} is {v}.",),
             ("What is the phone number of {k}?", "How can I call {k}?")),
    Relation("friend", _person, _person, "the friend of {k}",
             ("the best friend of {k} is {v}.",),
             ("Who is the best friend of {k}?", "What is the name of the best friend of {k}?")),
    Relation("pet", _person, _pet, "the pet of {k}",
             ("{k} has {v}.",), ("Which animal does {k} have?", "What pet does {k} have?")),
    Relation("secret", _person, _one_of(words.THINGS), "the secret word of {k}",
             ("the secret word of {k} is {v}.",), ("What is the secret word of {k}?",)),
    Relation("time", _person, lambda rng: f"{rng.randint(6, 22)}:{rng.randint(0, 59):02d}",
             "the arrival of {k}",
             ("{k} arrives at {v}.",), ("When does {k} arrive?", "At what time does {k} arrive?")),
    Relation("value", lambda rng: words.pseudo_word(rng), words.digits, "the value of {k}",
             ("the value of {k} is {v}.", "{k} = {v}."),
             ("What is the value of {k}?", "value of {k}?")),
)

#: Facts whose answer is a word of many, not digits.
WORD_RELATIONS = tuple(relation for relation in RELATIONS if relation.name in {
    "home", "job", "color", "favorite", "place", "owner", "friend", "pet", "secret"})
