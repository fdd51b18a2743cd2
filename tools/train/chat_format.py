"""Chat requests as the text that a V4.1 model reads, as servers of the V4 family render them.

A request is a dict in the shape of POST /chat/completions: messages, tools, thinking, effort. The
text is kept as segments: what the template wrote may hold added tokens, what a client wrote may
not."""

import json
from dataclasses import dataclass

from special_tokens import (ASSISTANT, BOS, DSML, EOS, IMAGE, REMINDER, SYSTEM, THINK_BEGIN,
                            THINK_END, USER)

_EFFORTS = {"low": 50, "high": 75, "max": 100}
_LEVELS = {"minimal": "low", "low": "low", "medium": "high", "high": "high", "xhigh": "high",
           "max": "max", "ultra": "max"}

TOOLS_BEGIN = f"""## Tools

You have access to a set of tools to help answer the user's question. You can invoke tools by \
writing a "<{DSML} calls>" block like the following:

<{DSML} calls>
<{DSML} invoke name="$TOOL_NAME">
<{DSML} parameter name="$PARAMETER_NAME" string="true|false">$PARAMETER_VALUE</{DSML} parameter>
...
</{DSML} invoke>
<{DSML} invoke name="$TOOL_NAME2">
...
</{DSML} invoke>
</{DSML} calls>

String parameters should be specified as is and set `string="true"`. For all other types (numbers, \
booleans, arrays, objects), pass the value in JSON format and set `string="false"`.

If thinking_mode is enabled (triggered by <think>), you MUST output your complete reasoning inside \
<think>...</think> BEFORE any tool calls or final response.

Otherwise, output directly after </think> with tool calls or final response.

### Available Tool Schemas

"""
TOOLS_END = ("You MUST strictly follow the above defined tool name and parameter schemas to invoke "
             "tool calls.\n")
RESPONSE_FORMAT = ("## Response Format:\n\nYou MUST strictly adhere to the following schema to "
                   "reply:\n")


class RequestError(ValueError):
    """A request that breaks a rule: status 400."""


@dataclass
class Segment:
    """A run of text. `learned`: the model is to write it."""

    text: str
    is_template: bool
    learned: bool = False


class Prompt:
    """Segments in order; neighbours of one kind are one segment."""

    def __init__(self):
        self.segments = []

    def add(self, text, is_template=False, learned=False):
        """Adds text at the end."""
        if not text:
            return
        last = self.segments[-1] if self.segments else None
        if last and (last.is_template, last.learned) == (is_template, learned):
            last.text += text
        else:
            self.segments.append(Segment(text, is_template, learned))

    def text(self):
        """All of it."""
        return "".join(segment.text for segment in self.segments)


def effort_prefix(effort):
    """The line that tells a thinking model how much to think; `effort`: a level or a number."""
    number = effort if isinstance(effort, int) else _EFFORTS[effort]
    return (f"Reasoning Effort: {number} (range 1-100, the higher the value, the more thorough "
            "the reasoning)\n\n")


def dump_json(value):
    """JSON as the prompt has it."""
    return json.dumps(value, ensure_ascii=False)


def render(request, header=True):
    """The prompt of a request. `header`: open the assistant's turn at the end."""
    messages = _normalised(_checked(request["messages"]))
    tools, forced = _tools(request)
    thinking, effort = _mode(request)
    if forced and thinking:
        raise RequestError("Thinking mode does not support this tool_choice")
    _add_sections(messages, tools, request)
    prompt = Prompt()
    prompt.add(BOS, True)
    if thinking or messages[0]["role"] == "system":
        prompt.add(SYSTEM, True)
    if thinking:
        prompt.add(effort_prefix(effort), True)
    for index, message in enumerate(messages):
        _render_message(prompt, messages, index, message, thinking)
    if header:
        prompt.add(ASSISTANT + (THINK_BEGIN if thinking else THINK_END), True)
        if forced:
            prompt.add("\n\n<")
            prompt.add(DSML, True)
            prompt.add(" calls>\n")
    return prompt


def _mode(request):
    """(thinking?, effort)"""
    effort = request.get("reasoning_effort")
    kind = (request.get("thinking") or {}).get("type")
    if isinstance(effort, int):
        return kind != "disabled", effort
    if kind == "disabled" or (kind is None and effort == "none"):
        return False, "high"
    if effort in (None, "none"):
        return True, "high"
    if effort not in _LEVELS:
        raise RequestError(f"reasoning_effort: {effort}")
    return True, _LEVELS[effort]


def _tools(request):
    """(schemas, is a call forced?)"""
    choice = request.get("tool_choice", "auto")
    tools = [tool["function"] for tool in request.get("tools") or []]
    if choice == "none":
        return [], False
    if isinstance(choice, dict):
        tools = [tool for tool in tools if tool["name"] == choice["function"]["name"]]
        if not tools:
            raise RequestError("tool_choice: no such tool")
        return tools, True
    return tools, choice == "required" and bool(tools)


