"""What the user says about himself, asked for some turns later."""

import word_lists as words
from chat import Chat
from tasks.small_talk import GREETINGS

#: (statement, reply, question, answer) with {v} for what is told, and who makes the value.
_TRAITS = (
    (("My name is {v}.", "I am {v}.", "Hello, I am {v}.", "Hi! My name is {v}."),
     "Hello, {v}! Nice to meet you.",
     ("What is my name?", "Do you remember my name?", "Who am I?", "What's my name?"),
     "Your name is {v}.", "You have not told me your name.", words.first_name),
    (("I live in {v}.", "My home is in {v}."), "{v} is a nice place.",
     ("Where do I live?", "Which city do I live in?"), "You live in {v}.",
     "You have not told me where you live.", words.city),
    (("I am {v} years old.",), "{v} is a fine age.", ("How old am I?", "What is my age?"),
     "You are {v} years old.", "You have not told me your age.",
     lambda rng: str(rng.randint(5, 95))),
    (("My favorite color is {v}.", "I like {v} best of all colors."), "{v} is a nice color.",
     ("What is my favorite color?", "Which color do I like?"), "Your favorite color is {v}.",
     "You have not told me your favorite color.", lambda rng: rng.choice(words.COLORS)),
    (("I work as {v}.", "I am {v}."), "That is a good job.",
     ("What is my job?", "What do I work as?"), "You work as {v}.",
     "You have not told me your job.",
     lambda rng: words.article(rng.choice(words.JOBS))),
    (("I have a {v}.", "My pet is a {v}."), "A {v} is good company.",
     ("Which animal do I have?", "What pet do I have?"), "You have a {v}.",
     "You have not told me about a pet.", lambda rng: rng.choice(words.ANIMALS)),
    (("I like {v}.", "My favorite food is {v}."), "I have heard that {v} tastes good.",
     ("What do I like to eat?", "What is my favorite food?"), "You like {v}.",
     "You have not told me what you like.", lambda rng: rng.choice(words.FOODS)),
    (("My lucky number is {v}.", "Remember the number {v}."), "I will remember {v}.",
     ("What is my number?", "Which number did I tell you?", "What was the number?"),
     "Your number is {v}.", "You have not told me a number.", lambda rng: words.digits(rng, 1, 5)),
)


class Personal:
    """Chats with things told and asked, other exchanges between them."""

    def __init__(self, others, at_once=0.15):
        """`others`: tasks with ask(chat, rng); `at_once`: how often a thing is told and asked in one
        message."""
        self._others = others
        self._at_once_share = at_once

    def make(self, rng):
        """One chat."""
        chat = Chat(rng)
        traits = rng.sample(_TRAITS, rng.randint(1, 4))
        if rng.random() < 0.3:
            chat.ask(*rng.choice(GREETINGS))
        told = []
        for trait in traits:
            if self._at_once_share and rng.random() < self._at_once_share:
                self._at_once(chat, rng, trait)
                continue
            if rng.random() < 0.12:
                chat.ask(rng.choice(trait[2]), trait[4], "I was not told that.")
                continue
            value = trait[5](rng)
            told.append((trait, value))
            statement = words.casual(rng, rng.choice(trait[0]).format(v=value))
            chat.ask(statement, _capital(trait[1].format(v=value)), "The user tells me something.")
            if rng.random() < 0.3:
                self._other(chat, rng)
        for trait, value in rng.sample(told, len(told)):
            if rng.random() < 0.3:
                self._other(chat, rng)
            answer = trait[3].format(v=value)
            chat.ask(words.casual(rng, rng.choice(trait[2])), answer,
                     f"The user said it: {answer}")
        return chat.request()

    def _at_once(self, chat, rng, trait):
        """Told and asked in one message."""
        value = trait[5](rng)
        answer = trait[3].format(v=value)
        statement = rng.choice(trait[0]).format(v=value)
        chat.ask(f"{statement} {words.casual(rng, rng.choice(trait[2]))}", answer,
                 f"The user said it: {answer}")

    def _other(self, chat, rng):
        rng.choice(self._others).ask(chat, rng)


def _capital(text):
    return text[:1].upper() + text[1:]
