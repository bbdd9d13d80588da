"""The paper's findings, each tested here: what shows on this family and what does not."""

from mcore.ui.findings import findings
from mcore.ui.guard import guarded
from mcore.ui.theme import set_up

set_up("Findings", "Findings")
with guarded():
    findings()
