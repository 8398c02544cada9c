"""`metrion account` as an operator runs it: beside a running server, and without one."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from metrion.accounts import codes, links, people, sessions
from metrion.accounts.vault import open_vault
from metrion.config import Settings
from metrion.datadir import open_for_reading, open_for_writing
from metrion.errors import InputError
from tests.conformance.cases import is_shaped
from tests.conftest import NewMetrion
from tests.fake_provider import FakeProvider
from tests.mail_server import MailServer, text_of
from tests.proxy.talk import CHAT, GENERATE, MESSAGES, call
from tests.support import EMAIL, Metrion

FAMILIES = {"anthropic": MESSAGES, "openai": CHAT, "gemini": GENERATE}
BODY = b'{"model":"m","max_tokens":9,"messages":[{"role":"user","content":"hi"}]}'
OTHER = "bob@example.com"


@pytest.fixture(scope="module")
def served(fake: FakeProvider, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Metrion]:
    """A running Metrion with an account that has keys, and another."""
    server = Metrion(
        tmp_path_factory.mktemp("served") / "data",
        dict.fromkeys(("anthropic", "openai", "gemini"), fake.origin),
    )
    server.token = server.create_account(keys=("anthropic", "openai", "gemini"))
    server.create_account(OTHER, plan="free", keys=())
    server.start()
    yield server
    server.stop()


@pytest.fixture
def idle(tmp_path: Path) -> Metrion:
    """One that does not run, with an account."""
    server = Metrion(tmp_path / "data", {})
    server.create_account(keys=())
    return server


def settings(metrion: Metrion) -> Settings:
    return Settings(data_dir=metrion.data_dir)


def refused(metrion: Metrion, *arguments: str) -> str:
    """What a command that fails says."""
    done = metrion.run(*arguments, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    return done.stderr


def token_of(metrion: Metrion, line: str, path: str) -> str:
    """The token of a printed link, which leads to this Metrion."""
    found = re.fullmatch(rf"{re.escape(metrion.origin)}/{path}/([\w-]{{32}})\n", line)
    assert found, line
    return found[1]


# ── beside a running server ───────────────────────────────────────────────────────────────────────────────────────────


def test_a_disabled_account_is_refused_at_once_in_each_family_and_served_again(served: Metrion, mark: str) -> None:
    assert call(served, mark).status == 200
    served.call("account", "disable", EMAIL.upper())
    for family, path in FAMILIES.items():
        answer = call(served, mark, path=path, body=BODY)
        assert (answer.status, answer.get("x-metrion-error")) == (403, "account_disabled")
        assert is_shaped(family, answer.json(), 403)
        assert "this account is disabled" in answer.body.decode()
    assert "disabled" in served.call("account", "list")
    assert "enable it first" in refused(served, "account", "link", EMAIL)
    assert served.call("account", "enable", EMAIL) == f"{EMAIL} is enabled.\n"
    for path in FAMILIES.values():
        assert call(served, mark, path=path, body=BODY).status == 200


def test_a_plan_is_in_force_at_once(new_metrion: NewMetrion, mark: str) -> None:
    metrion = new_metrion({"METRION_FREE_MONTHLY_REQUESTS": "1"}, plan="pro")
    metrion.call("account", "set-plan", EMAIL, "free")
    assert [call(metrion, mark).status for _ in range(2)] == [200, 429]
    assert metrion.call("account", "set-plan", EMAIL, "pro") == f"{EMAIL} is on the pro plan.\n"
    assert call(metrion, mark).status == 200


def test_who_loses_pro_by_command_is_mailed_with_a_server_and_without(tmp_path: Path) -> None:
    with MailServer() as mail:
        metrion = Metrion(tmp_path / "data", {}, {"METRION_SMTP_URL": mail.url})
        for email in (EMAIL, OTHER):
            metrion.create_account(email, keys=())
        metrion.call("account", "set-plan", OTHER, "free")
        metrion.start()
        try:
            assert mail.wait_for(OTHER)["subject"] == "Your Metrion account is on the free plan now"
            metrion.call("account", "set-plan", EMAIL, "free")
            letter = mail.wait_for(EMAIL)
            assert f"{metrion.origin}/settings/billing" in text_of(letter)
            metrion.call("account", "set-plan", EMAIL, "free")  # which it is on
            metrion.call("account", "set-plan", EMAIL, "pro")
            metrion.call("account", "set-plan", EMAIL, "free")
            mail.wait_for(EMAIL)
        finally:
            metrion.stop()
        assert [len(mail.letters(email)) for email in (EMAIL, OTHER)] == [2, 1]


def test_the_list_tells_who_is_there_and_no_more(served: Metrion, mark: str) -> None:
    assert call(served, mark).status == 200
    served.rows(1, requester=mark)
    served.call("account", "create", "op@example.com", "--operator")
    listed = json.loads(served.call("account", "list", "--json"))
    ada, bob, op = listed
    assert list(ada) == ["account_id", "email", "plan", "state", "operator", "created_at", "last_used_at", "requests"]
    assert [(one["email"], one["plan"], one["operator"]) for one in listed] == [
        (EMAIL, "pro", False),
        (OTHER, "free", False),
        ("op@example.com", "pro", True),
    ]
    assert ada["requests"] >= 1
    assert (bob["requests"], bob["last_used_at"], op["state"]) == (0, None, "active")
    table = served.call("account", "list")
    assert [line.split()[0] for line in table.splitlines()] == ["EMAIL", EMAIL, OTHER, "op@example.com"]
    for secret in (served.token, served.token[-4:], mark, "gpt-"):
        assert secret not in table + json.dumps(listed)


def test_links_lead_to_the_running_server_and_work_once(served: Metrion) -> None:
    sign_in = token_of(served, served.call("account", "link", OTHER), "link")
    invited = token_of(served, served.call("account", "invite", "New@Example.com"), "invite")
    anyone = token_of(served, served.call("account", "invite"), "invite")
    with open_for_reading(settings(served)) as engine, engine.connect() as connection:
        assert links.read_link(connection, "sign_in", sign_in).account_id is not None
        assert links.read_link(connection, "invite", invited) == ("ok", None, "new@example.com")
        assert links.read_link(connection, "invite", anyone) == ("ok", None, "")


def test_a_link_leads_where_the_server_is_reached_whatever_the_command_was_told(new_metrion: NewMetrion) -> None:
    metrion = new_metrion({"METRION_PUBLIC_URL": "https://metrion.example.com"})
    del metrion.environment["METRION_PUBLIC_URL"]
    assert metrion.call("account", "link", EMAIL).startswith("https://metrion.example.com/link/")


# ── without one ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_an_operator_is_made_by_command_and_its_json_is_as_ever(idle: Metrion) -> None:
    made = json.loads(idle.call("account", "create", OTHER, "--operator", "--json"))
    assert list(made) == ["account_id", "email", "token"]
    with open_for_reading(settings(idle)) as engine, engine.connect() as connection:
        bob = people.get_person(connection, made["account_id"])
        ada = people.find_person(connection, EMAIL)
    assert bob is not None
    assert ada is not None
    assert (bob.operator, bob.password, bob.confirmed) == (True, None, True)
    assert not ada.operator


def test_disabling_ends_sessions_and_links(idle: Metrion) -> None:
    token = token_of(idle, idle.call("account", "link", EMAIL), "link")
    with open_for_writing(settings(idle)) as database, database.begin() as connection:
        cookie = sessions.start_session(connection, 1, "Firefox", "127.0.0.1")
    idle.call("account", "disable", EMAIL)
    idle.call("account", "enable", EMAIL)
    with open_for_reading(settings(idle)) as engine, engine.connect() as connection:
        assert sessions.find_session(connection, cookie) is None
        assert links.read_link(connection, "sign_in", token).verdict == "unknown"


def test_the_operator_sees_a_code_that_did_not_arrive(idle: Metrion) -> None:
    assert idle.call("account", "code", EMAIL) == f"{EMAIL} has no code pending.\n"
    with open_for_writing(settings(idle)) as database:
        vault = open_vault(settings(idle), database)
        with database.begin() as connection:
            code = codes.issue_code(connection, vault, 1, "email_new", "new@example.com")
    head, line = idle.call("account", "code", EMAIL).splitlines()
    assert head.split()[:2] == ["CODE", "FOR"]
    assert line.split()[:3] == [code, "email_new", "new@example.com"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("link", "no@example.com"), "there is no account 'no@example.com'"),
        (("code", "no@example.com"), "there is no account 'no@example.com'"),
        (("disable", "no@example.com"), "there is no account 'no@example.com'"),
        (("set-plan", "no@example.com", "free"), "there is no account 'no@example.com'"),
        (("invite", EMAIL), f"there is an account {EMAIL} already"),
        (("invite", "nonsense"), "'nonsense' is not an e-mail address"),
        (("create", EMAIL), f"there is an account {EMAIL} already"),
    ],
)
def test_what_cannot_be_done_says_why(idle: Metrion, arguments: tuple[str, ...], said: str) -> None:
    with pytest.raises(RuntimeError) as caught:
        idle.call("account", *arguments)
    assert isinstance(caught.value.__cause__, InputError)
    assert said in str(caught.value.__cause__)
