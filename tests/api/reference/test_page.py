"""The reference at `/docs`: all fields of all operations, in one document that loads nothing else."""

import gzip
import re
from html.parser import HTMLParser
from typing import Any

import httpx
import pytest

from serve_app.api.reference.page import reference_page
from serve_app.api.reference.routes import HEADERS


class Elements(HTMLParser):
    """The ids, links and rows of a page. Fails on an element that is not closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.tags.add(tag)
        self.attributes |= values.keys()
        self.ids += [str(values["id"])] if "id" in values else []
        self.links += [str(values["href"])] if "href" in values else []
        if tag not in ("meta", "link"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.fixture
async def page(http: httpx.AsyncClient) -> str:
    return (await http.get("/docs")).text


@pytest.fixture
async def document(http: httpx.AsyncClient) -> Any:
    return (await http.get("/openapi.json")).json()


def test_each_operation_and_object_has_one_part_and_every_link_leads_to_one(page: str, document: Any) -> None:
    elements = Elements(page)
    assert len(elements.ids) == len(set(elements.ids))
    objects = document["components"]["schemas"]
    bodies = {"ChatCompletion", "TextCompletion", "ResponseRequest", "MessageRequest", "TokenCount", "EmbeddingRequest"}
    assert objects.keys() - bodies == objects.keys() & set(elements.ids)
    assert len(elements.ids) == len(objects) - len(bodies) + sum(map(len, document["paths"].values()))
    inside = {link[1:] for link in elements.links if link.startswith("#")}
    assert inside == set(elements.ids)


def test_every_field_has_a_row_with_its_description(page: str, document: Any) -> None:
    for schema in document["components"]["schemas"].values():
        for name, field in schema.get("properties", {}).items():
            assert f'<th scope="row"><code>{name}</code>' in page
            if "`" not in (about := field.get("description", "`")) and "'" not in about:
                assert about in page
    chat = page[
        page.index('<section id="post-v1-chat-completions">') : page.index('<section id="post-v1-completions">')
    ]
    rows = re.findall(r'<th scope="row"><code>(\w+)</code>', chat)
    assert rows == list(document["components"]["schemas"]["ChatCompletion"]["properties"])
    assert chat.count("<em>required</em>") == 2


def test_it_loads_nothing_and_runs_nothing(page: str) -> None:
    elements = Elements(page)
    assert [link for link in elements.links if not link.startswith("#")] == ["data:,", "openapi.json"]
    assert elements.tags.isdisjoint({"script", "img", "iframe", "form", "object"})
    assert elements.attributes.isdisjoint({"src", "style", "onclick"})
    assert len(gzip.compress(page.encode())) < 20_000


async def test_it_goes_out_with_a_policy_that_lets_nothing_in(http: httpx.AsyncClient) -> None:
    response = await http.get("/docs")
    assert response.headers.items() >= HEADERS.items()
    assert re.fullmatch(
        r"default-src 'none'; style-src 'sha256-[\w+/=]{44}'; img-src data:; "
        r"base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        response.headers["content-security-policy"],
    )
    for path in ("/redoc", "/docs/oauth2-redirect"):
        assert (await http.get(path)).status_code == 404


def test_what_a_document_says_is_text() -> None:
    evil = "<script>alert(1)</script>"
    field = {"type": "string", "description": evil, "default": evil}
    reference = {"$ref": "#/components/schemas/Body"}
    operation = {"summary": evil, "requestBody": {"content": {"application/json": {"schema": reference}}}}
    page = reference_page(
        {
            "info": {"title": evil, "version": evil, "description": evil},
            "paths": {"/x": {"post": operation}},
            "components": {"schemas": {"Body": {"properties": {"a": field}}}},
        }
    )
    assert evil not in page
    assert page.count("&lt;script&gt;") == 8
    Elements(page)
