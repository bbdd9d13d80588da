"""All findings by their ids."""

from __future__ import annotations

from mcore.findings import knowledge, minima
from mcore.findings.finding import Finding

FINDINGS: dict[str, Finding] = {
    one.id: one for one in (minima.f1(), minima.f2(), minima.f3(), minima.f4(), knowledge.f5(), knowledge.f6(), knowledge.f7())
}
