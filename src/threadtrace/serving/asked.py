"""What each path answers at once. Streams are in ``streams.py``."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from aiohttp import web

from threadtrace.questions import Question, WrongQuestion
from threadtrace.serving.answers import Answers
from threadtrace.serving.replies import TEXT, Refused, Reply, busy, json_reply
from threadtrace.serving.sources import Sources

HEALTH_PATHS = ("/healthz", "/readyz")

_MAX_ACCEPT_CHARACTERS = 512
_MAX_EXPOSITIONS = 4
_MAX_DIGITS = 18


class Asked:
    """Answers out of the sources."""

    def __init__(self, sources: Sources, answers: Answers) -> None:
        """Of these.

        Args:
            sources: what there is to tell.
            answers: gives them again to who asks at about the same time.
        """
        self._sources = sources
        self._answers = answers
        self._expositions: list[str] = []
        self.paths: dict[str, Callable[[web.BaseRequest], Reply]] = {
            "/healthz": self._health,
            "/readyz": self._readiness,
            "/metrics": self._metrics,
            "/v1/snapshot": self._snapshot,
            "/v1/why": self._why,
            "/v1/workload": self._workload,
            "/v1/process": self._process,
        }
        """Each may raise Refused."""

    def _health(self, _: web.BaseRequest) -> Reply:
        trouble = self._sources.health()
        if trouble is not None:
            raise Refused(503, trouble)
        return Reply(200, b"ok\n", TEXT)

    def _readiness(self, _: web.BaseRequest) -> Reply:
        if not self._sources.is_ready():
            raise Refused(503, "nothing was counted yet")
        return Reply(200, b"ok\n", TEXT)

    def _metrics(self, request: web.BaseRequest) -> Reply:
        accept = self._known_accept(request.headers.get("Accept", ""))

        def make() -> Reply:
            body, content_type = self._sources.metrics(accept)
            return Reply(200, body, content_type)

        return self._answers.get(("metrics", accept), make)

    def _known_accept(self, accept: str) -> str:
        """One of a few: who asks for ever new ones gets the plain exposition."""
        if accept in self._expositions:
            return accept
        is_usual = accept.isascii() and len(accept) <= _MAX_ACCEPT_CHARACTERS
        if not is_usual or len(self._expositions) >= _MAX_EXPOSITIONS:
            return ""
        self._expositions.append(accept)
        return accept

    def forget(self) -> None:
        """Other expositions may be asked for from now on."""
        self._expositions.clear()

    def _snapshot(self, _: web.BaseRequest) -> Reply:
        def make() -> Reply:
            snapshot = self._sources.snapshot()
            if snapshot is None:
                raise busy("nothing was counted yet")
            return json_reply(snapshot)

        return self._answers.get("snapshot", make)

    def _why(self, _: web.BaseRequest) -> Reply:
        return self._answers.get("why", partial(self._answer, {"get": "why"}))

    def _workload(self, request: web.BaseRequest) -> Reply:
        key = request.query.get("key")
        question = {"get": "workload", "key": key}
        return self._answers.get(("workload", key), partial(self._answer, question), True)

    def _process(self, request: web.BaseRequest) -> Reply:
        pid = number(request.query.get("pid"))
        question = {"get": "process", "pid": pid}
        return self._answers.get(("process", pid), partial(self._answer, question), True)

    def _answer(self, question: Question) -> Reply:
        handler = self._sources.questions.get(question["get"])
        if handler is None:
            raise Refused(404, "this agent cannot be asked that")
        try:
            return json_reply(handler(question))
        except WrongQuestion as error:
            raise Refused(400, str(error)) from None
        except OSError as error:
            raise busy(f"it cannot be read: {error.strerror or error}") from None


def number(text: str | None) -> int | None:
    """A whole number of plain digits; None where it is none."""
    if text is None or not text.isascii() or not text.isdecimal() or len(text) > _MAX_DIGITS:
        return None
    return int(text)
