"""A job of a sweep is done by one process at a time, leaves its record last, and ends with who started it."""

import fcntl
import os

import pytest

from helpers import course, sweep_jobs


def job_in(folder, **changes):
    """A job of no notebook: it is done as soon as its process has started."""
    return {"name": folder.name, "folder": str(folder), "notebooks": [], "values": {"DATA_DIR": "sample"}, "takes": [],
            "course": str(course.FOLDER.parent), **changes}


class Ended:
    """A process that was killed."""

    def wait(self):
        return -9


def test_a_job_takes_what_is_shared_and_its_record_comes_last(tmp_path, monkeypatch, write_image):
    shared, folder = tmp_path / "shared", tmp_path / "run"
    image = write_image(shared / "augmented" / "nevus" / "a.png", seed=1)
    write_image(shared / "leak" / "b.png", seed=2)
    (shared / "01_eda.json").write_text("{}")

    def execute(notebook, values, out_dir, progress):
        assert values == {"DATA_DIR": "sample", "OUT_DIR": str(folder)} and (out_dir / "01_eda.json").exists()
        assert not (out_dir / "sweep.json").exists() and not (out_dir / "error.txt").exists()
        (out_dir / "baseline").mkdir()
        (out_dir / "baseline" / "run.json").write_text('{"best_epoch": 2, "parameters": {}, "versions": {}}')
        history = "epoch,val_loss,val_accuracy,seconds\n1,3,.1,9\n2,1,.4,9\n3,2,.5,9\n"
        (out_dir / "baseline" / "history.csv").write_text(history)
        answers = "image_id,split,label,p_a,p_b\ni,val,a,.9,.1\nj,val,a,.2,.8\nk,val,b,.3,.7\nl,val,b,.1,.9\nm,test,b,.9,.1\n"
        (out_dir / "baseline" / "predictions.csv").write_text(answers)

    monkeypatch.setattr(course, "execute", execute)
    job = job_in(folder, notebooks=["03_baseline_cnn"], takes=[str(shared)])
    folder.mkdir()
    assert sweep_jobs.work(job) == 1 and "did not end" in (folder / "error.txt").read_text()
    (shared / "sweep.json").write_text("{}")
    assert sweep_jobs.work(job) == 0
    taken = folder / "augmented" / "nevus" / "a.png"
    assert taken.read_bytes() == image.read_bytes() and not (folder / "leak").exists()
    record = sweep_jobs.finished(job)
    assert record["found"] == {"baseline": {"best_epoch": 2, "val_loss": 1, "val_accuracy": 0.4,
                                               "predicted_val_accuracy": 0.75}}
    assert record["images"] == "embedded sample (synthetic)"


def test_a_job_is_done_once_and_a_dying_process_is_a_failed_run(tmp_path, sample_root):
    with sweep_jobs.pool(2) as perform:
        outcomes = {job["name"]: outcome for job, outcome in perform([job_in(tmp_path / "a"), job_in(tmp_path / "b")])}
    assert {outcome["status"] for outcome in outcomes.values()} == {"finished"} and set(outcomes) == {"a", "b"}
    closed, end = os.pipe()
    os.close(end)
    outcome = sweep_jobs.start(job_in(tmp_path / "c", notebooks=["01_eda"]), closed)
    os.close(closed)
    assert outcome["status"] == "failed" and "status 1" in outcome["error"]
    assert not (tmp_path / "c" / "sweep.json").exists()


def test_a_stop_ends_what_runs_and_a_folder_has_one_worker_at_a_time(tmp_path, sample_root):
    (tmp_path / "held").mkdir()
    with open(tmp_path / "held" / ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(KeyboardInterrupt), sweep_jobs.pool(2) as perform:
            for job, _ in perform([job_in(tmp_path / "held"), job_in(tmp_path / "free"), job_in(tmp_path / "later")]):
                if job["name"] == "later":
                    raise KeyboardInterrupt
    assert [(tmp_path / name / "sweep.json").exists() for name in ("held", "free", "later")] == [False, True, True]


def test_a_run_computes_with_one_thread_however_many_run(tmp_path, monkeypatch):
    started = []
    monkeypatch.delenv("TF_NUM_INTRAOP_THREADS", raising=False)
    monkeypatch.setattr(sweep_jobs.subprocess, "Popen", lambda *_, **given: started.append(given["env"]) or Ended())
    assert "status -9" in sweep_jobs.start(job_in(tmp_path / "a"))["error"]
    assert started[0]["TF_NUM_INTRAOP_THREADS"] == "1"


def test_dask_workers_give_the_same(tmp_path, sample_root):
    distributed = pytest.importorskip("dask.distributed")
    with distributed.LocalCluster(n_workers=1, threads_per_worker=2, processes=False, dashboard_address=None,
                                  protocol="tcp", host="127.0.0.1") as local:
        with sweep_jobs.cluster(local.scheduler_address) as perform:
            outcomes = [outcome["status"] for _, outcome in perform([job_in(tmp_path / name) for name in "ab"])]
    assert outcomes == ["finished"] * 2
