"""The nodes of both sides next to each other, from the runtimes' own profiles of the whole model.

A runtime computes other nodes than the file has: fused, split, and some that change a layout. Each is matched to the
nodes of the file by the names that the runtime reports. Nodes of the file that no name mentions were fused: they go to
what computes their producer. A row has the fewest nodes of the file that both sides compute completely in whole
kernels, so its times, operations and bytes are comparable.
"""

from __future__ import annotations

import re
from itertools import accumulate
from typing import TYPE_CHECKING

import msgspec
import numpy as np
from msgspec import Struct

from runoff.probes.operators import OPERATORS
from runoff.records.nodes import CONTROL_FLOW

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from runoff.models.cuts import Cuts, Peak, Work
    from runoff.records.protocol import Node
    from runoff.records.schema import Record

_GENERATED = re.compile(r"(_nchwc|_token_\d+)+$")
"""Ends of names that ONNX Runtime generates."""
_BLOCKED = "_nchwc"
_MOST_KERNELS, _NEARLY_ALL, _WORTH_NAMING = 3, 0.9, 10
"""Kernels that are named, the share from which one is named alone, and the percentage from which others are."""
_LAYOUTS = {"Reorder", "ReorderInput", "ReorderOutput"}
"""Operators of runtimes that only change a layout."""


class Kernel(Struct, frozen=True, kw_only=True):
    """A node that a runtime computed."""

    name: str
    operator: str
    """The runtime's name of it."""
    kernel: str
    """The implementation, or the operator if the runtime does not report it."""
    provider: str
    shapes: tuple[tuple[int, ...], ...]
    """Of its outputs."""
    ns: float
    """Median time of an inference, by the runtime's profiler."""


class Row(Struct, frozen=True, kw_only=True):
    """The same nodes of the file on both sides; none for what only a runtime does, such as changes of layout."""

    segment: int
    """From 1."""
    work: tuple[Work, ...]
    kernels: tuple[tuple[Kernel, ...], tuple[Kernel, ...]]
    """Of both sides."""
    flops: int | None = None
    size: int | None = None
    """Bytes of the tensors that enter and leave, weights included."""

    @property
    def operator(self) -> str:
        """The operator of the node with the most operations."""
        if not self.work:
            return next(kernel.operator for side in self.kernels for kernel in side)
        return max(self.work, key=lambda work: work.flops or 0).operator

    @property
    def times_ns(self) -> tuple[float, float]:
        """Of both sides."""
        first, second = (sum(kernel.ns for kernel in side) for side in self.kernels)
        return first, second

    @property
    def difference_ns(self) -> float:
        """Second - first."""
        return self.times_ns[1] - self.times_ns[0]

    def of_peak(self, side: int, peak: Peak) -> float | None:
        """Return the shortest time that `peak` permits as a share of the side's own."""
        took = self.times_ns[side]
        return peak.shortest_ns(self.flops, self.size) / took if took and self.flops and self.size else None


class Group(Struct, frozen=True, kw_only=True):
    """Rows of one operator."""

    operator: str
    count: int
    times_ns: tuple[float, float]
    kernels: tuple[str, str]
    """What takes the most time on each side, with its share if it does not take nearly all."""

    @property
    def difference_ns(self) -> float:
        """Second - first."""
        return self.times_ns[1] - self.times_ns[0]


def groups_of(rows: Iterable[Row]) -> list[Group]:
    """Return `rows` by operator, the largest difference first."""
    by_operator: dict[str, list[Row]] = {}
    for row in rows:
        by_operator.setdefault(row.operator, []).append(row)
    groups = [
        Group(
            operator=operator,
            count=len(own),
            times_ns=(sum(row.times_ns[0] for row in own), sum(row.times_ns[1] for row in own)),
            kernels=(_main_kernels(own, 0), _main_kernels(own, 1)),
        )
        for operator, own in by_operator.items()
    ]
    return sorted(groups, key=lambda group: -abs(group.difference_ns))


