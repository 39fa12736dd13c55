"""Runs cells of model code in one namespace, as a notebook would; the process that does this has pipes only.

Nothing here is trusted: the code it runs can rewrite all of it. The supervisor therefore checks every reply, bounds
it, times it, and replaces the process when it breaks.
"""

import _signal
import ast
import base64
import builtins
import contextlib
import linecache
import os
import random
import shutil
import sys
import traceback
import types
from typing import Any, TextIO

from . import frames, values

_TEXT_LIMIT = 4_000
_TRACE_LIMIT = 20_000
_OWN = ("<cell ", "<preamble")


class Interpreter:
    """State of an episode's cells.

    Args:
        requests: Descriptor of the pipe requests come from.
        replies: Descriptor of the pipe replies go to.
        data: Where the task files are.
    """

    def __init__(self, requests: int, replies: int, data: str) -> None:
        self.requests, self.replies, self.data = requests, replies, data
        self.answer = {"begin": self._begin, "exec": self._cell, "get": self._get, "put": self._put}
        self.pid, self.work = os.getpid(), os.getcwd()
        self.builtins = dict(vars(builtins))
        self.incoming = frames.Buffer()
        self.main = types.ModuleType("__main__")
        sys.modules["__main__"] = self.main
        self.kept = [os.dup(0), os.dup(1), os.dup(2)]
        self.streams = [_stream(1), _stream(2)]
        sys.stdin = open(0, closefd=False)  # noqa: SIM115  (lives as long as the process)

    def serve(self) -> None:
        """Answer requests until the pipe ends."""
        self._clean()
        while data := os.read(self.requests, 1 << 16):
            for request in self.incoming.feed(data):
                if request.get("bury"):
                    self._bury()
                reply = self.answer[request["op"]](request)
                if os.getpid() != self.pid:
                    os._exit(0)  # a forked copy that ran off the end of its cell
                self._flush()
                reply["id"] = request["id"]
                frames.write_frame(self.replies, reply)
                self._clean()  # after the answer: nobody waits for it

    def _clean(self) -> None:
        """Undo what the cell may have done to the standard streams."""
        for target, kept in enumerate(self.kept):
            os.dup2(kept, target)
        if self.streams[0].closed or self.streams[1].closed:
            self.streams = [_stream(1), _stream(2)]
        sys.stdout, sys.stderr = self.streams

    def _bury(self) -> None:
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                continue

    def _flush(self) -> None:
        own = sys.stdout is self.streams[0] and sys.stderr is self.streams[1]
        for stream in self.streams if own else [sys.stdout, sys.stderr, *self.streams]:
            try:
                stream.flush()
            except Exception:
                continue

    def _begin(self, request: frames.Frame) -> frames.Frame:
        """Seeds, the copies of task files that may be written, the preamble."""
        try:
            random.seed(request["seed"])
            numpy = sys.modules.get("numpy")
            if numpy is not None:
                numpy.random.seed(request["seed"] % 2**32)
            for name in request["writable"]:
                if not os.path.lexists(name):
                    shutil.copyfile(f"{self.data}/{name}", name)
        except OSError as error:
            return _failure(error, request["cell"])
        return self._cell(request)

    def _cell(self, request: frames.Frame) -> frames.Frame:
        code, name = request["code"], request["cell"]
        linecache.cache[name] = (len(code), None, code.splitlines(keepends=True), name)
        try:
            _signal.signal(_signal.SIGINT, _signal.default_int_handler)
            self._run(code, name)
        except BaseException as error:
            self._recover()
            return _failure(error, name)
        self._recover()
        return {"status": "ok"}

    def _recover(self) -> None:
        """No interrupt may hit the reply, and the reply needs the built-in functions as they were."""
        _signal.signal(_signal.SIGINT, _signal.SIG_IGN)
        vars(builtins).update(self.builtins)

    def _run(self, code: str, name: str) -> None:
        body = ast.parse(code, name)
        last = body.body.pop() if body.body and isinstance(body.body[-1], ast.Expr) else None
        space = self.main.__dict__
        if body.body:
            exec(compile(body, name, "exec", dont_inherit=True), space)
        if isinstance(last, ast.Expr):
            value = eval(compile(ast.Expression(last.value), name, "eval", dont_inherit=True), space)
            if value is not None and not code.rstrip().endswith(";"):
                space["_"] = value
                sys.stdout.write(f"{value!r}\n")

    def _get(self, request: frames.Frame) -> frames.Frame:
        if request["name"] not in self.main.__dict__:
            return {"status": "missing"}
        try:
            return {"status": "ok", "value": values.dump(self.main.__dict__[request["name"]])}
        except BaseException as error:
            return {"status": "invalid", "message": _text(error)}

    def _put(self, request: frames.Frame) -> frames.Frame:
        try:
            with open(f"{self.work}/{request['name']}", "ab" if request["more"] else "wb") as file:
                file.write(base64.b64decode(request["data"]))
        except BaseException as error:
            return {"status": "invalid", "message": f"{_kind(error)}: {_text(error)}"}
        return {"status": "ok", "value": "null"}


def _stream(fd: int) -> TextIO:
    return open(fd, "w", encoding="utf-8", errors="backslashreplace", closefd=False)


def _text(error: BaseException) -> str:
    try:
        return str(error)[:_TEXT_LIMIT]
    except BaseException:
        return "<the exception's own text failed>"


def _kind(error: BaseException) -> str:
    cls = type(error)
    return cls.__qualname__ if cls.__module__ in ("builtins", "__main__") else f"{cls.__module__}.{cls.__qualname__}"


def _failure(error: BaseException, name: str) -> frames.Frame:
    lines = [frame.lineno for frame in _frames(error) if frame.filename == name]
    line = error.lineno if isinstance(error, SyntaxError) and error.filename == name else (lines or [None])[-1]
    return {
        "status": "memory" if isinstance(error, MemoryError) else "error",
        "type": _kind(error)[:200],
        "message": _text(error),
        "line": line,
        "trace": _trace(error),
    }


def _frames(error: BaseException) -> list[traceback.FrameSummary]:
    return list(traceback.extract_tb(error.__traceback__))


def _trace(error: BaseException) -> str:
    """The traceback with the frames of cells only."""
    try:
        report = traceback.TracebackException.from_exception(error, compact=True)
        link: Any = report
        while link is not None:
            link.stack = traceback.StackSummary.from_list([f for f in link.stack if f.filename.startswith(_OWN)])
            link = link.__cause__ or link.__context__
        text = "".join(report.format())
    except BaseException as second:
        text = f"{_kind(error)}: {_text(error)}\n(no traceback: {_kind(second)})\n"
    return text if len(text) <= _TRACE_LIMIT else f"{text[: _TRACE_LIMIT // 2]}\n...\n{text[-_TRACE_LIMIT // 2 :]}"
