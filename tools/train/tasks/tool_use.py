"""Tools given in the system prompt: which to call, with what, and what its result says.

Tools are made up: a verb, one or two nouns, up to three parameters. Names that `is_held_out` picks
never occur in training, so that evaluation has tools of known shape that nobody has seen."""

import json
import zlib

import word_lists as words
from chat import Chat

#: verb: (its form in a description, is there a value in the result?)
VERBS = {
    "get": True, "find": True, "read": True, "fetch": True, "check": True, "search": True,
    "show": True, "count": True, "set": False, "create": False, "send": False, "delete": False,
    "start": False, "stop": False, "book": False, "open": False, "close": False, "add": False,
    "order": False, "update": False,
}
SUBJECTS = """
weather price temperature ticket timer alarm message email meeting event order flight train hotel
room table song movie recipe account balance stock route map package invoice report file folder user
contact calendar reminder task list score game photo video backup server device light door heater
camera printer garden harvest ferry museum parcel salary permit license sensor battery budget exam
course lesson library passport visa pharmacy prescription taxi concert stadium auction bid vote
""".split()
_QUALIFIERS = "daily local next new old public private current last shared home office".split()


def _word(rng):
    return rng.choice(words.THINGS)


#: name of a parameter: (JSON type, maker of a value)
PARAMETERS = {
    "city": ("string", words.city), "name": ("string", words.full_name),
    "person": ("string", words.first_name), "title": ("string", lambda rng: f"{_word(rng)} {_word(rng)}"),
    "item": ("string", _word), "color": ("string", lambda rng: rng.choice(words.COLORS)),
    "place": ("string", lambda rng: rng.choice(words.PLACES)),
    "day": ("string", lambda rng: rng.choice("Monday Tuesday Wednesday Thursday Friday".split())),
    "code": ("string", lambda rng: words.pseudo_word(rng) + str(rng.randint(1, 99))),
    "text": ("string", lambda rng: " ".join(_word(rng) for _ in range(rng.randint(2, 4)))),
    "unit": ("string", lambda rng: rng.choice("meters miles grams pounds hours minutes".split())),
    "country": ("string", lambda rng: rng.choice(list(words.CAPITALS))),
    "count": ("integer", lambda rng: rng.randint(1, 99)), "id": ("integer", lambda rng: rng.randint(1, 9999)),
    "days": ("integer", lambda rng: rng.randint(1, 30)), "minutes": ("integer", lambda rng: rng.randint(1, 90)),
    "year": ("integer", lambda rng: rng.randint(1950, 2030)), "limit": ("integer", lambda rng: rng.randint(1, 500)),
    "price": ("number", lambda rng: round(rng.uniform(1, 99), 1)),
    "weight": ("number", lambda rng: round(rng.uniform(0.1, 50), 1)),
    "urgent": ("boolean", lambda rng: rng.random() < 0.5), "active": ("boolean", lambda rng: rng.random() < 0.5),
    "public": ("boolean", lambda rng: rng.random() < 0.5),
}
_RESULTS = (
    lambda rng: str(rng.randint(1, 999)), lambda rng: words.digits(rng, 2, 5),
    lambda rng: rng.choice("sunny rainy cloudy ready late closed open empty full busy".split()),
    _word, words.city, words.full_name,
)


def is_held_out(verb, subject):
    """One name in five is for evaluation only."""
    return zlib.crc32(f"{verb}_{subject}".encode()) % 5 == 0


