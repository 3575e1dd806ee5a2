"""The work of the demo: how far a flight goes, and how late it was."""

from __future__ import annotations

from math import asin, cos, radians, sin, sqrt
from typing import Any

import psycopg

from pgconveyor.handlers import Context

EARTH_KM = 6371.0088

RESULT = "insert into flight_result (record_id, flight, distance_km, delay_class) values (%s, %s, %s, %s)"


def handle(record: dict[str, Any], context: Context) -> dict[str, Any]:
    """Write the result of one flight. It commits together with the completion, or not at all."""
    flight = record["payload"]
    kilometres = great_circle(place(context.connection, flight["origin"]), place(context.connection, flight["dest"]))
    delay = delay_class(flight["arr_delay"])
    context.connection.execute(RESULT, [record["id"], f"{flight['carrier']}{flight['flight']}", kilometres, delay])
    return {"distance_km": kilometres, "delay_class": delay}


def place(conn: psycopg.Connection, faa: str) -> tuple[float, float] | None:
    row = conn.execute("select latitude, longitude from airport where faa = %s", [faa]).fetchone()
    return None if row is None else (row[0], row[1])


def great_circle(a: tuple[float, float] | None, b: tuple[float, float] | None) -> float | None:
    """Kilometres over the surface; None for an airport that the data does not place."""
    if a is None or b is None:
        return None
    (lat_a, lon_a), (lat_b, lon_b) = (map(radians, a), map(radians, b))
    half = sin((lat_b - lat_a) / 2) ** 2 + cos(lat_a) * cos(lat_b) * sin((lon_b - lon_a) / 2) ** 2
    return round(2 * EARTH_KM * asin(sqrt(half)), 1)


def delay_class(minutes: str) -> str:
    """The data leaves the arrival delay empty for flights that did not arrive where they were to."""
    if minutes in ("", "NA"):
        return "cancelled or diverted"
    late = float(minutes)
    return "on time" if late < 15 else "late" if late < 60 else "very late"