def _checked(messages):
    if not messages:
        raise RequestError("messages: empty")
    open_ids = []
    for message in messages:
        if message["role"] == "tool":
            if message.get("tool_call_id") not in open_ids:
                raise RequestError("a tool message answers no call")
            open_ids.remove(message["tool_call_id"])
            continue
        if open_ids:
            raise RequestError("a call has no tool message")
        if message["role"] == "assistant":
            if not message.get("content") and not message.get("tool_calls"):
                raise RequestError("an assistant message is empty")
            open_ids = [call["id"] for call in message.get("tool_calls") or []]
    if open_ids:
        raise RequestError("a call has no tool message")
    return messages


def _text(content):
    if isinstance(content, list):
        return "\n\n".join(part["text"] if part["type"] == "text" else IMAGE for part in content)
    return content or ""


def _normalised(messages):
    """Copies with string content: empty system messages gone, results in the order of the calls."""
    out = []
    for message in messages:
        message = dict(message, content=_text(message.get("content")))
        if message["role"] == "system" and not message["content"]:
            continue
        out.append(message)
    start = 0
    while start < len(out):
        order = [call["id"] for call in out[start].get("tool_calls") or []]
        end = start + 1
        while end < len(out) and out[end]["role"] == "tool":
            end += 1
        out[start + 1 : end] = sorted(out[start + 1 : end],
                                      key=lambda message: order.index(message["tool_call_id"]))
        start = end
    return out


def _add_sections(messages, tools, request):
    """Tools and the response format go into the system message at the beginning, as segments."""
    json_mode = (request.get("response_format") or {}).get("type") == "json_object"
    if json_mode and not any("json" in message["content"].lower() for message in messages):
        raise RequestError("JSON mode needs the word json in a message")
    if not tools and not json_mode:
        return
    if not messages or messages[0]["role"] != "system":
        messages.insert(0, {"role": "system", "content": ""})
    messages[0]["sections"] = sections = Prompt()
    if tools:
        sections.add("\n\n")
        sections.add(TOOLS_BEGIN, True)
        sections.add("\n".join(dump_json({
            "name": tool["name"], "description": tool.get("description", ""),
            "parameters": tool.get("parameters", {})}) for tool in tools))
        sections.add("\n\n")
        sections.add(TOOLS_END, True)
    if json_mode:
        sections.add("\n\n")
        sections.add(RESPONSE_FORMAT, True)
        sections.add(dump_json({"type": "json_object"}))


def _render_message(prompt, messages, index, message, thinking):
    role = message["role"]
    if role == "system":
        if index > 0:
            prompt.add(SYSTEM, True)
        prompt.add(message["content"])
        for segment in message.get("sections", Prompt()).segments:
            prompt.add(segment.text, segment.is_template)
    elif role == "latest_reminder":
        prompt.add(REMINDER, True)
        prompt.add(message["content"])
    elif role in ("user", "tool"):
        joins = index > 0 and messages[index - 1]["role"] in ("user", "tool")
        prompt.add("\n\n" if joins else USER, not joins)
        content = message["content"]
        prompt.add(f"<tool_result>{content}</tool_result>" if role == "tool" else content)
    else:
        _render_assistant(prompt, message, thinking and index > 0)


def _render_assistant(prompt, message, shows_thinking):
    prompt.add(ASSISTANT, True)
    if shows_thinking:
        prompt.add(THINK_BEGIN, True)
        prompt.add(message.get("reasoning_content") or "", learned=True)
    prompt.add(THINK_END, True, learned=shows_thinking)
    prompt.add(message["content"], learned=True)
    calls = message.get("tool_calls") or []
    if calls:
        _render_calls(prompt, [call["function"] for call in calls])
    prompt.add(EOS, True, learned=True)


def _arguments(text):
    """The object that a call's arguments stand for; other texts are one argument."""
    try:
        value = json.loads(text)
        if isinstance(value, str):
            value = json.loads(value)
        if isinstance(value, dict):
            return value
    except ValueError:
        pass
    return {"arguments": text}


def _render_calls(prompt, calls):
    def tag(text):
        for at, part in enumerate(text.split(DSML)):
            if at > 0:
                prompt.add(DSML, True, learned=True)
            prompt.add(part, learned=True)

    tag(f"\n\n<{DSML} calls>\n")
    for at, call in enumerate(calls):
        arguments = call["arguments"]
        if isinstance(arguments, str):
            arguments = _arguments(arguments)
        tag(("\n" if at else "") + f"<{DSML} invoke name=\"")
        prompt.add(call["name"] + '">\n', learned=True)
        for number, (key, value) in enumerate(arguments.items()):
            kind, text = ("true", value) if isinstance(value, str) else ("false", dump_json(value))
            tag(("\n" if number else "") + f'<{DSML} parameter name="')
            prompt.add(f'{key}" string="{kind}">{text}', learned=True)
            tag(f"</{DSML} parameter>")
        tag(f"\n</{DSML} invoke>")
    tag(f"\n</{DSML} calls>")
