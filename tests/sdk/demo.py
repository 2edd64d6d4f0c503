"""The demo as a process of its own, and a customer of it with a key made in the portal by plain HTTP."""

import json
import os
import re
import shutil
import socket
import subprocess
import tempfile
import threading
import time
from decimal import Decimal
from html.parser import HTMLParser
from pathlib import Path
from urllib.error import HTTPError
from urllib.parse import urlencode, urljoin
from urllib.request import HTTPCookieProcessor, ProxyHandler, Request, build_opener

ROOT = Path(__file__).resolve().parents[2]
BUYER = "clara@contoso.example"
# The key of the publisher's own program.
PUBLISHER_KEY = "sdk-test-sdk-test-sdk-test-sdk-test"
# How long something may take that the product and the simulated Microsoft settle between them.
SETTLING = 40


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def until(holds, what, within=SETTLING):
    """Looks again and again until it holds, and gives what was seen."""
    end = time.monotonic() + within
    while not (seen := holds()):
        assert time.monotonic() < end, f"{what} within {within} s"
        time.sleep(0.05)
    return seen


class Html(HTMLParser):
    """The links of a page by their text, and the fields of its forms by their action."""

    def __init__(self, text):
        super().__init__()
        self.links, self.forms = [], {}
        self._link = self._form = None
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        if tag == "a" and "href" in attributes:
            self._link = [attributes["href"], ""]
            self.links.append(self._link)
        if tag == "form":
            self._form = self.forms.setdefault(attributes.get("action"), {})
        unchecked = attributes.get("type") in ("radio", "checkbox") and "checked" not in attributes
        if tag == "input" and self._form is not None and "name" in attributes and not unchecked:
            self._form[attributes["name"]] = attributes.get("value") or ""

    def handle_endtag(self, tag):
        if tag == "a":
            self._link = None
        if tag == "form":
            self._form = None

    def handle_data(self, text):
        if self._link:
            self._link[1] += text


class Browser:
    """What a person does in a browser: cookies, redirects, forms. Asked who it is, it picks the account."""

    def __init__(self, email):
        self.email = email
        self.http = build_opener(ProxyHandler({}), HTTPCookieProcessor())
        self.address = self.text = None

    def open(self, address, fields=None):
        request = Request(urljoin(self.address or "", address), headers={"accept": "text/html", "accept-language": "en"})
        if fields is not None:
            request.data = urlencode(fields).encode()
            request.add_header("origin", "/".join(request.full_url.split("/")[:3]))
        try:
            answer = self.http.open(request, timeout=SETTLING)
        except HTTPError as error:
            raise AssertionError(f"{request.full_url} answered {error.code}:\n{error.read().decode()}") from error
        with answer:
            self.address, self.text = answer.geturl(), answer.read().decode()
        if "Pick an account" in self.text:
            self.open(next(href for href, text in Html(self.text).links if self.email in text))

    def submit(self, action, filled=None):
        self.open(action, Html(self.text).forms[action] | (filled or {}))


class Demo:
    """`mediagenie demo` on free ports with a folder of its own."""

    def __init__(self):
        binary = (ROOT / os.environ.get("MEDIAGENIE", "target/debug/mediagenie")).resolve()
        self.folder = tempfile.mkdtemp(prefix="mediagenie-sdk-")
        listen, simulated = f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}"
        self.product, self.microsoft = f"http://{listen}", f"http://{simulated}"
        # Where a receiver of callbacks may listen.
        self.receiver = f"127.0.0.1:{free_port()}"
        self.log = ""
        self.process = subprocess.Popen(
            [binary, "demo"],
            cwd=self.folder,
            env={
                "PATH": os.environ["PATH"],
                "DATA_DIR": self.folder,
                "LISTEN_ADDRESS": listen,
                "SIMULATOR_ADDRESS": simulated,
                "PUBLISHER_API_KEYS": f"sdk-test={PUBLISHER_KEY}",
                "FETCH_PRIVATE_HOSTS": self.receiver,
            },
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        threading.Thread(target=self._listen, daemon=True).start()
        # Both ports are bound before the demo says where it is.
        try:
            until(lambda: "Ctrl-C ends it" in self.log or self.process.poll() is not None, "the demo starts")
            assert self.process.poll() is None, f"the demo did not start:\n{self.log}"
        except AssertionError:
            self.stop()
            raise

    def _listen(self):
        for line in self.process.stdout:
            self.log += line

    def stop(self):
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def ask(self, address, body=None, headers=None):
        """Plain HTTP; gives status, headers and JSON."""
        request = Request(address, data=body, headers=headers or {})
        try:
            answer = build_opener(ProxyHandler({})).open(request, timeout=SETTLING)
        except HTTPError as error:
            answer = error
        with answer:
            return answer.status, answer.headers, json.loads(answer.read() or "null")

    def control(self, verb, body=None):
        """The simulator's control API."""
        sent = None if body is None else json.dumps(body).encode()
        status, _, said = self.ask(f"{self.microsoft}/simulator/{verb}", sent)
        assert status == 200, f"/simulator/{verb}: {said}"
        return said

    def strike(self, **faults):
        """From now on exactly these faults are switched on."""
        self.control("faults", faults)

    def calls(self):
        """The AI calls that a model worked on, as the service has them in its books."""
        return self.control("ai-calls")["calls"]


class Customer:
    """An active subscription of the metered plan and a key of it."""

    def __init__(self, demo):
        self.demo = demo
        bought = demo.control("purchase", {"plan": "metered", "buyer": BUYER})
        self.subscription = bought["subscription_id"]
        browser = Browser(BUYER)
        browser.open(bought["landing_url"])
        browser.submit("/marketplace/landing")
        page = f"{demo.product}/portal/subscriptions/{self.subscription}"

        def offers_keys():
            browser.open(f"{page}/keys")
            return f"/portal/subscriptions/{self.subscription}/keys" in Html(browser.text).forms

        until(offers_keys, "the subscription is active")
        browser.submit(f"/portal/subscriptions/{self.subscription}/keys", {"name": "SDK"})
        self.key = re.search(r"mgk-[0-9a-f]{12}-[\w-]{43}", browser.text)[0]

    def recorded(self):
        """Tokens in the ledger."""
        address = f"{self.demo.product}/api/usage/resources/{self.subscription}"
        status, _, said = self.demo.ask(address, headers={"authorization": f"Bearer {PUBLISHER_KEY}"})
        if status == 404:
            return 0
        dimensions = said["usage"]["periods"][0]["dimensions"]
        chat = next(entry for entry in dimensions if entry["dimension"] == "chat_1k_tokens")
        return Decimal(chat["balance"]["recorded"]) * 1000

    def counted(self):
        """Tokens of the calls that the service brought to their end."""
        finished = [call for call in self.demo.calls() if call["finished"]]
        return sum(call["prompt_tokens"] + call["completion_tokens"] for call in finished)
