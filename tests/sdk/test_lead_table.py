"""Leads that Microsoft's own library writes into an Azure Table, read by two replicas on one store that come and go."""

import json
import os
import subprocess
import tempfile
import threading

import pytest
from azure.data.tables import TableServiceClient

from demo import PUBLISHER_KEY, ROOT, free_port, until
from urllib.error import URLError
from urllib.request import ProxyHandler, Request, build_opener

AZURITE = ROOT / "tests/tools/node_modules/azurite/dist/src/azurite.js"
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
ROWS = 60


def ask(address, body=None, headers=None):
    request = Request(address, data=body, headers=headers or {})
    with build_opener(ProxyHandler({})).open(request, timeout=60) as answer:
        return answer.status, json.loads(answer.read() or "null")


def answers(address):
    try:
        return ask(f"{address}/health/live")[0] == 200
    except URLError:
        return False


class Azurite:
    def __init__(self):
        self.folder = tempfile.TemporaryDirectory()
        blob, queue, self.table = free_port(), free_port(), free_port()
        at = lambda port: f"http://127.0.0.1:{port}/devstoreaccount1"
        self.connection = (
            f"DefaultEndpointsProtocol=http;AccountName=devstoreaccount1;AccountKey={KEY};"
            f"BlobEndpoint={at(blob)};QueueEndpoint={at(queue)};TableEndpoint={at(self.table)};"
        )
        ports = ["--blobPort", str(blob), "--queuePort", str(queue), "--tablePort", str(self.table)]
        self.process = subprocess.Popen(
            ["node", AZURITE, "--silent", "--disableTelemetry", "--loose", "--location", self.folder.name, *ports],
            stdout=subprocess.DEVNULL,
        )

    def stop(self):
        self.process.terminate()
        self.process.wait()
        self.folder.cleanup()


class Replica:
    """`serve`, which works on messages, or `functions`, whose timers are set off by the test as the Functions host would."""

    def __init__(self, verb, connection):
        port = free_port()
        self.address = f"http://127.0.0.1:{port}"
        binary = (ROOT / os.environ.get("MEDIAGENIE", "target/debug/mediagenie")).resolve()
        self.process = subprocess.Popen(
            [binary, verb],
            env={
                "PATH": os.environ["PATH"],
                "MARKETPLACE_MODE": "false",
                "STORAGE": "azure",
                "AzureWebJobsStorage": connection,
                "LEAD_TABLE_CONNECTION": connection,
                "LISTEN_ADDRESS": f"127.0.0.1:{port}",
                "FUNCTIONS_CUSTOMHANDLER_PORT": str(port),
                "PUBLISHER_API_KEYS": f"sdk-test={PUBLISHER_KEY}",
                "LOG_LEVEL": "error",
            },
        )
        until(lambda: answers(self.address), f"{verb} answers")

    def read_table(self):
        status, said = ask(f"{self.address}/ReadLeadTable", json.dumps({"Data": {"timer": {}}, "Metadata": {}}).encode())
        assert status == 200, said

    def leads(self):
        found, page = [], ""
        while page is not None:
            _, said = ask(f"{self.address}/api/leads?page={page}", headers={"authorization": f"Bearer {PUBLISHER_KEY}"})
            found += said["leads"]
            page = said["next"]
        return [entry["lead"] for entry in found]

    def kill(self):
        self.process.kill()
        self.process.wait()


@pytest.fixture
def azurite():
    running = Azurite()
    yield running
    running.stop()


def lead(number):
    person = {"FirstName": "Ann", "LastName": "李 🎉", "Email": f"p{number}@contoso.com", "Company": "Contoso"}
    return {
        "PartitionKey": f"p{number % 3}",
        "RowKey": f"{number:04}",
        "CustomerInfo": json.dumps(person),
        "ProductId": "contoso.media-genie",
        "ActionCode": "INS",
        "LeadSource": "AzureMarketplace",
        "Count": number,
    }


def test_two_replicas_that_are_killed_and_come_again_take_each_row_once(azurite):
    def table():
        service = TableServiceClient.from_connection_string(azurite.connection)
        return service.create_table_if_not_exists("MarketplaceLeads")

    rows = until(lambda: try_or_none(table), "Azurite answers")
    servers = [Replica("serve", azurite.connection) for _ in range(2)]
    readers = [Replica("functions", azurite.connection) for _ in range(2)]
    try:
        written = 0
        for part in range(3):
            for number in range(written, written + ROWS // 3):
                rows.create_entity(lead(number))
            written += ROWS // 3
            reading = [threading.Thread(target=try_or_none, args=(reader.read_table,)) for reader in readers]
            for thread in reading:
                thread.start()
            if part == 1:
                # One dies while it reads, and one while it works on what was read.
                readers[0].kill()
                servers[0].kill()
            for thread in reading:
                thread.join()
            if part == 1:
                readers[0], servers[0] = Replica("functions", azurite.connection), Replica("serve", azurite.connection)
            readers[0].read_table()
        # A message whose worker was killed comes again after half a minute.
        found = until(lambda: len(seen := servers[1].leads()) >= ROWS and seen, "all are taken", within=120)
        for reader in readers:
            reader.read_table()
        assert sorted(lead["person"]["email"] for lead in found) == sorted(f"p{number}@contoso.com" for number in range(ROWS))
        assert {(lead["arrivals"], lead["offer"], lead["person"]["last_name"]) for lead in servers[0].leads()} == {
            (1, "media-genie", "李 🎉")
        }
    finally:
        for process in servers + readers:
            process.kill()


def try_or_none(work):
    """Gives what `work` gives, and None while it can not."""
    try:
        return work()
    except Exception:
        return None
