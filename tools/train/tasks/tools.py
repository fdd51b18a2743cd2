"""Invented tools: a verb, one or two nouns, up to three parameters.

Names that `is_held_out` picks never occur in training, so that evaluation has tools of known shape
that the model has not seen."""

import json
import zlib

import word_lists as words

#: verb: does the result hold a value?
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
    "person": ("string", words.first_name),
    "title": ("string", lambda rng: f"{_word(rng)} {_word(rng)}"),
    "item": ("string", _word), "color": ("string", lambda rng: rng.choice(words.COLORS)),
    "place": ("string", lambda rng: rng.choice(words.PLACES)),
    "day": ("string", lambda rng: rng.choice("Monday Tuesday Wednesday Thursday Friday".split())),
    "code": ("string", lambda rng: words.pseudo_word(rng) + str(rng.randint(1, 99))),
    "text": ("string", lambda rng: " ".join(_word(rng) for _ in range(rng.randint(2, 4)))),
    "unit": ("string", lambda rng: rng.choice("meters miles grams pounds hours minutes".split())),
    "country": ("string", lambda rng: rng.choice(list(words.CAPITALS))),
    "count": ("integer", lambda rng: rng.randint(1, 99)),
    "id": ("integer", lambda rng: rng.randint(1, 9999)),
    "days": ("integer", lambda rng: rng.randint(1, 30)),
    "minutes": ("integer", lambda rng: rng.randint(1, 90)),
    "year": ("integer", lambda rng: rng.randint(1950, 2030)),
    "limit": ("integer", lambda rng: rng.randint(1, 500)),
    "price": ("number", lambda rng: round(rng.uniform(1, 99), 1)),
    "weight": ("number", lambda rng: round(rng.uniform(0.1, 50), 1)),
    "urgent": ("boolean", lambda rng: rng.random() < 0.5),
    "active": ("boolean", lambda rng: rng.random() < 0.5),
    "public": ("boolean", lambda rng: rng.random() < 0.5),
}
#: How plain speech puts a parameter.
PHRASES = {
    "city": "in {}", "country": "in {}", "day": "on {}", "person": "for {}", "name": "for {}",
    "item": "of the {}", "place": "in the {}", "title": "called {}", "code": "with code {}",
    "id": "with id {}", "days": "for {} days", "minutes": "for {} minutes", "year": "in {}",
    "limit": "up to {}", "text": "saying {}", "price": "at price {}",
}
_RESULT_KEYS = "temperature condition status total time name date size rating distance".split()
_RESULTS = (
    lambda rng: str(rng.randint(1, 999)), lambda rng: words.digits(rng, 2, 5),
    lambda rng: rng.choice("sunny rainy cloudy ready late closed open empty full busy".split()),
    _word, words.city, words.full_name,
)


def snake_case(parts):
    """set_old_timer"""
    return "_".join(parts)


def camel_case(parts):
    """setOldTimer"""
    return parts[0] + "".join(part.capitalize() for part in parts[1:])


def pascal_case(parts):
    """SetOldTimer"""
    return "".join(part.capitalize() for part in parts)


def kebab_case(parts):
    """set-old-timer"""
    return "-".join(parts)


def often_snake_case(camel_share):
    """A naming (generator, parts of the name -> name): camelCase so often, else snake_case."""
    return lambda rng, parts: (camel_case if rng.random() < camel_share else snake_case)(parts)


def any_shape(rng, parts):
    """A naming in which camelCase is the most frequent."""
    shapes = (camel_case, snake_case, pascal_case, kebab_case)
    return rng.choices(shapes, (45, 35, 12, 8))[0](parts)


USUAL = often_snake_case(0.3)


def is_held_out(verb, subject):
    """One name in five is for evaluation only."""
    return zlib.crc32(f"{verb}_{subject}".encode()) % 5 == 0


class Tool:
    """A tool of the known shape."""

    def __init__(self, rng, held_out, naming=USUAL):
        while True:
            self.verb = rng.choice(list(VERBS))
            self.subject = rng.choice(SUBJECTS)
            if is_held_out(self.verb, self.subject) == held_out:
                break
        if rng.random() < 0.25:
            self.subject = f"{rng.choice(_QUALIFIERS)} {self.subject}"
        self.name = naming(rng, [self.verb, *self.subject.split()])
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
        """A request in plain words that holds the arguments, in any order."""
        if rng.random() < 0.25:
            arguments = dict(rng.sample(list(arguments.items()), len(arguments)))
        if rng.random() < 0.5:
            return self._natural_question(rng, arguments)
        what = f"{self.verb} the {self.subject}"
        parts = [f"{key} {_plain(value)}" for key, value in arguments.items()]
        if len(parts) > 1 and rng.random() < 0.7:
            parts[-2:] = [f"{parts[-2]} and {parts[-1]}"]
        tail = rng.choice((" with ", " for ", " with ", ": ")) + ", ".join(parts) if parts else ""
        return rng.choice((
            f"{what.capitalize()}{tail}.", f"Please {what}{tail}.", f"Can you {what}{tail}?",
            f"I want you to {what}{tail}.", f"{what}{tail}", f"Could you {what}{tail}?"))

    def _natural_question(self, rng, arguments):
        tail = "".join(" " + PHRASES.get(key, f"with {key} {{}}").format(_plain(value))
                       for key, value in arguments.items())
        subject = f"{self.subject}{tail}"
        if VERBS[self.verb] and self.verb != "count":
            return rng.choice((f"What is the {subject}?", f"Tell me the {subject}.",
                               f"I need the {subject}.", f"{self.verb.capitalize()} the {subject}.",
                               f"What's the {subject}?", f"How is the {subject}?"))
        what = f"{self.verb} {rng.choice((f'the {subject}', words.article(subject)))}"
        return rng.choice((f"{what.capitalize()}.", f"Please {what}.", f"Can you {what}?"))

    def outcome(self, rng):
        """(result as the tool returns it, what to say about it)"""
        if not VERBS[self.verb]:
            if rng.random() < 0.12:
                said = f"I could not {self.verb} the {self.subject}: not allowed."
                return '{"error": "not allowed"}', said
            return '{"status": "ok"}', f"Done: {self.verb} the {self.subject}."
        if rng.random() < 0.25:
            keys = rng.sample(_RESULT_KEYS, 2)
            values = {key: rng.choice(_RESULTS)(rng) for key in keys}
            said = " and ".join(f"the {key} is {value}" for key, value in values.items())
            return _dump(rng, values), f"T{said[1:]}."
        value = rng.choice(_RESULTS)(rng)
        key = rng.choice(("result", self.subject.replace(" ", "_"), "value"))
        text = value if rng.random() < 0.3 else _dump(rng, {key: value})
        return text, f"The {self.subject} is {value}."


def _plain(value):
    """A value as people write it."""
    return value if isinstance(value, str) else json.dumps(value)


def _dump(rng, values):
    """A JSON text; numbers may be strings or not."""
    if rng.random() < 0.7:
        values = {key: int(value) if value.isdigit() else value for key, value in values.items()}
    return json.dumps(values)


def distinct_tools(rng, number, held_out, naming=USUAL):
    """Tools with names of their own and subjects of their own."""
    tools = {}
    while len(tools) < number:
        tool = Tool(rng, held_out, naming)
        tools.setdefault(tool.subject.split()[-1], tool)
    return list(tools.values())


def call_thought(tool, arguments):
    """What is thought before a call."""
    if not arguments:
        return f"I call {tool.name}."
    return f"I call {tool.name} with {', '.join(arguments)}."
