"""Callbacks of a running demo, checked by the libraries that receivers use."""

import html
import re
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from openai import InvalidWebhookSignatureError, OpenAI
from standardwebhooks import Webhook, WebhookVerificationError

from demo import BUYER, Browser, until


@pytest.fixture
def received(demo):
    """What comes in at the receiver: headers and bodies."""
    got = []

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["content-length"])).decode()
            got.append(({name.lower(): value for name, value in self.headers.items()}, body))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_):
            pass

    host, port = demo.receiver.split(":")
    server = HTTPServer((host, int(port)), Receiver)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield got
    server.shutdown()
    server.server_close()


def test_a_callback_is_accepted_by_standardwebhooks_and_by_openais_sdk_and_a_changed_one_is_not(demo, customer, received):
    browser = Browser(BUYER)
    path = f"/portal/subscriptions/{customer.subscription}/callbacks"
    browser.open(demo.product + path)
    browser.submit(path, {"url": f"http://{demo.receiver}/hook", "description": "SDK"})
    page = html.unescape(browser.text)
    secret = re.search(r'data-copy="(whsec_[^"]+)"', page)[1]
    endpoint = re.search(path + r"/(ep_[0-9a-f]{32})", page)[0]
    browser.open(demo.product + endpoint)
    browser.submit(f"{endpoint}/test")
    headers, body = until(lambda: received and received[0], "the test arrives")

    assert Webhook(secret).verify(body, headers)["type"] == "webhook.test"
    with OpenAI(api_key="unused", webhook_secret=secret) as client:
        assert client.webhooks.unwrap(body, headers).type == "webhook.test"
        with pytest.raises(InvalidWebhookSignatureError):
            client.webhooks.unwrap(body.replace("test", "best"), headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(secret).verify(body.replace("test", "best"), headers)
