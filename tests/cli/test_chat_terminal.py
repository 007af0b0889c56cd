"""`soma chat` in a terminal: pictures are named as they are sent, and thoughts are dim."""

import asyncio
import os
import pty
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from soma.errors.v1 import reasons
from soma.mesh.v1 import stream_pb2
from soma.model.v1 import message_pb2
from soma.orchestrator.v1 import chat_service_pb2 as pb

from tests.cli.commands import soma
from tests.cli.mesh import KEY, ScriptedChat, finished, serving
from tests.cli.test_chat import PNG, delta

THINKS = pb.ChatResponse(delta=message_pb2.Delta(reasoning=[message_pb2.ReasoningDelta(text="Hm.")]))
DIM, PLAIN = "\x1b[2m", "\x1b[0m"
END_OF_INPUT = b"\x04"


@dataclass
class Terminal:
    """A program on a terminal of its own; `shown` is what it wrote so far."""

    process: asyncio.subprocess.Process
    master: int
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    shown: str = ""

    def read(self) -> None:
        """Take what the program wrote."""
        try:
            self.shown += os.read(self.master, 65536).decode(errors="replace")
        except OSError:
            # Linux says so when the program has closed the terminal.
            asyncio.get_running_loop().remove_reader(self.master)
        self.changed.set()

    async def says(self, text: str, times: int = 1) -> None:
        """Wait until the program has written a text this often."""
        async with asyncio.timeout(60):
            while self.shown.count(text) < times:
                self.changed.clear()
                await self.changed.wait()

    def type(self, keys: bytes) -> None:
        """Type on the keyboard."""
        os.write(self.master, keys)


@asynccontextmanager
async def terminal(*arguments: str, cwd: Path) -> AsyncIterator[Terminal]:
    """Run `soma` on a new terminal."""
    master, slave = pty.openpty()
    command = (sys.executable, "-P", "-m", "cli.main", *arguments)
    process = await asyncio.create_subprocess_exec(*command, stdin=slave, stdout=slave, stderr=slave, cwd=cwd)
    os.close(slave)
    running = Terminal(process, master)
    loop = asyncio.get_running_loop()
    loop.add_reader(master, running.read)
    try:
        yield running
    finally:
        loop.remove_reader(master)
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()
        os.close(master)


async def test_a_picture_is_named_and_sent_and_thoughts_are_dim(tmp_path: Path) -> None:
    (tmp_path / "my cat.png").write_bytes(PNG)
    chatting = ScriptedChat()
    chatting.events = [THINKS, delta("A cat."), finished()]
    async with serving(chatting) as endpoint, terminal("chat", "--url", endpoint.url, "--key", KEY, cwd=tmp_path) as at:
        await at.says("> ")
        at.type(b"/image 'my cat.png' What is it?\n")
        await at.says("tokens/s")
        at.type(b"And in './my cat.png'\n")
        await at.says("tokens/s", 2)
        at.type(b"Thanks\n")
        await at.says("tokens/s", 3)
        at.type(END_OF_INPUT)
        assert await at.process.wait() == 0
        await at.says("continue with: soma chat")
    assert f"[my cat.png, image/png, {len(PNG)} bytes]" in at.shown
    assert f"{DIM}Hm.{PLAIN}" in at.shown
    # The answer is on a line of its own, and is not dim.
    assert f"{PLAIN}A cat." in at.shown.replace("\r\n", "").replace(f"{DIM}{PLAIN}", "")
    picture = message_pb2.Part(image=message_pb2.Media(data=PNG, media_type="image/png", name="my cat.png"))
    said = [(request.messages[0].content, list(request.messages[0].parts)) for request in chatting.requests]
    assert said == [("What is it?", [picture]), ("And in './my cat.png'", [picture]), ("Thanks", [])]


async def test_a_picture_that_is_none_is_not_sent_and_the_conversation_goes_on(tmp_path: Path) -> None:
    (tmp_path / "notes.png").write_text("no picture")
    chatting = ScriptedChat()
    chatting.events = [delta("Yes."), finished()]
    async with serving(chatting) as endpoint, terminal("chat", "--url", endpoint.url, "--key", KEY, cwd=tmp_path) as at:
        await at.says("> ")
        at.type(b"/image notes.png Look\n")
        await at.says("not sent: notes.png is text, not a picture")
        at.type(b"/image missing.png\n")
        await at.says("not sent: missing.png: No such file or directory")
        at.type(b"Write it to ./missing.png\n")
        await at.says("tokens/s")
        at.type(END_OF_INPUT)
        assert await at.process.wait() == 0
    assert [(request.messages[0].content, len(request.messages[0].parts)) for request in chatting.requests] == [
        ("Write it to ./missing.png", 0)
    ]


async def test_pictures_wait_for_a_model_that_reads_them_and_can_be_taken_back(tmp_path: Path) -> None:
    (tmp_path / "cat.png").write_bytes(PNG)
    chatting = ScriptedChat()
    blind = stream_pb2.StreamError(
        code=3,
        status="INVALID_ARGUMENT",
        reason=reasons.MODEL_CAPABILITY_MISSING,
        message="the model `small` does not read pictures; these do: `large`",
    )
    chatting.events = [pb.ChatResponse(error=blind)]
    async with serving(chatting) as endpoint, terminal("chat", "--url", endpoint.url, "--key", KEY, cwd=tmp_path) as at:
        await at.says("> ")
        at.type(b"/image cat.png What is it?\n")
        await at.says("does not read pictures; these do: `large`")
        await at.says("/image alone takes them back")
        chatting.events = [delta("Hello."), finished()]
        at.type(b"/image\n")
        await at.says("not sent: cat.png")
        at.type(b"Hi\n")
        await at.says("tokens/s")
        at.type(END_OF_INPUT)
        assert await at.process.wait() == 0
    assert [len(request.messages[0].parts) for request in chatting.requests] == [1, 0]


async def test_without_a_terminal_there_are_no_escape_codes(tmp_path: Path) -> None:
    (tmp_path / "cat.png").write_bytes(PNG)
    chatting = ScriptedChat()
    chatting.events = [THINKS, delta("A cat."), finished()]
    async with serving(chatting) as endpoint:
        ended = await soma("chat", "Hi", "--image", tmp_path / "cat.png", "--url", endpoint.url, "--key", KEY)
    assert (ended.status, ended.output) == (0, "A cat.\n")
    assert ended.errors.splitlines()[:2] == [f"[cat.png, image/png, {len(PNG)} bytes]", "Hm."]
    assert "\x1b" not in ended.output + ended.errors
