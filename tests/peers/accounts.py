"""People on a Bluesky network: accounts that post, answer and like by plain HTTP, not through the
code under test.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import itertools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import httpx

from .running import Bluesky, until

PASSWORD = "contraseña larga"
_POST, _LIKE, _REPOST = "app.bsky.feed.post", "app.bsky.feed.like", "app.bsky.feed.repost"
_numbers = itertools.count(1)


@dataclass(frozen=True, slots=True)
class Post:
    """A post and the version of it."""

    uri: str
    cid: str

    def ref(self) -> dict[str, str]:
        """As other records point to it."""
        return {"uri": self.uri, "cid": self.cid}


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """An account and its session."""

    network: Bluesky
    handle: str
    did: str
    access: str
    refresh: str

    def post(
        self,
        text: str,
        *,
        answers: tuple[Post, Post] | None = None,
        quotes: Post | None = None,
        at: datetime | None = None,
        **record: Any,
    ) -> Post:
        """Write a post; `answers` are the first post of a conversation and the one answered."""
        if answers:
            record["reply"] = {"root": answers[0].ref(), "parent": answers[1].ref()}
        if quotes:
            record["embed"] = {"$type": "app.bsky.embed.record", "record": quotes.ref()}
        return self._create(_POST, {"text": text, **record}, at)

    def posts(self, texts: Mapping[str, datetime]) -> list[str]:
        """Write many posts, each with its time, at once; their ids."""
        writes = [
            {
                "$type": "com.atproto.repo.applyWrites#create",
                "collection": _POST,
                "value": {"$type": _POST, "text": text, "createdAt": written(at)},
            }
            for text, at in texts.items()
        ]
        made = self.call("com.atproto.repo.applyWrites", {"repo": self.did, "writes": writes})
        return [one["uri"] for one in made["results"]]

    def like(self, post: Post) -> None:
        """Like a post."""
        self._create(_LIKE, {"subject": post.ref()})

    def repost(self, post: Post) -> None:
        """Pass a post on."""
        self._create(_REPOST, {"subject": post.ref()})

    def block(self, other: Person) -> None:
        """Hide from another account."""
        self._create("app.bsky.graph.block", {"subject": other.did})

    def delete(self, post: Post) -> None:
        """Delete a post."""
        rkey = post.uri.rpartition("/")[2]
        self.call(
            "com.atproto.repo.deleteRecord", {"repo": self.did, "collection": _POST, "rkey": rkey}
        )

    def app_password(self) -> str:
        """A new password for apps, named "peer"."""
        made = self.call("com.atproto.server.createAppPassword", {"name": "peer"})
        return str(made["password"])

    def call(self, method: str, data: Mapping[str, Any] | None = None, *, token: str = "") -> Any:
        """Ask the server of the account to do something."""
        return call(self.network, method, data, f"Bearer {token or self.access}")

    def _create(self, kind: str, record: Mapping[str, Any], at: datetime | None = None) -> Post:
        value = {"$type": kind, "createdAt": written(at or datetime.now(UTC)), **record}
        made = self.call(
            "com.atproto.repo.createRecord",
            {"repo": self.did, "collection": kind, "record": value},
        )
        return Post(made["uri"], made["cid"])


def join(network: Bluesky, name: str) -> Person:
    """A new account; its handle begins with `name`."""
    handle = f"{name}{next(_numbers)}.test"
    made = call(
        network,
        "com.atproto.server.createAccount",
        {"handle": handle, "email": f"{handle}@mail.example", "password": PASSWORD},
    )
    person = Person(
        network=network,
        handle=handle,
        did=made["did"],
        access=made["accessJwt"],
        refresh=made["refreshJwt"],
    )
    until(lambda: _profile(person), f"{handle} in the AppView")
    return person


def take_down(person: Person) -> None:
    """What a moderator does with an account, once the network knows of it."""
    subject = {"$type": "com.atproto.admin.defs#repoRef", "did": person.did}
    call(
        person.network,
        "com.atproto.admin.updateSubjectStatus",
        {"subject": subject, "takedown": {"applied": True}},
        person.network.admin,
    )


def erase(person: Person) -> None:
    """Delete an account for good."""
    network = person.network
    call(network, "com.atproto.admin.deleteAccount", {"did": person.did}, network.admin)


def call(
    network: Bluesky, method: str, data: Mapping[str, Any] | None, authorization: str = ""
) -> Any:
    """The answer of the server to a procedure."""
    answer = httpx.post(
        f"{network.pds}/xrpc/{method}",
        json=data,
        headers={"authorization": authorization} if authorization else {},
        timeout=30,
    )
    assert answer.status_code == 200, answer.text
    return answer.json() if answer.content else None


def indexed(network: Bluesky, uris: Sequence[str]) -> list[dict[str, Any]]:
    """What the AppView shows of posts; those that it does not know are left out."""
    answer = httpx.get(
        f"{network.appview}/xrpc/app.bsky.feed.getPosts", params={"uris": list(uris[:25])}
    )
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["posts"]
    return found


def expired(access: str, secret: str) -> str:
    """The token `access` as it is when its time is over, signed as the server does."""
    head, body, _ = access.split(".")
    claims = json.loads(base64.urlsafe_b64decode(body + "=="))
    claims |= {"iat": claims["iat"] - 9_000, "exp": claims["iat"] - 1_800}
    signed = f"{head}.{_coded(json.dumps(claims).encode())}"
    seal = hmac.new(secret.encode(), signed.encode(), hashlib.sha256).digest()
    return f"{signed}.{_coded(seal)}"


def written(at: datetime) -> str:
    """A time as records hold it."""
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _coded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def _profile(person: Person) -> bool:
    answer = httpx.get(
        f"{person.network.appview}/xrpc/app.bsky.actor.getProfile", params={"actor": person.did}
    )
    return answer.status_code == 200 and answer.json()["handle"] == person.handle
