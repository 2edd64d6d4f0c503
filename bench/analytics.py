"""Measures analytics: taking in a large report beside DuckDB, and beside pandas with Azure's table client; exact ranges out of
one, three and ten years.

    cargo build --release
    tests/sdk/.venv/bin/pip install duckdb pandas
    tests/sdk/.venv/bin/python bench/analytics.py [rows]

Pairs are measured in turn, three rounds, medians. DuckDB and MediaGenie are held to one and the same core. With Azurite on
127.0.0.1:10000-10002 (`npx azurite --loose`), the row part is measured against it, too.
"""

import datetime
import os
import random
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
import uuid

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
BINARY = os.environ.get("MEDIAGENIE", os.path.join(ROOT, "target/release/mediagenie"))
HEADER = (
    "UsageDate,MonthStartDate,OfferType,OfferName,PlanId,SKU,VMSize,CoreSize,MeterId,MeterDimension,UsageUnit,CustomerId,"
    "CustomerCompanyName,BillingAccountId,MarketplaceSubscriptionId,UsageReference,ReferenceId,SKUBillingType,"
    "CustomerCurrencyCC,PriceCC,PayoutCurrencyPC,EstimatedPricePC,NormalizedUsage,RawUsage,MeteredUsage,"
    "EstimatedExtendedChargeCC,EstimatedExtendedChargePC"
)
LAST = datetime.date(2026, 10, 31)
KEY = "0123456789abcdef0123456789abcdef"
AZURITE = "UseDevelopmentStorage=true"


def report(path, rows, days):
    """ISVUsage as Microsoft writes it; days in no order."""
    draw = random.Random(7)
    guid = lambda: str(uuid.UUID(int=draw.getrandbits(128)))
    customers = [(guid(), guid(), guid(), f"Company {n} GmbH") for n in range(10_000)]
    with open(path, "w", newline="") as file:
        file.write(HEADER + "\r\n")
        for _ in range(rows):
            day = LAST - datetime.timedelta(days=draw.randrange(days))
            tenant, account, asset, company = customers[draw.randrange(10_000)]
            quantity, price = draw.randrange(1, 100_000) / 100, draw.choice([0.046, 0.01, 1.5])
            cells = [
                day, day.replace(day=1), "saas", "Contoso Insights", draw.choice(["gold", "silver", "payg"]), "Gold", "", "",
                f"meter-{draw.randrange(5)}", draw.choice(["tokens", "minutes", "images"]), "units", tenant + "_2018-09-30",
                company, account, "00000000-0000-0000-0000-000000000000", f"{account}_{asset}", asset, "Paid",
                draw.choice(["EUR", "USD"]), f"{price:.5f}", "USD", f"{price * 1.1:.5f}", "0.00000", "0.00000",
                f"{quantity:.5f}", f"{quantity * price:.5f}", f"{quantity * price * 1.1:.5f}",
            ]
            file.write(",".join(f'"{cell}"' if cell != "" else "" for cell in cells) + "\r\n")


def measured(command, environment, core=None):
    """Seconds and MiB of a command."""
    if core is not None:
        command = ["taskset", "-c", str(core), *command]
    began = time.monotonic()
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    assert os.waitstatus_to_exitcode(status) == 0, command
    return time.monotonic() - began, usage.ru_maxrss / 1024


def ours(path, folder, **storage):
    environment = {"MARKETPLACE_MODE": "false", "DATA_DIR": folder, "LOG_LEVEL": "error", **storage}
    return [BINARY, "analytics", "import", "usage", path, "--generated", "2026-11-01T00:00:00Z"], environment


