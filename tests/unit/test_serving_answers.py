"""Answers that are given again."""

from __future__ import annotations

import pytest

from threadtrace.serving.answers import Answers
from threadtrace.serving.replies import Refused, Reply


class World:
    """A clock that making an answer moves."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.made = 0
        self.cost_seconds = 0.0
        self.answers = Answers(lambda: self.now)

    def make(self) -> Reply:
        self.made += 1
        self.now += self.cost_seconds
        return Reply(200, b"%d" % self.made)

    def ask(self, key: object = "why", is_one_of_many: bool = False) -> int:
        return int(self.answers.get(key, self.make, is_one_of_many).body)


def test_given_again_within_a_quarter_of_a_second_whatever_happens() -> None:
    world = World()
    assert world.ask() == 1
    world.now += 0.2
    world.answers.tick()
    assert world.ask() == 1
    world.now += 0.1
    assert world.ask() == 2


def test_given_again_until_the_tick_for_a_second() -> None:
    world = World()
    world.ask()
    world.now += 0.9
    assert world.ask() == 1
    world.answers.tick()
    assert world.ask() == 2
    world.now += 1.1
    assert world.ask() == 3


def test_what_is_costly_takes_a_tenth_of_the_time() -> None:
    world = World()
    world.cost_seconds = 0.2
    began = world.now
    while world.now < began + 60:
        world.ask()
        world.answers.tick()
        world.now += 0.01
    assert world.made * world.cost_seconds <= 60 * 0.1 + 0.4


def test_who_asks_for_ever_other_things_is_told_to_wait() -> None:
    world = World()
    world.cost_seconds = 0.01
    began = world.now
    refused: list[Reply] = []
    for key in range(2000):
        try:
            world.ask(("process", key), is_one_of_many=True)
        except Refused as told:
            refused.append(told.reply)
        world.now += 0.01
    spent = world.made * world.cost_seconds
    assert spent <= 0.5 + (world.now - began) * 0.1 + 0.02
    assert len(refused) > 1000
    assert {(reply.status, reply.headers["Retry-After"]) for reply in refused} == {(429, "1")}
    assert len(world.answers._kept) <= 64


def test_an_error_is_not_kept() -> None:
    world = World()

    def fail() -> Reply:
        raise Refused(400, "no")

    with pytest.raises(Refused):
        world.answers.get("why", fail)
    assert world.ask() == 1
