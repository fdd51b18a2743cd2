"""Small sums: in thinking mode digit by digit, without it at once."""

import word_lists as words
from chat import Chat


def add_steps(a, b):
    """How a + b goes by hand, from the right."""
    left, right = str(a)[::-1], str(b)[::-1]
    carry = 0
    steps = []
    for at in range(max(len(left), len(right))):
        x = int(left[at]) if at < len(left) else 0
        y = int(right[at]) if at < len(right) else 0
        total = x + y + carry
        carried = f" + {carry}" if carry else ""
        steps.append(f"{x} + {y}{carried} = {total}: write {total % 10}, carry {total // 10}.")
        carry = total // 10
    if carry:
        steps.append(f"Write {carry}.")
    return "\n".join(steps)


def subtract_steps(a, b):
    """How a - b goes by hand, from the right; a >= b."""
    left, right = str(a)[::-1], str(b)[::-1]
    borrow = 0
    steps = []
    for at in range(len(left)):
        x = int(left[at])
        y = int(right[at]) if at < len(right) else 0
        borrowed = f" - {borrow}" if borrow else ""
        difference = x - y - borrow
        if difference < 0:
            steps.append(f"{x} - {y}{borrowed}: borrow. 1{x} - {y}{borrowed} = {difference + 10}: "
                         f"write {difference + 10}.")
            borrow = 1
        else:
            steps.append(f"{x} - {y}{borrowed} = {difference}: write {difference}.")
            borrow = 0
    return "\n".join(steps)


def multiply_steps(a, b):
    """How a * b goes by hand, from the right; b has one digit."""
    carry = 0
    steps = []
    for digit in str(a)[::-1]:
        product = int(digit) * b
        total = product + carry
        carried = f" = {product}. {product} + {carry}" if carry else ""
        steps.append(f"{digit} * {b}{carried} = {total}: write {total % 10}, carry {total // 10}.")
        carry = total // 10
    if carry:
        steps.append(f"Write {carry}.")
    return "\n".join(steps)


class Sum:
    """An exercise: operands, sign, result and the way to it."""

    def __init__(self, a, b, sign):
        self.a, self.b, self.sign = a, b, sign
        self.result, steps = {
            "+": lambda: (a + b, add_steps(a, b)),
            "-": lambda: (a - b, subtract_steps(a, b)),
            "*": lambda: (a * b, multiply_steps(a, b)),
        }[sign]()
        digits = f"{' '.join(str(a)[::-1])} and {' '.join(str(b)[::-1])}"
        self.thought = f"From the right: {digits}.\n{steps}\nThe result is {self.result}."
        self.answer = f"{a} {sign} {b} = {self.result}."


def random_sum(rng, largest_size=4, least=0):
    """Operands of one to `largest_size` digits, from `least` up; products of at most three digits by
    one."""
    sign = rng.choice("++--*")
    if sign == "*":
        return Sum(_number(rng, min(3, largest_size), least), rng.randint(2, 9), sign)
    a, b = _number(rng, largest_size, least), _number(rng, largest_size, least)
    if rng.random() < 0.5:  # of one size
        b = _number_of_size(rng, len(str(a)), least)
    return Sum(max(a, b), min(a, b), sign) if sign == "-" else Sum(a, b, sign)


def _number(rng, largest_size, least):
    return _number_of_size(rng, rng.randint(1, largest_size), least)


def _number_of_size(rng, size, least):
    return rng.randint(10 ** (size - 1) if size > 1 else least, 10**size - 1)


_QUESTIONS = ("What is {a} {s} {b}?", "What is {a} {s} {b}?", "{a} {s} {b}", "{a} {s} {b} = ?",
              "Calculate {a} {s} {b}.", "How much is {a} {s} {b}?", "Compute {a} {s} {b}.",
              "Please calculate {a} {s} {b}.", "{a}{s}{b}", "What is {a}{s}{b}?",
              "what is {a} {s} {b}", "{a}{s}{b}=?", "what's {a} {s} {b}?")
_WORDS = {"+": ("What is {a} plus {b}?", "Add {a} and {b}.", "What is the sum of {a} and {b}?",
                "{n} has {a} coins and finds {b} more. How many coins does {n} have now?"),
          "-": ("What is {a} minus {b}?", "Subtract {b} from {a}.",
                "{n} has {a} coins and spends {b}. How many coins does {n} have now?"),
          "*": ("What is {a} times {b}?", "Multiply {a} by {b}.",
                "A box holds {a} coins. How many coins are in {b} boxes?")}


class Arithmetic:
    """Chats of one to four sums."""

    def __init__(self, least=0):
        """`least`: the smallest operand."""
        self._least = least

    def make(self, rng):
        """One chat."""
        chat = Chat(rng, thinking=rng.random() < 0.7)
        for _ in range(rng.choice((1, 1, 2, 3, 4) if chat.thinking else (1, 2, 3, 5, 6))):
            self.ask(chat, rng)
        return chat.request()

    def ask(self, chat, rng):
        """One exchange."""
        exercise = random_sum(rng, least=self._least)
        question = rng.choice(_QUESTIONS if rng.random() < 0.7 else _WORDS[exercise.sign])
        text = question.format(a=exercise.a, b=exercise.b, s=exercise.sign,
                               n=words.first_name(rng))
        chat.ask(text, exercise.answer, exercise.thought)
