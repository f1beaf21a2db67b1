"""The names of the stages, and the stages of one scenario over its folder."""

from __future__ import annotations

from typing import Final, NamedTuple

from builder.core.recipe import Scenario
from builder.core.stage_cache import Chain, Stage, StageState

#: Every stage, in the order of the work. `inject` belongs to privacy, `corrupt` to incorrect and
#: `locate` to own.
STAGES: Final = tuple(
    "ingest draw locate profiles inject corrupt review calibrate split write".split()
)


class ChainPlan(NamedTuple):
    """One scenario's stages over its folder."""

    name: str
    scenario: Scenario
    chain: Chain
    stages: list[Stage]

    def states(self) -> dict[str, StageState]:
        """The stages that have run, by name."""
        states = {stage.name: self.chain.state(stage.name) for stage in self.stages}
        return {name: state for name, state in states.items() if state is not None}
