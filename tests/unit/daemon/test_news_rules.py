"""Who is told of what of a job, and what a site does not allow."""

from __future__ import annotations

import pytest

from gpujobs.config.news import NotifyTable
from gpujobs.daemon.jobs.submissions import FileBody, Prepared
from gpujobs.daemon.news.allowed import address_of, check_files, refusal, sentence
from gpujobs.errors import JobFileError
from gpujobs.jobfile import load
from gpujobs.jobfile.recipients import Occasion, Way, recipient, wish
from gpujobs.jobfile.validate import notify_problems
from gpujobs.model import Caller

SITE = NotifyTable(
    ways=["mail", "url"],
    mail_domain="example.org",
    mail_domains=["example.org", "*.lab.example.org"],
    url_schemes=["https"],
    url_hosts=["hooks.example.org", "*.lab.example.org"],
)
FILE = """name: a
data: {train: d.npz}
model: {layers: [{LSTM: {units: 8}}, {Dense: {units: 1}}]}
training: {loss: mse}
notify:
  on: [end]
"""
ADA = Caller(1000, 1000, 1, "ada")


@pytest.mark.parametrize(
    ("text", "way", "is_allowed"),
    [
        ("mail", Way.MAIL, True),
        ("ada@example.org", Way.MAIL, True),
        ("ada@EXAMPLE.org", Way.MAIL, True),
        ("ada@a.lab.example.org", Way.MAIL, True),
        ("ada@lab.example.org", Way.MAIL, False),
        ("ada@evil-example.org", Way.MAIL, False),
        ("ada@example.org.evil.org", Way.MAIL, False),
        ("https://hooks.example.org/x?y=z", Way.URL, True),
        ("https://HOOKS.example.org.:8443/", Way.URL, True),
        ("http://hooks.example.org/x", Way.URL, False),
        ("https://hooks.example.org.evil.org/", Way.URL, False),
        ("https://evil.org/hooks.example.org", Way.URL, False),
        ("https://evil.org?@hooks.example.org/", Way.URL, False),
        ("https://127.0.0.1/", Way.URL, False),
        ("https://[::1]/", Way.URL, False),
        ("slack://x/y", Way.APPRISE, False),
    ],
)
def test_where_news_may_go(text: str, way: Way, is_allowed: bool) -> None:
    found = recipient(text)
    assert found.way is way
    assert (refusal(found, SITE) is None) is is_allowed
    if way is not Way.APPRISE:
        assert refusal(found, NotifyTable()) is None


@pytest.mark.parametrize(
    "text",
    [
        *(
            "https://ada@example.org/",
            "https://ada:x@example.org/",
            "https://",
            "https://a:x/",
            "https://a b/",
        ),
        *(
            "-f@example.org",
            "a@b@c",
            "a@",
            "@b",
            "a@b..c",
            "a@-b",
            "a\n@b",
            "a@b\n",
            "ada",
            "/bin/true",
            "file:/x",
            "",
        ),
        *("https://example.org/\u202e", "a@ex\u0430mple.org", "x" * 3000),
    ],
)
def test_what_is_no_recipient(text: str) -> None:
    with pytest.raises(ValueError, match="expected"):
        recipient(text)


def problems_of(more: str, caller: Caller = ADA, table: NotifyTable = SITE) -> list[str]:
    job = load("a.yaml", FILE + more)
    try:
        check_files([Prepared(FileBody(path="a.yaml", text=FILE + more), job, ())], table, caller)
    except JobFileError as error:
        return str(error).splitlines()
    return []


def test_what_the_site_does_not_allow_is_refused_at_its_line() -> None:
    more = "  to:\n  - mail\n  - eve@evil.org\n  - https://evil.org/x\n  command:\n    - /bin/true\n"
    assert problems_of(more) == [
        "a.yaml:9: notify.to[1] is eve@evil.org: this site sends mail to example.org, *.lab.example.org only.",
        "a.yaml:10: notify.to[2] is https://evil.org/x: this site allows URLs at hooks.example.org, "
        "*.lab.example.org only.",
        "a.yaml:11: notify.command is /bin/true: this site tells nothing by commands; it does by mail, url.",
    ]
    assert problems_of("  to: mail\n") == []


def test_that_apprise_is_not_installed_is_said() -> None:
    (said,) = problems_of("  to: slack://x/y\n", table=NotifyTable())
    assert said == (
        "a.yaml:7: notify.to[0] is slack://x/y: slack:// needs apprise, which is not installed here: "
        "`pip install 'gpujobs[notify]'`."
    )


def test_a_page_has_no_command_run() -> None:
    """A cookie may have been stolen, and is then no more than a look, and what pages do to jobs."""
    on_page = Caller(1000, 1000, 1, "ada", is_on_page=True)
    more = "  command: /bin/true\n"
    assert problems_of(more, table=NotifyTable()) == []
    (said,) = problems_of(more, on_page, NotifyTable())
    assert said.startswith("a.yaml:7: notify.command is /bin/true: from a page no command is named")


def test_a_file_counts_before_the_setting_key_by_key() -> None:
    setting = {"on": ["failure"], "to": ["ada@example.org"]}
    assert wish(None, None) is None
    by_setting = wish(None, setting)
    assert by_setting is not None and by_setting.on == {Occasion.FAILURE}
    for file, on, to in (
        ({"on": ["start"]}, "start", ("ada@example.org",)),
        ({"to": ["mail"]}, "failure", ("mail",)),
        ({"command": ["/bin/true", "-x"]}, "failure", ("/bin/true", "-x")),
    ):
        found = wish(file, setting)
        assert found is not None and found.on == {Occasion(on)}
        assert [one.to for one in found.recipients] == [to]
    quiet, plain = wish({"on": []}, setting), wish({}, None)
    assert quiet is not None and quiet.on == frozenset()
    assert plain is not None and plain.on == {Occasion.END} and plain.recipients == (recipient("mail"),)


def test_who_will_be_told_is_said_in_words() -> None:
    assert sentence(None, None, SITE).startswith("nobody; ")
    told = sentence(
        {"on": ["failure", "end"], "to": ["mail", "https://hooks.example.org/x?key=secret"]}, None, SITE
    )
    assert told == "end, failure: your mailbox; https://hooks.example.org"
    assert "is told nothing: this site tells nothing by commands" in sentence(
        None, {"command": ["/bin/true"]}, SITE
    )


def test_ones_own_mailbox_is_at_the_sites_domain_or_here() -> None:
    assert address_of(recipient("mail"), "ada", SITE) == "ada@example.org"
    assert address_of(recipient("mail"), "ada", NotifyTable()) == "ada"
    assert address_of(recipient("eve@x.org"), "ada", SITE) == "eve@x.org"


def test_a_misspelt_key_of_a_setting_is_asked_for_in_one_sentence() -> None:
    assert notify_problems({"too": ["mail"]}) == ["notify.too is not a known key; did you mean notify.to?"]
