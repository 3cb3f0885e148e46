"""Bundles in an object store, over HTTP, from a real local server of the S3 API."""

from __future__ import annotations

import pytest

import evtx_analyzer as ea
from evtx_analyzer.batch import bundles, run, settings_for
from evtx_analyzer.discover.remote import is_url
from samples.build import CASES
from samples.fleet import zipped

pytestmark = [pytest.mark.slow, pytest.mark.server, pytest.mark.filterwarnings("default")]
CASE = CASES["kb-3212877"]()


@pytest.fixture(scope="module")
def store():
    """Endpoint of the server, and a bucket ``cases`` with a zip, a folder, a damaged zip, and a loose log."""
    server_module = pytest.importorskip("moto.server")
    boto = pytest.importorskip("botocore.session")
    pytest.importorskip("s3fs")
    server = server_module.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    endpoint = f"http://{host}:{port}"
    client = boto.get_session().create_client(
        "s3",
        region_name="us-east-1",
        endpoint_url=endpoint,
        aws_access_key_id="test",
        aws_secret_access_key="test",
    )
    client.create_bucket(Bucket="cases")
    objects = {
        "fleet/EX01-1123.zip": zipped(CASE),
        "fleet/damaged.zip": zipped(CASE)[:40],
        "fleet/loose.LOG": CASE["SmtpSend/SEND2016120103-1.LOG"],
        **{f"fleet/untrusted/{name}": content for name, content in CASES["untrusted-root"]().items()},
    }
    for key, content in objects.items():
        client.put_object(Bucket="cases", Key=key, Body=content)
    yield endpoint
    server.stop()


@pytest.fixture
def endpoint(store, monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("AWS_ENDPOINT_URL", store)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    return store


def test_an_object_reads_as_the_file_does(endpoint, tmp_path):
    (tmp_path / "EX01-1123.zip").write_bytes(zipped(CASE))
    assert ea.analyze("s3://cases/fleet/EX01-1123.zip") == ea.analyze(tmp_path / "EX01-1123.zip")


def test_a_batch_over_a_bucket_on_worker_processes(endpoint, tmp_path):
    found = bundles("s3://cases/fleet")
    assert [bundle.name for bundle in found] == ["damaged.zip", "EX01-1123.zip", "fleet", "untrusted"]
    summary = run(found, tmp_path, settings_for(), workers=2)
    rows = {row.bundle: (row.status, row.cause, row.rejection_count) for row in summary.rows}
    saved = {row.bundle: ea.load(tmp_path / row.report) for row in summary.rows}
    assert {source.path for source in saved["untrusted"].sources} == set(CASES["untrusted-root"]())
    assert rows == {
        "EX01-1123.zip": ("read", "missing-intermediate", 3),
        "damaged.zip": ("not-read", None, 0),
        "fleet": ("read", "unexplained", 2),
        "untrusted": ("read", "untrusted-root", 2),
    }
    again = run(bundles("s3://cases/fleet"), tmp_path, settings_for(), workers=1, resume=True)
    assert again == summary


def test_a_glob_of_objects_is_a_bundle_each(endpoint):
    assert [bundle.name for bundle in bundles(["s3://cases/fleet/*.zip"])] == ["damaged.zip", "EX01-1123.zip"]


@pytest.mark.parametrize(
    ("url", "text"),
    [
        ("s3://cases/fleet/none.zip", "no such object"),
        ("s3://no-such-bucket/x.zip", "no such object|cannot be read"),
        ("nonsense://x/y.zip", "cannot be opened"),
    ],
)
def test_an_address_that_leads_nowhere_is_one_line(endpoint, url, text):
    with pytest.raises(ea.InputError, match=text) as caught:
        ea.analyze(url)
    assert "\n" not in str(caught.value)


def test_a_store_that_is_not_there_is_one_line(endpoint, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    import s3fs

    s3fs.S3FileSystem.clear_instance_cache()
    with pytest.raises(ea.InputError, match="cannot be read"):
        ea.analyze("s3://cases/other.zip")
    s3fs.S3FileSystem.clear_instance_cache()


def test_memory_protocol_and_windows_paths(tmp_path):
    fsspec = pytest.importorskip("fsspec")
    with fsspec.open("memory://case/SEND1.LOG", "wb") as stream:
        stream.write(CASE["SmtpSend/SEND2016120103-1.LOG"])
    assert ea.analyze("memory://case/SEND1.LOG").rejection_count == 2
    assert is_url("s3://bucket/key")
    assert not is_url("C://cases")
    assert not is_url("cases/a.zip")
