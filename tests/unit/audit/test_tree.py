"""Vectors: the RFC 6962 trees of google/certificate-transparency, cpp/merkletree/merkle_tree_test.cc."""

from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit import tree

LEAVES = [
    tree.leaf_hash(bytes.fromhex(text))
    for text in (
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    )
]
ROOTS = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
# (size, index, path); the reference counts leaves from 1
PATHS = [
    (1, 0, []),
    (
        8,
        0,
        [
            "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
            "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
            "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
        ],
    ),
    (
        8,
        5,
        [
            "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
            "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
            "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        ],
    ),
    (3, 2, ["fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"]),
    (
        5,
        1,
        [
            "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
            "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
            "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
        ],
    ),
]
# (old size, size, proof), the same source; (6, 7) is from github.com/transparency-dev/merkle
GROWTH = [
    (1, 1, []),
    (
        1,
        8,
        [
            "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
            "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
            "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
        ],
    ),
    (
        6,
        8,
        [
            "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
            "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
            "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        ],
    ),
    (
        2,
        5,
        [
            "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
            "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
        ],
    ),
    (
        6,
        7,
        [
            "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
            "b08693ec2e721597130641e8211e7eedccb4c26413963eee6c1e2ed16ffb1a5f",
            "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        ],
    ),
]

sizes = st.integers(0, 70)


def numbered(count: int) -> list[bytes]:
    return [tree.leaf_hash(str(number).encode()) for number in range(count)]


@pytest.mark.parametrize("size", range(9))
def test_roots_are_those_of_the_reference(size: int) -> None:
    assert tree.root(LEAVES[:size]).hex() == ROOTS[size]


@pytest.mark.parametrize(("size", "index", "path"), PATHS)
def test_paths_are_those_of_the_reference(size: int, index: int, path: list[str]) -> None:
    proof = tree.inclusion_proof(LEAVES[:size], index)
    assert [step.hex() for step in proof] == path
    tree.verify_inclusion(LEAVES[index], index, size, proof, bytes.fromhex(ROOTS[size]))


@pytest.mark.parametrize(("old", "size", "steps"), GROWTH)
def test_growth_is_proved_as_by_the_reference(old: int, size: int, steps: list[str]) -> None:
    proof = tree.consistency_proof(LEAVES[:size], old)
    assert [step.hex() for step in proof] == steps
    tree.verify_consistency(old, bytes.fromhex(ROOTS[old]), size, bytes.fromhex(ROOTS[size]), proof)


def test_the_worked_example_of_rfc_6962() -> None:
    """RFC 6962 2.1.3 (RFC 9162 2.1.5): seven entries; its letters name the nodes of these spans."""
    letter = dict(zip("abcdefj", ((at, at + 1) for at in range(7)), strict=True))
    letter |= {"g": (0, 2), "h": (2, 4), "i": (4, 6), "k": (0, 4), "l": (4, 7)}

    def spans(letters: str) -> list[tuple[int, int]]:
        return [letter[one] for one in letters]

    # The RFC calls entry 2 c and entry 6 j; f is entry 5.
    assert tree.inclusion_ranges(0, 7) == spans("bhl")
    assert tree.inclusion_ranges(3, 7) == spans("cgl")
    assert tree.inclusion_ranges(4, 7) == spans("fjk")
    assert tree.inclusion_ranges(6, 7) == spans("ik")
    assert tree.consistency_ranges(3, 7) == spans("cdgl")
    assert tree.consistency_ranges(4, 7) == spans("l")
    assert tree.consistency_ranges(6, 7) == spans("ijk")


def test_every_entry_of_every_tree_up_to_40_is_proved_and_every_changed_hash_refused() -> None:
    for size in range(1, 41):
        leaves = numbered(size)
        top = tree.root(leaves)
        for index in range(size):
            proof = tree.inclusion_proof(leaves, index)
            tree.verify_inclusion(leaves[index], index, size, proof, top)
            for place in range(len(proof)):
                changed = [*proof[:place], tree.leaf_hash(proof[place]), *proof[place + 1 :]]
                with pytest.raises(tree.ProofInvalid):
                    tree.verify_inclusion(leaves[index], index, size, changed, top)


def test_every_growth_up_to_40_is_proved_and_every_changed_hash_refused() -> None:
    leaves = numbered(40)
    roots = [tree.root(leaves[:size]) for size in range(41)]
    for new in range(1, 41):
        for old in range(1, new + 1):
            proof = tree.consistency_proof(leaves[:new], old)
            tree.verify_consistency(old, roots[old], new, roots[new], proof)
            for place in range(len(proof)):
                changed = [*proof[:place], tree.leaf_hash(proof[place]), *proof[place + 1 :]]
                with pytest.raises(tree.ProofInvalid):
                    tree.verify_consistency(old, roots[old], new, roots[new], changed)


@given(st.integers(0, 200), st.integers(0, 7))
def test_a_frontier_beyond_a_start_is_the_tree_of_the_rest(size: int, level: int) -> None:
    leaves = numbered(size)
    whole = tree.Frontier()
    whole.extend(leaves)
    start = size >> level << level
    assert whole.beyond(start).root() == tree.root(leaves[start:])
    with pytest.raises(ValueError):
        whole.beyond(size + 1)


def test_leaf_and_node_prefixes_differ() -> None:
    """RFC 6962 2.1: otherwise a node could be passed off as an entry."""
    assert tree.leaf_hash(b"ab") == sha256(b"\x00ab").digest()
    assert tree.node_hash(b"a", b"b") == sha256(b"\x01ab").digest()


@given(size=st.integers(1, 70), data=st.data())
def test_every_entry_is_proved_and_no_other(size: int, data: st.DataObject) -> None:
    leaves = numbered(size)
    index = data.draw(st.integers(0, size - 1))
    top = tree.root(leaves)
    proof = tree.inclusion_proof(leaves, index)
    tree.verify_inclusion(leaves[index], index, size, proof, top)
    wrong = [
        (tree.leaf_hash(b"other"), index, size, proof, top),
        (leaves[index], index, size, proof, tree.leaf_hash(b"other root")),
        (leaves[index], index, size, [*proof, top], top),
        (leaves[index], size, size, proof, top),
        (leaves[index], -1, size, proof, top),
    ]
    if proof:
        wrong += [
            (leaves[index], index, size, proof[:-1], top),
            (leaves[index], index ^ 1, size, proof, top),
            (leaves[index], index, size, [*proof[:-1], bytes(32)], top),
        ]
    for case in wrong:
        with pytest.raises(tree.ProofInvalid):
            tree.verify_inclusion(*case)


@given(old=sizes, new=sizes)
def test_growth_is_proved_and_nothing_else(old: int, new: int) -> None:
    old, new = sorted((old, new))
    leaves = numbered(new)
    before, after = tree.root(leaves[:old]), tree.root(leaves)
    proof = tree.consistency_proof(leaves, old)
    tree.verify_consistency(old, before, new, after, proof)
    with pytest.raises(tree.ProofInvalid):
        tree.verify_consistency(old, bytes(32), new, after, proof)
    if 0 < old < new:
        with pytest.raises(tree.ProofInvalid):
            tree.verify_consistency(old, before, new, bytes(32), proof)
        with pytest.raises(tree.ProofInvalid):
            tree.verify_consistency(old, before, new, after, proof[:-1])
        with pytest.raises(tree.ProofInvalid):
            tree.verify_consistency(old, before, new, after, [*proof, bytes(32)])
    with pytest.raises(tree.ProofInvalid):
        tree.verify_consistency(new + 1, before, new, after, proof)


@given(sizes, st.integers(0, 40))
def test_a_frontier_resumed_from_its_bytes_ends_at_the_same_root(first: int, more: int) -> None:
    leaves = numbered(first + more)
    frontier = tree.Frontier()
    frontier.extend(leaves[:first])
    resumed = tree.Frontier.from_bytes(first, frontier.to_bytes())
    resumed.extend(leaves[first:])
    assert resumed.size == first + more
    assert resumed.root() == _recursive_root(leaves)


def _recursive_root(leaves: list[bytes]) -> bytes:
    """The definition of RFC 6962 2.1, written again without the frontier."""
    if not leaves:
        return sha256(b"").digest()
    if len(leaves) == 1:
        return leaves[0]
    half = 1
    while half * 2 < len(leaves):
        half *= 2
    return tree.node_hash(_recursive_root(leaves[:half]), _recursive_root(leaves[half:]))


@pytest.mark.parametrize(("size", "nodes"), [(1, b""), (3, bytes(32)), (2, bytes(31)), (-1, b"")])
def test_a_frontier_that_does_not_fit_its_size_is_refused(size: int, nodes: bytes) -> None:
    with pytest.raises(ValueError):
        tree.Frontier.from_bytes(size, nodes)


def test_indices_outside_the_tree_have_no_proof() -> None:
    with pytest.raises(IndexError):
        tree.inclusion_proof(LEAVES, 8)
    with pytest.raises(IndexError):
        tree.consistency_proof(LEAVES, 9)


def test_a_consistency_proof_may_not_be_empty_between_two_sizes() -> None:
    with pytest.raises(tree.ProofInvalid):
        tree.verify_consistency(3, tree.root(LEAVES[:3]), 5, tree.root(LEAVES[:5]), [])
