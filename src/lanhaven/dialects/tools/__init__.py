"""Tools and structure, the same for every dialect: who may call what, and what an engine is held to.

    settling   what a dialect asks before it sends a chat
    offering   what a request offers: `tools`, `tool_choice`, `parallel_tool_calls`, a format beside them
    telling    tools in words, and the JSON schema that the answer is held to
    told       the JSON of such an answer, read back into calls as it grows
    watching   text that a model wrote instead of a call: held back only while it may be one
    families   how such text looks, family by family; `repair` is what may be mended in it
    reading    one answer, choice by choice: all of the above, and whether what was promised came
    schemas    what a schema may be, and which of its words engines do not hold an answer to

A dialect does this:

    offer, notes = settle(gateway, chat)             changes the chat; notes are headers for the reply
    async for chunk in read(offer, inference, exchange): ...
"""