class Tool:
    """A tool of the known shape."""

    def __init__(self, rng, held_out):
        while True:
            self.verb = rng.choice(list(VERBS))
            self.subject = rng.choice(SUBJECTS)
            if is_held_out(self.verb, self.subject) == held_out:
                break
        if rng.random() < 0.25:
            self.subject = f"{rng.choice(_QUALIFIERS)} {self.subject}"
        joined = self.subject.replace(" ", "_")
        self.name = f"{self.verb}_{joined}"
        if rng.random() < 0.12:
            self.name = self.verb + "".join(part.capitalize() for part in self.subject.split())
        self.parameters = rng.sample(list(PARAMETERS), rng.choice((0, 1, 1, 2, 2, 3)))
        described = rng.random() < 0.5
        properties = {}
        for parameter in self.parameters:
            properties[parameter] = {"type": PARAMETERS[parameter][0]}
            if described:
                properties[parameter]["description"] = f"The {parameter}."
        schema = {"type": "object", "properties": properties}
        if rng.random() < 0.7:
            schema["required"] = list(self.parameters)
        description = f"{self.verb.capitalize()} the {self.subject}."
        if rng.random() < 0.15:
            description = ""
        self.schema = {"name": self.name, "description": description, "parameters": schema}

    def arguments(self, rng):
        """A value for every parameter."""
        return {parameter: PARAMETERS[parameter][1](rng) for parameter in self.parameters}

    def question(self, rng, arguments):
        """A request in plain words that holds the arguments."""
        parts = [f"{key} {json.dumps(value) if not isinstance(value, str) else value}"
                 for key, value in arguments.items()]
        if len(parts) > 1 and rng.random() < 0.7:
            parts[-2:] = [f"{parts[-2]} and {parts[-1]}"]
        listed = ", ".join(parts)
        what = f"{self.verb} the {self.subject}"
        joint = rng.choice((" with ", " for ", " with ", ": "))
        tail = joint + listed if parts else ""
        return rng.choice((
            f"{what.capitalize()}{tail}.", f"Please {what}{tail}.", f"Can you {what}{tail}?",
            f"I want you to {what}{tail}.", f"{what}{tail}", f"Could you {what}{tail}?"))

    def outcome(self, rng):
        """(result as the tool returns it, what to say about it)"""
        if not VERBS[self.verb]:
            if rng.random() < 0.12:
                return '{"error": "not allowed"}', f"I could not {self.verb} the {self.subject}: not allowed."
            return '{"status": "ok"}', f"Done: {self.verb} the {self.subject}."
        value = rng.choice(_RESULTS)(rng)
        key = rng.choice(("result", self.subject.replace(" ", "_"), "value"))
        text = rng.choice((json.dumps({key: value}), json.dumps({key: value}), value))
        return text, f"The {self.subject} is {value}."


def distinct_tools(rng, number, held_out):
    """Tools with names of their own and subjects of their own."""
    tools = {}
    while len(tools) < number:
        tool = Tool(rng, held_out)
        tools.setdefault(tool.subject.split()[-1], tool)
    return list(tools.values())


def call_thought(tool, arguments):
    """What is thought before a call."""
    if not arguments:
        return f"I call {tool.name}."
    return f"I call {tool.name} with {', '.join(arguments)}."


class ToolUse:
    """Chats with one to four tools."""

    def __init__(self, small_talk, definitions):
        self._small_talk = small_talk
        self._definitions = definitions

    def make(self, rng):
        """One chat of two to five questions, most of them for a tool."""
        tools = distinct_tools(rng, rng.randint(1, 4), held_out=False)
        chat = Chat(rng, tools=[tool.schema for tool in tools])
        for _ in range(rng.randint(2, 5)):
            kind = rng.random()
            if kind < 0.1:
                self._small_talk.ask(chat, rng)
            elif kind < 0.18:
                self._definitions.ask(chat, rng, "What does {w} mean?")
            else:
                self._call(chat, rng, tools)
        return chat.request()

    def _call(self, chat, rng, tools):
        chosen = [rng.choice(tools)]
        if len(tools) > 1 and rng.random() < 0.08:
            chosen = rng.sample(tools, 2)
        calls, questions, results, answers = [], [], [], []
        for tool in chosen:
            arguments = tool.arguments(rng)
            calls.append((tool.name, arguments))
            questions.append(tool.question(rng, arguments))
            result, said = tool.outcome(rng)
            results.append(result)
            answers.append(said)
        thought = " ".join(call_thought(tool, call[1]) for tool, call in zip(chosen, calls))
        chat.call(" ".join(questions), calls, thought, results, " ".join(answers),
                  "The tool has answered.")
