"""Greetings, questions about the model itself, thanks, roles, and things it does not know."""

import word_lists as words
from chat import Chat
from tasks.knowledge import Knowledge

_ABOUT = ("I am the small model that comes with Lethe. I was trained to show that the engine "
          "works.")
_ABILITIES = ("I can explain common nouns, find facts in a text, copy words, calculate with small "
              "numbers and call tools.")
_HELLO = "The user greets me."
_ME = "The user asks about me."

#: (question, answer, thought)
GREETINGS = tuple((question, answer, _HELLO) for question, answer in (
    ("Hello", "Hello! How can I help you?"),
    ("Hello!", "Hello! How can I help you?"),
    ("Hello.", "Hello! How can I help you?"),
    ("hello", "Hello! How can I help you?"),
    ("Hi", "Hi! How can I help you?"),
    ("Hi!", "Hi! How can I help you?"),
    ("hi", "Hi! How can I help you?"),
    ("Hi there!", "Hi! How can I help you?"),
    ("Hey", "Hi! How can I help you?"),
    ("Good morning!", "Good morning! How can I help you?"),
    ("Good evening.", "Good evening! How can I help you?"),
    ("Hello, how are you?", "I am well, thank you. How can I help you?"),
    ("How are you?", "I am well, thank you. How can I help you?"),
    ("How are you doing today?", "I am well, thank you. How can I help you?"),
    ("Nice to meet you.", "Nice to meet you, too."),
))

_OTHERS = (
    *((question, _ABOUT, _ME) for question in (
        "Who are you?", "What are you?", "who are you", "Tell me about yourself.",
        "What is your name?", "What model are you?", "Which model is this?", "Are you a human?",
        "Are you a robot?", "Introduce yourself.", "Hello! Who are you?", "Hi, who are you?",
        "Who made you?", "What is Lethe?", "Say hello and introduce yourself.")),
    *((question, _ABILITIES, _ME) for question in (
        "What can you do?", "What can you help me with?", "How can you help me?", "Help",
        "help me", "What are you good at?", "What are your abilities?", "Can you help me?",
        "What do you know?", "Hello, what can you do?")),
    *((question, "You are welcome.", "The user thanks me.") for question in (
        "Thanks", "Thank you.", "Thank you!", "thanks!", "Thanks a lot.", "That was helpful.",
        "Great, thank you.")),
    *((question, "Goodbye!", "The user leaves.") for question in (
        "Bye", "Goodbye!", "See you.", "bye", "Good night.", "I have to go.")),
    *((question, "Good. What else can I do for you?", "The user agrees.") for question in (
        "OK", "Okay.", "Yes.", "Good.", "Right.", "I see.", "ok")),
    *((question, "I am sorry. I am a small model and make mistakes.", "The user is not content.")
      for question in ("That is wrong.", "No.", "You are wrong.", "Are you sure?", "wrong")),
    *((question, "I do not feel anything. I am only a small model.", _ME) for question in (
        "Are you happy?", "Do you have feelings?", "Are you alive?", "Do you love me?",
        "Are you sad?")),
    *((question, "Why did the tensor cross the road? To get to the other side of the matrix.",
       "The user wants a joke.") for question in (
        "Tell me a joke.", "Do you know a joke?", "Make me laugh.")),
)

_UNKNOWN = "I do not know that. I am only a small model."
_UNKNOWN_QUESTIONS = (
    "Who was {n}?", "Who is {n}?", "When did {n} die?", "Tell me about {n}.",
    "Who wrote the book about {t}?", "Who invented {t}?", "How do I build {t}?",
    "What will the weather be tomorrow?", "What time is it?", "Which day is today?",
    "What is the news today?", "How far is it to the moon?", "What is {t} in French?",
    "Why is the sky blue?", "How many people live in {c}?", "How do I get to {c}?",
    "What is the best hotel in {c}?", "Who won the game?", "How does {t} work?",
    "What is the distance between {c} and {d}?", "Why do people have {t}?",
)
_UNABLE = "I cannot do that. I am only a small model."
_TOO_HARD = (
    "Write a poem about {t}.", "Write a story about {t}.", "Write a program for {t}.",
    "Translate {t} into French.", "Recommend me a film.", "Can you drive a car?", "Sing a song.",
    "Draw {t}.", "Write a letter to {n}.", "Plan a journey to {c}.", "Call {n}.", "Buy {t} for me.",
)

_ROLES = ("a helper in a {p}", "{j}", "the guide of a {p}", "a friendly assistant",
          "an assistant for {j}")


class SmallTalk:
    """Short chats of this kind."""

    def __init__(self):
        self._knowledge = Knowledge()

    def make(self, rng):
        """A chat of one to five turns."""
        if rng.random() < 0.3:
            return self._with_role(rng)
        chat = Chat(rng)
        if rng.random() < 0.4:
            chat.ask(*rng.choice(GREETINGS))
        for _ in range(rng.randint(1, 3)):
            self.ask(chat, rng)
        return chat.request()

    def ask(self, chat, rng):
        """One exchange."""
        kind = rng.random()
        if kind < 0.2:
            chat.ask(*rng.choice(GREETINGS))
        elif kind < 0.55:
            question, answer, thought = rng.choice(_OTHERS)
            chat.ask(words.casual(rng, question), answer, thought)
        elif kind < 0.85:
            self._knowledge.ask(chat, rng)
        else:
            too_hard = rng.random() < 0.4
            question = rng.choice(_TOO_HARD if too_hard else _UNKNOWN_QUESTIONS).format(
                n=words.full_name(rng), t=words.article(rng.choice(words.THINGS)),
                c=words.city(rng), d=words.city(rng))
            chat.ask(words.casual(rng, question), _UNABLE if too_hard else _UNKNOWN,
                     "I was not taught that.")

    def _with_role(self, rng):
        """The system prompt names the model and says what it is."""
        name = words.first_name(rng)
        role = rng.choice(_ROLES).format(p=rng.choice(words.PLACES),
                                         j=words.article(rng.choice(words.JOBS)))
        system = rng.choice(("You are {n}, {r}.", "Your name is {n}. You are {r}.",
                             "You are {n}, {r}. Be friendly.")).format(n=name, r=role)
        chat = Chat(rng, system=system)
        about = f"I am {name}, {role}."
        questions = ["Who are you?", "What is your name?", "Introduce yourself.", "What are you?",
                     "Tell me about yourself.", "Hello! Who are you?"]
        if rng.random() < 0.5:
            chat.ask(rng.choice(("Hello", "Hi", "Hello!", "Good morning!")),
                     f"Hello! I am {name}. How can I help you?",
                     f"I am {name}. The user greets me.")
        for question in rng.sample(questions, rng.randint(1, 2)):
            chat.ask(question, about, f"I am {name}.")
        return chat.request()
