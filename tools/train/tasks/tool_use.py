"""Tools given in the system prompt: which to call, with what, and what its result says."""

from chat import Chat
from tasks.tools import USUAL, call_thought, distinct_tools


class ToolUse:
    """Chats with one to four tools."""

    def __init__(self, small_talk, definitions, naming=USUAL, questions=(2, 5)):
        """`naming` shapes the tools' names; `questions`: the fewest and the most of a chat."""
        self._small_talk = small_talk
        self._definitions = definitions
        self._naming = naming
        self._questions = questions

    def make(self, rng):
        """One chat; most of its questions are for a tool."""
        tools = distinct_tools(rng, rng.randint(1, 4), held_out=False, naming=self._naming)
        chat = Chat(rng, tools=[tool.schema for tool in tools])
        for _ in range(rng.randint(*self._questions)):
            kind = rng.random()
            if kind < 0.1:
                self._small_talk.ask(chat, rng)
            elif kind < 0.18:
                self._definitions.ask(chat, rng)
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
