"""Re-linking by closed forms: linkage under bans, who may be whom, which faces are kept, live decisions."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import squareform

from fertrack.errors import ConfigError
from fertrack.reid.clustering import cluster_distances, constrained_average_linkage
from fertrack.reid.config import LinkingConfig
from fertrack.reid.gallery import FaceGallery, KeptFace
from fertrack.reid.linker import KnownPerson, may_link, plan_links
from fertrack.reid.live import LivePersons
from fertrack.reid.quality import pose_quality, sharpness
from fertrack.reid.tracklets import Tracklet, seen_together

CONFIG = LinkingConfig()
FRONT = np.array([[47, 47], [101, 47], [74, 77], [50, 103], [98, 103]], np.float32)
CHIP = np.zeros((4, 4, 3), np.uint8)


def face_of(person: int, *, off: float = 0.0, count: int = 3) -> np.ndarray:
    """Embeddings of an imaginary person: a direction of its own, ``off`` away from its purest form."""
    vectors = np.zeros((count, 8), np.float32)
    vectors[:, person % 8] = 1.0
    vectors[:, (person + 1) % 8] = off
    return vectors


def seen(track: int, first: int, last: int, vectors: np.ndarray | None = None, *, x: float = 100.0) -> Tracklet:
    """A track seen in all frames from first to last, 25 a second, standing still, 50 px wide."""
    vectors = np.empty((0, 0), np.float32) if vectors is None else vectors
    box = np.array([x, 50, x + 50, 100], np.float32)
    spans = np.array([[first, last]], np.int64)
    return Tracklet(track, spans, first / 25, last / 25, box, box, vectors, np.ones(len(vectors), np.float32))


def random_distances(seed: int, count: int) -> np.ndarray:
    points = np.random.default_rng(seed).normal(size=(count, 3))
    return np.linalg.norm(points[:, None] - points, axis=2)


# ---- agglomeration ----


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("limit", [0.5, 1.2, 2.5])
def test_without_bans_it_is_scipys_average_linkage(seed: int, limit: float) -> None:
    distance = random_distances(seed, 25)
    tree = linkage(squareform(distance, checks=False), "average")
    expected = fcluster(tree, limit, "distance")
    found = constrained_average_linkage(distance, np.zeros((25, 25), bool), limit)
    assert {frozenset(members) for members in found.members} == {
        frozenset(np.flatnonzero(expected == label).tolist()) for label in set(expected)
    }
    np.testing.assert_allclose(found.joined_at, tree[tree[:, 2] <= limit, 2])


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.integers(2, 14), st.floats(0.0, 1.0))
def test_banned_pairs_never_meet_and_every_allowed_merge_was_made(seed: int, count: int, share: float) -> None:
    distance = random_distances(seed, count)
    banned = np.random.default_rng(seed + 1).random((count, count)) < share
    banned = np.triu(banned, 1) | np.triu(banned, 1).T
    found = constrained_average_linkage(distance, banned, 1.5).members
    assert sorted(itertools.chain(*found)) == list(range(count))
    for members in found:
        assert not banned[np.ix_(members, members)].any()
    apart = cluster_distances(distance, banned, found)
    assert (apart > 1.5).all(), "two clusters that might have been joined were not"


def test_a_ban_passes_on_to_whoever_joins_the_banned_one() -> None:
    points = np.array([0.0, 0.1, 0.15, 0.2])
    distance = np.abs(points[:, None] - points)
    banned = np.zeros((4, 4), bool)
    banned[0, 3] = banned[3, 0] = True
    # 1 and 2 join first (0.05), then take in 3 (0.075); 0 is near them, but banned from their company now
    assert constrained_average_linkage(distance, banned, 1.0).members == ((0,), (1, 2, 3))


def test_what_cannot_be_compared_is_never_joined() -> None:
    distance = np.array([[0, 0.1, np.nan], [0.1, 0, np.inf], [np.nan, np.inf, 0]])
    assert constrained_average_linkage(distance, np.zeros((3, 3), bool), 9.0).members == ((0, 1), (2,))
    assert constrained_average_linkage(np.empty((0, 0)), np.empty((0, 0), bool), 1.0).members == ()
    with pytest.raises(ValueError, match="must be"):
        constrained_average_linkage(np.zeros((2, 3)), np.zeros((2, 3), bool), 1.0)


# ---- who was seen beside whom ----


@given(st.lists(st.lists(st.integers(0, 60), max_size=12, unique=True), max_size=8))
def test_seen_together_is_sharing_a_frame(frames_of: list[list[int]]) -> None:
    spans = []
    for frames in frames_of:
        runs = np.split(np.sort(frames), np.flatnonzero(np.diff(np.sort(frames)) > 1) + 1) if frames else []
        spans.append(np.array([(run[0], run[-1]) for run in runs], np.int64).reshape(-1, 2))
    expected = [[i != j and bool(set(a) & set(b)) for j, b in enumerate(frames_of)] for i, a in enumerate(frames_of)]
    assert seen_together(spans).tolist() == expected


# ---- plans ----


def test_a_person_who_comes_back_is_one_person() -> None:
    plan = plan_links(
        [seen(1, 0, 50, face_of(0)), seen(2, 0, 200, face_of(2)), seen(3, 125, 200, face_of(0, off=0.2))], CONFIG
    )
    assert [person.tracks for person in plan.persons] == [(1, 3), (2,)]
    assert plan.joined == 1
    assert [(link.track, link.person, link.state) for link in plan.links] == [(1, 0, "accepted"), (3, 0, "accepted")]
    assert plan.links[0].similarity == pytest.approx(0.8)


def test_tracks_seen_together_are_two_persons_however_alike() -> None:
    twins = [seen(1, 0, 50, face_of(0)), seen(2, 50, 99, face_of(0))]
    plan = plan_links(twins, CONFIG)
    assert [person.tracks for person in plan.persons] == [(1,), (2,)]
    assert plan.links == ()
    apart = plan_links([twins[0], seen(2, 51, 99, face_of(0))], CONFIG)
    assert [person.tracks for person in apart.persons] == [(1, 2)]


def test_what_is_less_alike_is_only_suggested() -> None:
    off = 1.0 - (CONFIG.accept_similarity + CONFIG.suggest_similarity) / 2
    plan = plan_links([seen(4, 0, 50, face_of(0)), seen(7, 60, 90, face_of(0, off=off))], CONFIG)
    assert [person.tracks for person in plan.persons] == [(4,), (7,)]
    (link,) = plan.links
    assert (link.track, link.person, link.state) == (7, 0, "suggested"), "the later one may be the earlier one"
    assert link.similarity == pytest.approx(1.0 - off, abs=1e-6)
    assert plan.joined == 0


def test_a_track_without_a_usable_face_stays_alone() -> None:
    plan = plan_links([seen(1, 0, 9, face_of(0)), seen(2, 20, 29), seen(3, 40, 49)], CONFIG)
    assert [person.tracks for person in plan.persons] == [(1,), (2,), (3,)]
    assert plan_links([], CONFIG).persons == ()


def test_known_persons_take_tracks_in_and_never_join_each_other() -> None:
    known = [KnownPerson(70, 1, face_of(0)), KnownPerson(71, 2, face_of(0, off=0.1)), KnownPerson(72, 3, face_of(5))]
    plan = plan_links([seen(1, 0, 9, face_of(0, off=-0.05)), seen(2, 0, 9, face_of(3))], CONFIG, known=known)
    assert [(person.tracks, person.known) for person in plan.persons] == [((1,), 70), ((2,), None)]
    (link,) = plan.links
    assert (link.track, link.person, link.state, link.similarity) == (1, 0, "accepted", pytest.approx(0.95))
    assert plan.joined == 1


def test_an_earlier_run_s_person_can_be_suggested() -> None:
    plan = plan_links([seen(1, 0, 9, face_of(5, off=0.43))], CONFIG, known=[KnownPerson(72, 3, face_of(5))])
    assert [(person.tracks, person.known) for person in plan.persons] == [((1,), None), ((), 72)]
    assert [(link.track, link.person, link.state) for link in plan.links] == [(1, 1, "suggested")]
    assert plan.joined == 0


def test_looks_alone_link_only_what_follows_soon_and_near() -> None:
    def linked(second: Tracklet) -> bool:
        plan = plan_links([seen(1, 0, 50, face_of(0)), second], CONFIG, recognises=False)
        return len(plan.persons) == 1

    assert linked(seen(2, 75, 99, face_of(0)))
    assert not linked(seen(2, 50 + 25 * 4, 200, face_of(0))), "after 4 s anybody may wear that shirt"
    assert not linked(seen(2, 75, 99, face_of(0), x=600)), "nobody walks ten faces in a second"
    assert not linked(seen(2, 75, 99, face_of(3)))
    assert not linked(seen(2, 40, 99, face_of(0))), "seen together"


def test_only_tracks_that_can_be_linked_cost_anything() -> None:
    pair = [seen(1, 0, 100), seen(2, 50, 150)]
    assert may_link(pair, CONFIG, recognises=True) == []
    assert may_link([*pair, seen(3, 120, 150)], CONFIG, recognises=True) == [1, 3]
    assert may_link([seen(1, 0, 9), seen(2, 900, 999)], CONFIG, recognises=False) == []


# ---- live ----


def test_live_tracks_go_to_the_nearest_free_person() -> None:
    live = LivePersons(CONFIG, [KnownPerson(70, 1, face_of(6))])
    live.seen([1, 2])
    first, similarity = live.add(1, face_of(0))
    assert (first, np.isnan(similarity)) == (1, True)
    assert live.add(2, face_of(0))[0] == 2, "seen beside track 1"
    live.seen([3])
    assert live.add(3, face_of(0, off=0.1)) == (1, pytest.approx(0.9))
    live.seen([4])
    assert live.add(4, face_of(6)) == (0, pytest.approx(1.0))
    assert live.add(5, np.empty((0, 0), np.float32))[0] == 3
    with pytest.raises(ValueError, match="added before"):
        live.add(5, face_of(1))


def test_a_live_link_is_taken_back_when_both_are_seen_at_once() -> None:
    live = LivePersons(CONFIG)
    live.seen([1])
    live.add(1, face_of(0))
    live.seen([2])
    live.add(2, face_of(0))
    assert live.persons[1] == live.persons[2]
    live.seen([2, 1])  # the first track is found again
    assert live.persons[1] == 0
    assert live.persons[2] == 1


def test_live_looks_need_more_likeness_and_tracks_that_follow_each_other() -> None:
    live = LivePersons(CONFIG, recognises=False)
    off = 1.0 - (CONFIG.accept_similarity + CONFIG.appearance_similarity) / 2
    assert live.add(1, face_of(0), [])[0] == 0
    assert live.add(2, face_of(0, off=off), [1])[0] == 1, "alike enough for a face that is recognised, not for looks"
    assert live.add(3, face_of(0), [2])[0] == 2, "track 1 ended too long ago, or too far away"
    assert live.add(4, face_of(0), [1])[0] == 0
    assert live.add(5, face_of(0), [4])[0] == 3, "track 1, who is the same person as 4, cannot be 5"
    live.seen([1])  # found again, while 4 is not in this picture
    assert live.persons[1] == 0
    assert live.persons[4] not in {0, 1, 2, 3}
    live.seen([4])
    live.seen([1])
    assert live.persons[1] == 0


def test_live_persons_are_compared_by_the_mean_of_all_their_faces() -> None:
    """As before the means were kept: brute force over every vector, with tracks seen together kept apart."""
    rng = np.random.default_rng(3)
    limit = 1.0 - CONFIG.accept_similarity
    live = LivePersons(CONFIG, [KnownPerson(70, 1, face_of(6))])
    vectors, owner, beside = [[*face_of(6)]], {}, {}
    for track in range(200):
        together = {track, *rng.integers(0, track + 1, 2).tolist()}
        live.seen(together)
        for each in together:
            beside.setdefault(each, set()).update(together)
        owner |= live.persons
        while len(vectors) <= max(owner.values(), default=0):
            vectors.append([])
        faces = (face_of(int(rng.integers(8)), off=float(rng.uniform(0, 0.6)), count=2)).astype(np.float32)
        barred = {owner[other] for other in beside[track] if other in owner}
        apart = [
            np.linalg.norm(np.mean(each, axis=0) - faces.mean(axis=0)) if each and place not in barred else np.inf
            for place, each in enumerate(vectors)
        ]
        expected = int(np.argmin(apart)) if min(apart) <= limit else len(vectors)
        person, similarity = live.add(track, faces)
        assert person == expected
        if expected < len(vectors):
            assert similarity == pytest.approx(1.0 - min(apart))
        else:
            vectors.append([])
        vectors[person] += [*faces]
    assert len(set(live.persons.values())) > 8


def test_what_a_live_comparison_keeps_does_not_grow_with_the_run() -> None:
    live = LivePersons(CONFIG)
    for track in range(3000):
        live.seen([track, track + 1])
        if track % 2:
            live.add(track, face_of(track % 8))
    assert len(live._beside) <= 1000


# ---- which faces are kept ----


def test_turned_small_and_broken_faces_are_worse() -> None:
    turned = FRONT.copy()
    turned[2, 0] += 20
    nodding = FRONT.copy()
    nodding[2, 1] += 18
    broken = np.full((5, 2), np.nan, np.float32)
    rolled = (FRONT - 74) @ np.array([[0.8, 0.6], [-0.6, 0.8]], np.float32) + 74
    faces = np.stack(
        [FRONT, turned, nodding, FRONT / 4, broken, np.zeros((5, 2), np.float32), rolled.astype(np.float32)]
    )
    quality = pose_quality(faces, np.ones(7, np.float32))
    assert quality[0] > 0.95
    assert quality[6] == pytest.approx(quality[0], abs=0.02), "roll is taken out by alignment"
    assert (quality[1:4] < 0.4).all()
    assert quality[4:6].tolist() == [0, 0]
    assert pose_quality(FRONT[None], np.full(1, 0.5, np.float32))[0] == pytest.approx(quality[0] / 2)


def test_blur_costs_sharpness() -> None:
    import cv2

    noise = np.random.default_rng(0).integers(0, 255, (150, 150, 3), dtype=np.uint8)
    values = [sharpness(np.asarray(cv2.GaussianBlur(noise, (0, 0), sigma), np.uint8)) for sigma in (0.5, 2, 6)]
    assert values[0] > 0.9 > values[1] > values[2]
    assert sharpness(np.zeros((150, 150, 3), np.uint8)) == 0.0


def test_kept_faces_are_the_best_of_each_stretch_and_few() -> None:
    gallery = FaceGallery(3)
    for frame in range(25 * 60):
        time_s = frame / 25
        gallery.offer(1, KeptFace(time_s, 0.9 if frame == 700 else 0.3 + 0.1 * np.sin(frame), CHIP))
    assert len(gallery) <= 6
    best = gallery.best(1)
    assert len(best) == 3
    assert [face.time_s for face in best] == sorted(face.time_s for face in best)
    assert 28.0 in [face.time_s for face in best], "the best face of all is kept"
    assert best[-1].time_s - best[0].time_s > 5, "spread over time"
    assert gallery.take(1) == best
    assert (len(gallery), gallery.tracks, gallery.best(1)) == (0, [], [])


def test_a_face_is_wanted_only_if_it_may_be_better() -> None:
    gallery = FaceGallery(2)
    assert not gallery.wants(1, 0.0, 0.0)
    assert gallery.wants(1, 0.0, 0.1)
    gallery.offer(1, KeptFace(0.0, 0.5, CHIP))
    assert not gallery.wants(1, 0.2, 0.4), "worse than what this stretch has"
    assert not gallery.wants(1, 0.05, 0.9), "too soon after the last try"
    assert gallery.wants(1, 0.2, 0.9)
    assert gallery.wants(1, 0.5, 0.1), "a new stretch"
    with pytest.raises(ValueError, match="at least 1"):
        FaceGallery(0)


def test_suggestions_cannot_be_more_alike_than_links() -> None:
    with pytest.raises(ConfigError, match="suggest less similar"):
        LinkingConfig(accept_similarity=0.5, suggest_similarity=0.6)