def _main_kernels(rows: Iterable[Row], side: int) -> str:
    spent: dict[str, float] = {}
    for kernel in (kernel for row in rows for kernel in row.kernels[side]):
        spent[kernel.kernel] = spent.get(kernel.kernel, 0.0) + kernel.ns
    names = sorted(spent, key=lambda name: -spent[name])[:_MOST_KERNELS]
    total = sum(spent.values())
    if not names or spent[names[0]] >= _NEARLY_ALL * total:
        return "".join(names[:1])
    shares = ((name, 100 * spent[name] / total) for name in names)
    return ", ".join(f"{name} {share:.0f}%" for name, share in shares if share >= _WORTH_NAMING)


def profiled_nodes(records: Iterable[Record], case: str) -> list[tuple[Node, float]]:
    """Return the nodes of a case in the order in which they were computed, with the median time of each in ns."""
    found = [one.result.nodes for one in records if (one.case, one.probe) == (case, OPERATORS.name) and one.result]
    alike = [nodes for nodes in found if [node.name for node in nodes] == [node.name for node in found[0]]]
    times = [
        (same[0], float(np.median([ns for node in same for ns in node.kernel_ns]))) for same in zip(*alike, strict=True)
    ]
    return [(node, ns) for node, ns in times if node.operator not in CONTROL_FLOW]


def as_called(nodes: Sequence[tuple[Node, float]], cuts: Cuts) -> list[tuple[Node, float]]:
    """Return the `nodes` of PyTorch with those of the file that they compute; none if they are of other calls.

    All calls that lead to a tensor of the file compute all nodes that lead to it from other such tensors.
    """
    if [node.operator for node, _ in nodes] != [operator for operator, _ in cuts.calls]:
        return []
    leads, later = {name: name for _, name in cuts.calls}, dict[str, list[str]]()
    for work in reversed(cuts.graph):
        tensor = next((leads[name] for name in work.outputs if name in leads), "")
        if tensor:
            later.setdefault(tensor, []).append(work.outputs[0])
            leads |= {name: tensor for name in work.inputs if name not in leads}
    return [
        (msgspec.structs.replace(node, sources=tuple(later.get(tensor, ()))), ns)
        for (node, ns), (_, tensor) in zip(nodes, cuts.calls, strict=True)
    ]


def rows_of(cuts: Cuts, first: Sequence[tuple[Node, float]], second: Sequence[tuple[Node, float]]) -> tuple[Row, ...]:
    """Return the rows of the profiles of two sides, in the order of the file."""
    ends = list(accumulate(len(segment.nodes) for segment in cuts.segments))
    sides = [[(_kernel(*one), places) for one, places in _claimed(cuts.graph, nodes)] for nodes in (first, second)]
    rows = []
    for group in _groups(places for side in sides for _, places in side):
        kernels = tuple(tuple(kernel for kernel, places in side if places & group) for side in sides)
        segment = 1 + sum(end <= max(group) for end in ends)
        flops, size = _amounts(cuts, group)
        work = tuple(cuts.graph[place] for place in sorted(group))
        row = Row(segment=segment, work=work, kernels=(kernels[0], kernels[1]), flops=flops, size=size)
        rows.append((float(min(group)), row))
    for number, side in enumerate(sides):
        after = float(len(cuts.graph))
        for kernel, places in reversed(side):
            after = float(min(places, default=after))
            if not places:
                own = ((kernel,), ()) if number == 0 else ((), (kernel,))
                segment = min(len(ends), 1 + sum(end <= after for end in ends))
                rows.append((after - 0.5, Row(segment=segment, work=(), kernels=own)))
    return tuple(row for _, row in sorted(rows, key=lambda one: one[0]))


def _kernel(node: Node, ns: float) -> Kernel:
    name = node.kernel or (f"{node.operator} (NCHWc)" if node.name.endswith(_BLOCKED) else node.operator)
    return Kernel(
        name=node.name, operator=node.operator, kernel=name, provider=node.provider, shapes=node.shapes, ns=ns
    )


