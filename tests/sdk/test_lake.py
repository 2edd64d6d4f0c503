"""The lake is read by DuckDB as it is: the same rows and the same sums as the report that was taken in."""

import os
import subprocess
from decimal import Decimal

import duckdb
import pytest

BINARY = os.environ["MEDIAGENIE"]

REPORT = '''UsageDate,PlanId,CustomerCurrencyCC,IsPrivateOffer,CoreSize,ActionTakenAt,MeteredUsage,EstimatedExtendedChargeCC
"2026-01-31","gold","EUR","0","4","2026-02-01 09:14:55.1234567","0.10000","1225.00000"
"2026-02-01","gold","EUR","1",,,"0.20000","-0.00001"
"2026-02-01","silver, ""old""","USD","True","2",,"************","12345678901234567.12345"
'''


@pytest.fixture
def lake(tmp_path):
    report = tmp_path / "usage.csv"
    report.write_text(REPORT)
    environment = {"MARKETPLACE_MODE": "false", "DATA_DIR": str(tmp_path / "data"), "LOG_LEVEL": "error"}

    def mediagenie(*arguments):
        subprocess.run([BINARY, "analytics", *arguments], env=environment, check=True, capture_output=True)

    mediagenie("import", "usage", str(report), "--generated", "2026-02-03T06:00:00Z")
    mediagenie("lake", str(tmp_path / "lake"))
    return f"read_parquet('{tmp_path}/lake/ISVUsage/*/*.parquet', hive_partitioning = true)"


def test_sums_are_exact(lake):
    rows = duckdb.sql(
        f"""SELECT month, CustomerCurrencyCC, sum(MeteredUsage), sum(EstimatedExtendedChargeCC)
        FROM {lake} GROUP BY ALL ORDER BY ALL"""
    ).fetchall()
    assert rows == [
        ("2026-01", "EUR", Decimal("0.1"), Decimal("1225")),
        ("2026-02", "EUR", Decimal("0.2"), Decimal("-0.00001")),
        ("2026-02", "USD", None, Decimal("12345678901234567.12345")),
    ]


def test_columns_have_their_kinds(lake):
    kinds = dict(duckdb.sql(f"SELECT column_name, column_type FROM (DESCRIBE SELECT * FROM {lake})").fetchall())
    assert kinds["UsageDate"] == "DATE"
    assert kinds["MeteredUsage"] == "DECIMAL(38,10)"
    assert kinds["IsPrivateOffer"] == "BOOLEAN"
    assert kinds["CoreSize"] == "BIGINT"
    assert kinds["ActionTakenAt"] == "TIMESTAMP WITH TIME ZONE"
    # A column that the report did not have is there and empty: every month has the same columns.
    assert kinds["PriceCC"] == "DECIMAL(38,10)"
    plans = duckdb.sql(f"SELECT PlanId, IsPrivateOffer, CoreSize FROM {lake} ORDER BY ALL").fetchall()
    assert plans == [("gold", False, 4), ("gold", True, None), ('silver, "old"', True, 2)]
