"""ONNX Runtime's profile: the time of each node in each inference. Standard library only."""
# pathlib would add milliseconds to every process:
# ruff: noqa: PTH123

from __future__ import annotations

import json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from runoff_runners.interfaces import Fields

_KERNEL, _RUN = "_kernel_time", "model_run"
"""Ends the name of the event of a node; name of the event at the end of each run."""
_NS_PER_US = 1000


def read_nodes(path: str, inferences: int) -> list[Fields]:
    """Return `runoff.records.protocol.Node` for each node in the profile at `path`, over its last `inferences` runs."""
    with open(path, encoding="utf-8") as file:
        events = json.load(file)
    nodes: dict[tuple[str, str], Fields] = {}
    runs: list[dict[tuple[str, str], list[int]]] = [{}]
    for event in events:
        name, facts = event["name"], event.get("args", {})
        if event["cat"] == "Node" and name.endswith(_KERNEL):
            key = name, facts["node_index"]
            types = [kind for shapes in facts.get("input_type_shape", []) for kind in shapes]
            nodes.setdefault(key, {"name": name.removesuffix(_KERNEL), "operator": facts["op_name"], "inputs": types})
            nodes[key]["provider"] = facts["provider"].removesuffix("ExecutionProvider").lower()
            runs[-1].setdefault(key, []).append(event["dur"] * _NS_PER_US)
        elif name == _RUN:
            runs.append({})
    last = runs[:-1][-inferences:]
    for key, node in nodes.items():
        calls = [run.get(key, []) for run in last]
        node |= {"kernel_ns": [sum(took) for took in calls], "calls": sum(map(len, calls))}
    return [node for node in nodes.values() if node["calls"]]
