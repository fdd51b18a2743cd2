"""The added tokens of the small model's tokenizer, as the V4.1 prompt format writes them."""

BOS = "<｜begin▁of▁sentence｜>"
EOS = "<｜end▁of▁sentence｜>"
PAD = "<｜▁pad▁｜>"
SYSTEM = "<｜System｜>"
USER = "<｜User｜>"
ASSISTANT = "<｜Assistant｜>"
REMINDER = "<｜latest_reminder｜>"
THINK_BEGIN = "<think>"
THINK_END = "</think>"
DSML = "｜DSML｜"
NOISE = "<｜deepseek_noise｜>"
IMAGE = "<｜deepseek_image｜>"

#: Ids 0, 1, 2.
FIRST = (BOS, EOS, PAD)
#: The last ids of the vocabulary, in this order.
LAST = (
    USER,
    ASSISTANT,
    SYSTEM,
    REMINDER,
    THINK_BEGIN,
    THINK_END,
    DSML,
    "<｜action｜>",
    "<｜query｜>",
    "<｜authority｜>",
    "<｜domain｜>",
    "<｜title｜>",
    "<｜read_url｜>",
    "<｜fim▁begin｜>",
    "<｜fim▁hole｜>",
    "<｜fim▁end｜>",
    NOISE,
    IMAGE,
)
#: Matched in text but not hidden when text is printed, as in the released tokenizers.
NOT_SPECIAL = (THINK_BEGIN, THINK_END, DSML)
