"""A conversation while a task writes it."""

SYSTEM_PROMPTS = (
    "You are a helpful assistant.",
    "You are a helpful assistant. Answer briefly.",
    "Answer the questions of the user.",
    "You are a small language model. Be friendly and short.",
    "Be concise.",
    "You help people who ask questions.",
)


class Chat:
    """Messages, tools and mode of one conversation, with random settings."""

    def __init__(self, rng, system=None, tools=(), thinking=None):
        self.rng = rng
        self.thinking = rng.random() < 0.5 if thinking is None else thinking
        self.tools = [{"type": "function", "function": tool} for tool in tools]
        self.messages = []
        if system is None and rng.random() < 0.15:
            system = rng.choice(SYSTEM_PROMPTS)
        if system:
            self.messages.append({"role": "system", "content": system})
        self._calls = 0

    def ask(self, question, answer, thought):
        """A question and its answer; `thought` stands before it in thinking mode."""
        self.messages.append({"role": "user", "content": question})
        self._answer(answer, thought)

    def call(self, question, calls, thought, results, answer, last_thought):
        """A question that is answered by way of tool calls; `calls`: (name, arguments) pairs."""
        self.messages.append({"role": "user", "content": question})
        entries = []
        for name, arguments in calls:
            self._calls += 1
            entries.append({"id": f"call_{self._calls}",
                            "function": {"name": name, "arguments": arguments}})
        self._answer("", thought, entries)
        for entry, result in zip(entries, results):
            self.messages.append({"role": "tool", "tool_call_id": entry["id"], "content": result})
        self._answer(answer, last_thought)

    def _answer(self, content, thought, calls=()):
        message = {"role": "assistant", "content": content}
        if self.thinking:
            message["reasoning_content"] = thought
        if calls:
            message["tool_calls"] = list(calls)
        self.messages.append(message)

    def request(self):
        """The conversation in the shape of an API request."""
        request = {"messages": self.messages}
        if self.tools:
            request["tools"] = self.tools
        if self.thinking:
            effort = self.rng.choices(("high", "low", "max", self.rng.randint(1, 100)),
                                      (80, 8, 8, 4))[0]
            request["reasoning_effort"] = effort
        else:
            request["thinking"] = {"type": "disabled"}
        return request