def beside_duckdb(path, rows):
    duck = (
        "import duckdb,sys;c=duckdb.connect();c.execute('set threads=1');"
        "c.execute(f\"copy (select * from read_csv('{sys.argv[1]}')) to '{sys.argv[2]}' (format parquet, compression zstd)\")"
    )
    rounds = []
    for _ in range(3):
        with tempfile.TemporaryDirectory() as folder:
            mine = measured(*ours(path, folder), core=0)
            size = sum(os.path.getsize(os.path.join(at, name)) for at, _, names in os.walk(folder) for name in names)
            theirs = measured([sys.executable, "-c", duck, path, os.path.join(folder, "out.parquet")], os.environ, core=0)
            rounds.append((mine[0], theirs[0], mine[1], theirs[1], size - os.path.getsize(path)))
    mine, theirs, memory, duck_memory, size = (statistics.median(column) for column in zip(*rounds))
    print(f"{rows:,} rows, {os.path.getsize(path) / 2**20:.0f} MiB, one core, medians of 3")
    print(f"  DuckDB, CSV to Parquet            {theirs:6.2f} s  {rows / theirs:>10,.0f} rows/s  {duck_memory:5.0f} MiB")
    print(f"  MediaGenie, rows and lake, durable{mine:6.2f} s  {rows / mine:>10,.0f} rows/s  {memory:5.0f} MiB")
    print(f"  ratio {theirs / mine:.2f}; kept beside the raw file: {size / 2**20:.0f} MiB")


def beside_pandas(rows=20_000):
    try:
        socket.create_connection(("127.0.0.1", 10002), 1).close()
    except OSError:
        print("pandas with azure-data-tables: not measured, no Azurite on 127.0.0.1:10002")
        return
    import pandas
    from azure.data.tables import TableClient

    credentials = (
        "DefaultEndpointsProtocol=http;AccountName=devstoreaccount1;AccountKey="
        "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==;"
        "TableEndpoint=http://127.0.0.1:10002/devstoreaccount1;"
    )
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "usage.csv")
        report(path, rows, 365)
        began = time.monotonic()
        frame = pandas.read_csv(path, dtype=str, keep_default_na=False)
        with TableClient.from_connection_string(credentials, "pandas" + uuid.uuid4().hex[:12]) as table:
            table.create_table()
            for day, part in frame.groupby("UsageDate"):
                batch = []
                for number, row in enumerate(part.to_dict("records")):
                    batch.append(("upsert", {"PartitionKey": day, "RowKey": f"{number:06}", **row}))
                    if len(batch) == 100:
                        table.submit_transaction(batch)
                        batch = []
                if batch:
                    table.submit_transaction(batch)
        theirs = time.monotonic() - began
        mine, _ = measured(*ours(path, folder, STORAGE="azure", AzureWebJobsStorage=AZURITE))
    print(f"{rows:,} rows of 365 days into Azurite")
    print(f"  pandas with azure-data-tables     {theirs:6.2f} s")
    print(f"  MediaGenie, with lake and raw file{mine:6.2f} s  {theirs / mine:.1f} times as fast")


def ranges():
    """31 days out of one, three and ten years of 1,000 rows a day."""
    print("31 days (31,000 rows, CSV) by HTTP from the embedded store, medians of 20")
    for years in (1, 3, 10):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "usage.csv")
            report(path, years * 365_000, years * 365)
            measured(*ours(path, folder))
            with socket.socket() as free:
                free.bind(("127.0.0.1", 0))
                address = "127.0.0.1:%d" % free.getsockname()[1]
            environment = {
                "MARKETPLACE_MODE": "false", "DATA_DIR": folder, "LOG_LEVEL": "error", "LISTEN_ADDRESS": address,
                "PUBLISHER_API_KEYS": f"bench={KEY}",
            }
            server = subprocess.Popen([BINARY, "serve"], env=environment)
            try:
                url = f"http://{address}/api/analytics/usage?from=2026-05-01&to=2026-05-31&format=csv"
                request = urllib.request.Request(url, headers={"Authorization": f"Bearer {KEY}"})
                for _ in range(100):
                    try:
                        urllib.request.urlopen(request).read()
                        break
                    except OSError:
                        time.sleep(0.1)
                first, whole = [], []
                for _ in range(20):
                    began = time.monotonic()
                    with urllib.request.urlopen(request) as answer:
                        # The header goes out before any row is read.
                        answer.readline(), answer.readline()
                        first.append(time.monotonic() - began)
                        answer.read()
                    whole.append(time.monotonic() - began)
                print(
                    f"  {years:2} years: first row {statistics.median(first) * 1000:5.1f} ms, "
                    f"whole {statistics.median(whole) * 1000:6.1f} ms"
                )
            finally:
                server.terminate()
                server.wait()


if __name__ == "__main__":
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    with tempfile.TemporaryDirectory() as place:
        file = os.path.join(place, "usage.csv")
        report(file, count, 1_095)
        beside_duckdb(file, count)
    beside_pandas()
    ranges()
