"""What goes wrong between `publish` and a Hub: one line, nothing half-published, and on again."""

import shutil

import pytest
from fakehub import Fault, Repo, User
from fakehub_repo import Blob
from hubsite import REPO, TOKEN, Site

pytestmark = pytest.mark.usefixtures("unaudited", "undrawn")


def whole(site: Site) -> bool:
    """One commit of ours, which holds every file of the manifest."""
    assert [commit.summary.split()[0] for commit in site.repo.commits] == ["initial", "Publish"]
    return "provenance/manifest.json" in site.repo.files


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (Fault("GET /api/whoami-v2", 500), "logging in: the Hub said 500"),
        (
            Fault("GET /api/datasets/alice/mllmu-med$", 500),
            "looking at the repository: the Hub said 500",
        ),
        (Fault("POST /api/repos/create", 403), "user alice may not do this"),
        (Fault("PUT /lfs/", 500), "uploading: the Hub said 500"),
        (Fault("POST .*/commit/main", 403), "user alice may not do this"),
        (Fault("POST .*/commit/main", 409), "somebody else is changing the repository"),
        (Fault("POST .*/commit/main", 413), "too large for the Hub"),
        (Fault("POST .*/commit/main", cut="before"), "the connection failed"),
        (Fault("PUT .*/settings", 500), "changing its settings: the Hub said 500"),
    ],
    ids=lambda one: f"{one.pattern[:24]} {one.status}" if isinstance(one, Fault) else "",
)
def test_after_a_refusal_the_same_command_finishes(site: Site, fault: Fault, said: str) -> None:
    site.hub.faults.append(fault)
    asked = ("--public", "--gated", "auto")
    line = site.fails(*asked)
    assert line.startswith(f"error: {REPO}: ")
    assert said in line
    found = site.hub.repos.get(REPO)
    if found is not None:
        assert found.private  # nothing is open before it is whole
        assert len(found.commits) == 1
    site.hub.faults.clear()
    site.publish(*asked)
    assert whole(site)
    assert (site.repo.private, site.repo.gated) == (False, "auto")


def test_no_hub_is_one_line(site: Site) -> None:
    line = site.fails(HF_ENDPOINT="http://127.0.0.1:9")
    assert f"{REPO}: logging in: the connection failed" in line


def test_a_line_that_is_cut_in_an_upload_is_taken_up_again(site: Site) -> None:
    site.hub.faults.append(Fault("PUT /lfs/", cut="mid", times=2))
    site.publish()
    assert whole(site)


def test_a_line_that_stays_cut_is_one_line(site: Site) -> None:
    """After tries for 23 s; what was uploaded before is not uploaded again (a misuse)."""
    first = Fault("PUT /lfs/", times=3)
    site.hub.faults += [first, Fault("PUT /lfs/", cut="mid")]
    line = site.fails()
    assert "uploading: the connection failed" in line
    assert "the same command goes on from here" in line
    assert len(site.repo.commits) == 1
    site.hub.faults.clear()
    site.publish()
    assert whole(site)


def test_a_commit_whose_answer_is_lost_is_seen_by_the_next(site: Site) -> None:
    site.hub.faults.append(Fault("POST .*/commit/main", cut="after"))
    assert "uploading: the connection failed" in site.fails()
    assert whole(site)
    site.hub.faults.clear()
    done = site.publish()
    assert "nothing to commit" in done.stdout
    assert whole(site)


def test_a_commit_of_somebody_else_meanwhile(site: Site) -> None:
    def other() -> None:
        site.repo.commit("by hand", {**site.repo.files, "notes.txt": Blob(b"mine")})

    site.hub.faults.append(Fault("POST .*/commit/main", times=1, meanwhile=other))
    assert "somebody else has committed meanwhile" in site.fails()
    assert site.repo.head.summary == "by hand"
    line = site.fails()
    assert f"{REPO}: holds notes.txt and no build of ours" in line


def test_who_may_not(site: Site) -> None:
    site.hub.users["hf_reader"] = User("alice", role="read")
    site.hub.users["hf_bob"] = User("bob")
    site.hub.repos["bob/set"] = Repo.of_folder("bob/set", site.folder / "mllmu-med")
    before = site.hub.repos["bob/set"].head
    assert "run `hf auth login` or set HF_TOKEN" in site.fails(HF_TOKEN="")
    assert site.hub.requests == []
    assert "it does not know the token" in site.fails(HF_TOKEN="hf_wrong")
    assert "may only read" in site.fails(HF_TOKEN="hf_reader")
    assert "user alice may not do this" in site.fails(repo="bob/set")
    assert "user alice may not do this" in site.fails(repo="bob/new")
    assert "no such user, organisation" in site.fails(repo="nobody/set")
    assert site.hub.repos["bob/set"].head == before
    assert set(site.hub.repos) == {"bob/set"}
    # An organisation's member may, with the token out of huggingface-hub's own store.
    site.home.mkdir(exist_ok=True)
    (site.home / "token").write_text(TOKEN)
    site.publish(repo="lab/set", HF_TOKEN="")
    assert "README.md" in site.hub.repos["lab/set"].files
    (site.home / "token").unlink()
    shutil.rmtree(site.home)


def test_a_repository_of_other_things_stays(site: Site) -> None:
    site.hub.repos[REPO] = Repo.new(REPO, private=False)
    site.repo.commit("mine", {**site.repo.files, "data.csv": Blob(b"1,2")})
    line = site.fails("--private", "--gated", "auto")
    assert f"{REPO}: holds data.csv and no build of ours" in line
    assert site.hub.changes() == []
    assert not site.repo.private


def test_files_that_the_repository_ignores_are_told(site: Site) -> None:
    site.publish()
    site.repo.commit("ignore", {**site.repo.files, ".gitignore": Blob(b"croissant.json")})
    less = {name: blob for name, blob in site.repo.files.items() if name != "croissant.json"}
    site.repo.commit("less", {**less, "README.md": Blob(b"---\na: 1\n---\n")})
    assert "does not hold croissant.json as it was sent" in site.fails()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--images", "privat=embed"], "write SCENARIO=MODE with SCENARIO privacy or incorrect"),
        (["--images", "privacy=link"], "MODE embed or reference"),
        (["--images", ","], "write SCENARIO=MODE"),
        (["--images", "privacy=embed,privacy=embed"], "privacy is given twice"),
        (["--gated", "open"], "use auto or manual"),
        (["--out", "nowhere"], "not a built dataset"),
        (["--results", "nowhere.csv"], "nowhere.csv"),
    ],
)
def test_options_that_are_wrong_are_one_line(site: Site, options: list[str], said: str) -> None:
    done = site.publish(*options, code=None)
    assert done.returncode in (1, 2)
    assert len(done.stderr.strip().splitlines()) == 1
    assert said in done.stderr
    assert site.hub.requests == []


@pytest.mark.parametrize("name", ["mllmu-med", "a/b/c", "alice/mll mu", "../x", "https://h.co/a/b"])
def test_names_that_are_none_are_one_line(site: Site, name: str) -> None:
    done = site.publish(repo=name, code=2)
    assert "write ORG/NAME" in done.stderr