def _claimed(
    graph: Sequence[Work], nodes: Sequence[tuple[Node, float]]
) -> list[tuple[tuple[Node, float], frozenset[int]]]:
    """Return `nodes` with the places in `graph` of what each computes."""
    known = {name: place for place, work in enumerate(graph) for name in (*work.outputs, work.name)}
    named = (node.sources or (node.name,) for node, _ in nodes)
    claims = [{place for place in (_place(name, known) for name in names) if place >= 0} for names in named]
    taken = set().union(*claims) if claims else set()
    for number, (node, _) in enumerate(nodes):
        if not claims[number] and node.operator not in _LAYOUTS:
            # what lies between its neighbours, as for a fusion with a new name
            before = max((place for claim in claims[:number] for place in claim), default=-1)
            after = min((place for claim in claims[number:] for place in claim), default=len(graph))
            claims[number] = set(range(before + 1, after)) - taken
            taken |= claims[number]
    owners: dict[int, int] = {}
    for number, claim in enumerate(claims):
        owners |= dict.fromkeys(claim, number)
    for node, _ in nodes:
        if not node.sources:
            _claim_producers(graph, _GENERATED.sub("", node.name), node.operator, owners)
    _adopt(graph, owners)
    for place, number in owners.items():
        claims[number].add(place)
    return [(node, frozenset(claim)) for node, claim in zip(nodes, claims, strict=True)]


def _claim_producers(graph: Sequence[Work], tensor: str, operator: str, owners: dict[int, int]) -> None:
    """Give what leads from `operator` to `tensor`, and has no owner, to the node that makes it.

    ONNX Runtime names a node by its output: a Conv that a Clip was fused with, by that of the Clip.
    """
    made = {name: place for place, work in enumerate(graph) for name in work.outputs}
    waiting = [made[tensor]] if tensor in made else []
    while waiting:
        place = waiting.pop()
        for before in (made[name] for name in graph[place].inputs if name in made):
            if before not in owners and not graph[place].operator.endswith(operator):
                owners[before] = owners[place]
                waiting.append(before)


def _place(name: str, known: dict[str, int]) -> int:
    """Return the place of the node of the file that a runtime calls `name`; -1 for none."""
    name = _GENERATED.sub("", name)
    while name not in known and "/" in name.strip("/"):
        name = name.rpartition("/")[0]
    return known.get(name, -1)


def _adopt(graph: Sequence[Work], owners: dict[int, int]) -> None:
    """Give each place without an owner to that of a producer of its inputs, or else of a consumer of its outputs."""
    made = {name: place for place, work in enumerate(graph) for name in work.outputs}
    for place, work in enumerate(graph):
        producers = [made[name] for name in work.inputs if made.get(name) in owners]
        if place not in owners and producers:
            owners[place] = owners[max(producers)]
    for place, work in reversed(list(enumerate(graph))):
        for name in work.inputs:
            if place in owners and name in made:
                owners.setdefault(made[name], owners[place])


def _groups(sets: Iterable[frozenset[int]]) -> list[frozenset[int]]:
    """Return the unions of `sets` that share members."""
    groups: list[frozenset[int]] = []
    for one in filter(None, sets):
        alike = [group for group in groups if group & one]
        groups = [group for group in groups if not group & one] + [one.union(*alike)]
    return groups


def _amounts(cuts: Cuts, group: frozenset[int]) -> tuple[int | None, int | None]:
    """Return the operations of some nodes, and the bytes that enter and leave them; None if not known."""
    own = [cuts.graph[place] for place in group]
    made = {name for work in own for name in work.outputs}
    read = {name for work in own for name in work.inputs}
    elsewhere = {name for place, work in enumerate(cuts.graph) if place not in group for name in work.inputs}
    used = {name for work in cuts.graph for name in work.inputs}
    crossing = (read - made) | (made & elsewhere) | (made - used)
    flops = [work.flops for work in own]
    sizes = [cuts.sizes.get(name) for name in crossing]
    return (
        None if None in flops else sum(filter(None, flops)),
        None if None in sizes else sum(filter(None, sizes)),
    )
